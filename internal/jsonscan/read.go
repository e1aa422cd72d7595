package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// deepestBody is how many objects and arrays Read lets stand in one another.
const deepestBody = 64

// Depths is how many depths a Visitor hears of: 0 is the whole text's.
const Depths = deepestBody + 2

// Fault is why a text could be read in two ways.
type Fault struct {
	// At is the place, as a JSON pointer (RFC 6901) with long keys cut.
	At string
	// Detail goes on from the name of the place.
	Detail string
}

// Error implements error.
func (f *Fault) Error() string { return f.At + ": " + f.Detail }

// Visitor is told what a text holds, in the order in which it stands there. The bytes that
// it is given belong to the text.
type Visitor interface {
	// Member comes before the value of a member, and before each element of an array, whose
	// key is nil. Escapes in the key are undone. depth is that of the value.
	Member(depth int, key []byte)
	// Scalar is a string with its quotes, a number, true, false or null. An error ends the
	// reading and becomes its result. at gives the place as a JSON pointer.
	Scalar(depth int, raw []byte, at func() string) error
}

// Check is Read for nobody.
func Check(body []byte) error { return Read(body, nobody{}) }

type nobody struct{}

func (nobody) Member(int, []byte) {}

func (nobody) Scalar(int, []byte, func() string) error { return nil }

// Read goes through a text once and tells the visitor what it holds. It refuses what two
// readers could read in two ways: invalid UTF-8 or JSON (RFC 8259), a byte order mark, a
// key that is repeated within its object, in whatever case, and what is nested deeper than
// 64. The error is a *Fault or the visitor's. What the visitor was told before an error
// counts for nothing.
func Read(body []byte, to Visitor) error {
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return &Fault{"", "it begins with a byte order mark: send the JSON without one"}
	case !utf8.Valid(body):
		return &Fault{"", "it is not valid UTF-8"}
	case !json.Valid(body):
		at := new(json.SyntaxError)
		errors.As(json.Unmarshal(body, new(json.RawMessage)), &at)
		return &Fault{"", "it is not valid JSON at byte " + strconv.FormatInt(at.Offset, 10)}
	}
	r := reading{rest: body, to: to}
	r.at = r.pointer // made once, not for each scalar
	r.path, r.keys = r.pathStore[:0], r.keyStore[:0]
	return r.value()
}

// reading is the state of Read. It stands before rest, in a text that is known to be valid.
type reading struct {
	rest []byte
	to   Visitor
	at   func() string
	// path leads to the value that is read.
	path []step
	// keys are those of the objects that are open, the innermost's last.
	keys [][]byte

	pathStore [16]step
	keyStore  [32][]byte
}

// step leads to a member, or to an element if the key is nil.
type step struct {
	key   []byte
	index int
}

// pointer is the place of the value that is read.
func (r *reading) pointer() string {
	at := ""
	for _, s := range r.path {
		if s.key == nil {
			at += "/" + strconv.Itoa(s.index)
		} else {
			at = pointer(at, string(s.key))
		}
	}
	return at
}

// next gives the byte behind white space.
func (r *reading) next() byte {
	r.rest = blanks(r.rest)
	return r.rest[0]
}

// take takes a string, a number or a word.
func (r *reading) take() []byte {
	n := valueEnd(r.rest)
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// value reads one value.
func (r *reading) value() error {
	if len(r.path) > deepestBody {
		return &Fault{"", "it is nested deeper than " + strconv.Itoa(deepestBody)}
	}
	switch r.next() {
	case '{':
		return r.object()
	case '[':
		return r.array()
	}
	return r.to.Scalar(len(r.path), r.take(), r.at)
}

func (r *reading) object() error {
	first := len(r.keys)
	var many map[string]struct{} // the keys of an object that has more than a few
	for r.rest = r.rest[1:]; r.next() != '}'; r.comma() {
		key := inside(r.take())
		r.path = append(r.path, step{key: key})
		if r.repeated(key, first, &many) {
			return &Fault{r.pointer(), "the key is repeated within its object"}
		}
		r.next()
		r.rest = r.rest[1:] // behind the colon
		r.to.Member(len(r.path), key)
		if err := r.value(); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
	}
	r.rest, r.keys = r.rest[1:], r.keys[:first]
	return nil
}

func (r *reading) array() error {
	r.rest = r.rest[1:]
	for i := 0; r.next() != ']'; i++ {
		r.path = append(r.path, step{index: i})
		r.to.Member(len(r.path), nil)
		if err := r.value(); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
		r.comma()
	}
	r.rest = r.rest[1:]
	return nil
}

// comma passes over the comma between two values.
func (r *reading) comma() {
	if r.next() == ',' {
		r.rest = r.rest[1:]
	}
}

// repeated notes a key of the object whose keys begin at first, and reports whether it has
// it already. A few are compared with each other; beyond that a map is quicker.
func (r *reading) repeated(key []byte, first int, many *map[string]struct{}) bool {
	const few = 24
	key = folded(key)
	if len(r.keys)-first < few {
		for _, k := range r.keys[first:] {
			if len(k) == len(key) && equalFold(k, key) {
				return true
			}
		}
		r.keys = append(r.keys, key)
		return false
	}
	if *many == nil {
		*many = make(map[string]struct{}, 2*few)
		for _, k := range r.keys[first:] {
			(*many)[string(bytes.ToLower(k))] = struct{}{}
		}
	}
	low := string(bytes.ToLower(key))
	if _, there := (*many)[low]; there {
		return true
	}
	(*many)[low] = struct{}{}
	return false
}

// folded is the key itself if it is ASCII, and else without its letters' cases.
func folded(key []byte) []byte {
	for _, c := range key {
		if c >= utf8.RuneSelf {
			return bytes.ToLower(bytes.ToUpper(key))
		}
	}
	return key
}

// equalFold compares two texts of one length without regard to the case of ASCII.
func equalFold(a, b []byte) bool {
	for i, c := range a {
		if d := b[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
