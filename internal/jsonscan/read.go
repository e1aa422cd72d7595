package jsonscan

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// deepestBody is how many objects and arrays Read lets stand in one another.
const deepestBody = 64

// Depths is how many depths a Visitor is called with: 0 is the whole text's.
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

// Visitor is called with what a text holds, in the order in which it stands there. The bytes that
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

// Read goes through a text once and calls the visitor with what it holds. It refuses what two
// readers could read in two ways: invalid UTF-8 or JSON (RFC 8259), a byte order mark, a
// key that is repeated within its object, in whatever case, and what is nested deeper than
// 64. The error is a *Fault or the visitor's. What the visitor was called with before an error
// counts for nothing where that decides; the evidence takes the ids of a text that breaks off.
func Read(body []byte, to Visitor) error {
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return &Fault{"", "it begins with a byte order mark: send the JSON without one"}
	case !utf8.Valid(body):
		return &Fault{"", "it is not valid UTF-8"}
	}
	r := reading{text: body, to: to}
	r.at = r.pointer // made once, not for each scalar
	r.path, r.keys = r.pathStore[:0], r.keyStore[:0]
	r.blanks()
	if err := r.value(); err != nil {
		return err
	}
	if r.blanks(); r.i < len(r.text) {
		return r.invalid()
	}
	return nil
}

// reading is the state of Read. It stands at text[i].
type reading struct {
	text []byte
	i    int
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

func (r *reading) invalid() error {
	return &Fault{"", "it is not valid JSON at byte " + strconv.Itoa(r.i+1)}
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

// pointer appends a key to a JSON pointer. Of a long key it takes the beginning.
func pointer(at, key string) string {
	const most = 64
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	if strings.ContainsAny(key, "~/") {
		key = escapes.Replace(key)
	}
	return at + "/" + key
}

// escapes are those of a JSON pointer (RFC 6901, section 3).
var escapes = strings.NewReplacer("~", "~0", "/", "~1")

func (r *reading) blanks() {
	for r.i < len(r.text) && isBlank(r.text[r.i]) {
		r.i++
	}
}

// next gives the byte behind white space, 0 at the end.
func (r *reading) next() byte {
	if r.blanks(); r.i < len(r.text) {
		return r.text[r.i]
	}
	return 0
}

// value reads one value, without white space around it.
func (r *reading) value() error {
	if len(r.path) > deepestBody {
		return &Fault{"", "it is nested deeper than " + strconv.Itoa(deepestBody)}
	}
	if r.i == len(r.text) {
		return r.invalid()
	}
	begin := r.i
	var ok bool
	switch c := r.text[r.i]; c {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		ok = r.string()
	case 't':
		ok = r.literal("true")
	case 'f':
		ok = r.literal("false")
	case 'n':
		ok = r.literal("null")
	default:
		ok = r.number()
	}
	if !ok {
		return r.invalid()
	}
	return r.to.Scalar(len(r.path), r.text[begin:r.i], r.at)
}

func (r *reading) object() error {
	first := len(r.keys)
	var many map[string]struct{} // the keys of an object that has more than a few
	r.i++
	if r.next() == '}' {
		r.i++
		return nil
	}
	for {
		if r.next() != '"' {
			return r.invalid()
		}
		begin := r.i
		if !r.string() {
			return r.invalid()
		}
		key := inside(r.text[begin:r.i])
		r.path = append(r.path, step{key: key})
		if r.repeated(key, first, &many) {
			return &Fault{r.pointer(), "the key is repeated within its object"}
		}
		if r.next() != ':' {
			return r.invalid()
		}
		r.i++
		r.blanks()
		r.to.Member(len(r.path), key)
		if err := r.value(); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
		switch r.next() {
		case ',':
			r.i++
		case '}':
			r.i++
			r.keys = r.keys[:first]
			return nil
		default:
			return r.invalid()
		}
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

func (r *reading) array() error {
	r.i++
	if r.next() == ']' {
		r.i++
		return nil
	}
	for i := 0; ; i++ {
		r.blanks()
		r.path = append(r.path, step{index: i})
		r.to.Member(len(r.path), nil)
		if err := r.value(); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
		switch r.next() {
		case ',':
			r.i++
		case ']':
			r.i++
			return nil
		default:
			return r.invalid()
		}
	}
}

// plain are the bytes that stand in a string for themselves.
var plain = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return is
}()

// string passes over a string, with its quotes.
func (r *reading) string() bool {
	b := r.text
	for i := r.i + 1; i < len(b); i++ {
		c := b[i]
		if plain[c] {
			continue
		}
		switch {
		case c == '"':
			r.i = i + 1
			return true
		case c == '\\' && i+1 < len(b) && strings.IndexByte(`"\/bfnrt`, b[i+1]) >= 0:
			i++
		case c == '\\' && i+5 < len(b) && b[i+1] == 'u' && isHex(b[i+2]) && isHex(b[i+3]) && isHex(b[i+4]) && isHex(b[i+5]):
			i += 5
		default:
			r.i = i
			return false
		}
	}
	r.i = len(b)
	return false
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (r *reading) literal(word string) bool {
	if len(r.text)-r.i < len(word) || string(r.text[r.i:r.i+len(word)]) != word {
		return false
	}
	r.i += len(word)
	return true
}

// number passes over one (RFC 8259, section 6).
func (r *reading) number() bool {
	if r.i < len(r.text) && r.text[r.i] == '-' {
		r.i++
	}
	zero := r.i < len(r.text) && r.text[r.i] == '0'
	if n := r.digits(); n == 0 || zero && n > 1 {
		return false
	}
	if r.i < len(r.text) && r.text[r.i] == '.' {
		r.i++
		if r.digits() == 0 {
			return false
		}
	}
	if r.i < len(r.text) && r.text[r.i]|0x20 == 'e' {
		r.i++
		if r.i < len(r.text) && (r.text[r.i] == '+' || r.text[r.i] == '-') {
			r.i++
		}
		return r.digits() > 0
	}
	return true
}

func (r *reading) digits() (n int) {
	for r.i < len(r.text) && isDigit(r.text[r.i]) {
		r.i++
		n++
	}
	return n
}
