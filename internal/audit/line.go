package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"time"
)

// A line is
//
//	{"seq":7,"prev":"<hash of 6>","time":"…","kind":"read",…,"hash":"<hash>"}
//
// where the hash is the SHA-256 of everything before `,"hash":`. A signed line ends in
// `,"hash":"<hash>","sig":"<signature>"}`, where the signature is that of a signed note
// (note.go). The order of the first members and of the last is fixed, so that a line can
// be verified without reading its JSON.
const (
	lineStart = `{"seq":`
	prevStart = `,"prev":"`
	timeStart = `","time":"`
	kindStart = `","kind":"`
	hashStart = `,"hash":"`
	sigStart  = `","sig":"`
	lineEnd   = `"}`

	hexLen      = 2 * sha256.Size
	unsignedEnd = len(hashStart) + hexLen + len(lineEnd)
)

// sigLens are the lengths of a signature in base64: that of a note is 68 bytes, that of
// format 1 was 64.
var sigLens = [...]int{92, 88}

// maxLine bounds a line that is read, in bytes. No record comes near it.
const maxLine = 1 << 20

// digest is a hash of the chain.
type digest = [sha256.Size]byte

// link is a place in the chain: the record before the next one.
type link struct {
	seq  uint64
	hash digest
}

// begin starts the line of the record that follows l.
func (l *link) begin(b []byte, kind Kind, at time.Time) []byte {
	b = append(b, lineStart...)
	b = strconv.AppendUint(b, l.seq+1, 10)
	b = append(b, prevStart...)
	b = hex.AppendEncode(b, l.hash[:])
	b = append(b, timeStart...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, kindStart...)
	b = append(b, kind...)
	return append(b, '"')
}

// end closes the line that began at start and makes it the last of the chain. With a
// sign it is signed.
func (l *link) end(b []byte, start int, sign func(link) string) []byte {
	l.seq++
	l.hash = sha256.Sum256(b[start:])
	b = append(b, hashStart...)
	b = hex.AppendEncode(b, l.hash[:])
	if sign != nil {
		b = append(b, sigStart...)
		b = append(b, sign(*l)...)
	}
	return append(b, lineEnd+"\n"...)
}

// line is what a line says of its place in the chain.
type line struct {
	seq        uint64
	prev, hash digest
	time       string
	kind       Kind
	// content is what the hash is over; it is part of the text that was parsed.
	content []byte
	// signature is nil if there is none.
	signature []byte
}

var errNoRecord = errors.New("is no record")

// parseLine takes a line apart, without its line break. That it is well-formed says
// nothing yet of its hash and signature.
func parseLine(b []byte) (line, error) {
	var l line
	rest, ok := bytes.CutSuffix(b, []byte(lineEnd))
	if !ok {
		return line{}, errNoRecord
	}
	for _, n := range sigLens {
		at := len(rest) - n - len(sigStart)
		if at < 0 || string(rest[at:at+len(sigStart)]) != sigStart {
			continue
		}
		var err error
		l.signature, err = base64.StdEncoding.Strict().DecodeString(string(rest[at+len(sigStart):]))
		if err != nil || len(l.signature) != noteSignature && len(l.signature) != ed25519.SignatureSize {
			return line{}, errNoRecord
		}
		rest = rest[:at]
		break
	}
	end := len(rest) - len(hashStart) - hexLen
	if end <= 0 || string(rest[end:end+len(hashStart)]) != hashStart || !unhex(&l.hash, rest[end+len(hashStart):]) {
		return line{}, errNoRecord
	}
	l.content = rest[:end]
	return l, l.readStart()
}

// readStart reads the first members.
func (l *line) readStart() error {
	rest, ok := bytes.CutPrefix(l.content, []byte(lineStart))
	if !ok {
		return errNoRecord
	}
	digits := bytes.IndexByte(rest, ',')
	if digits < 1 || rest[0] == '0' {
		return errNoRecord
	}
	var err error
	if l.seq, err = strconv.ParseUint(string(rest[:digits]), 10, 63); err != nil || rest[0] == '+' {
		return errNoRecord
	}
	if rest, ok = bytes.CutPrefix(rest[digits:], []byte(prevStart)); !ok || !unhex(&l.prev, rest) {
		return errNoRecord
	}
	if rest, ok = bytes.CutPrefix(rest[hexLen:], []byte(timeStart)); !ok {
		return errNoRecord
	}
	at, rest, ok := bytes.Cut(rest, []byte(kindStart))
	if !ok || len(at) > len("2006-01-02T15:04:05.000000000Z") {
		return errNoRecord
	}
	kind, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return errNoRecord
	}
	l.time, l.kind = string(at), kindOf(kind)
	return nil
}

// intact tells whether the line is what its hash was made of.
func (l *line) intact() bool { return sha256.Sum256(l.content) == l.hash }

// unhex reads a hash in lower case from the beginning of b.
func unhex(to *digest, b []byte) bool {
	if len(b) < hexLen {
		return false
	}
	for _, c := range b[:hexLen] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to[:], b[:hexLen])
	return err == nil
}

// The members of a record. What is empty is left out.

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendQuoted(appendName(b, name), value)
}

func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // no string fails
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendTexts(b []byte, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(appendName(b, name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, v)
	}
	return append(b, ']')
}

func appendCount(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendTruth(b []byte, name string, v bool) []byte {
	return strconv.AppendBool(appendName(b, name), v)
}

func appendAddr(b []byte, name string, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	b = append(appendName(b, name), '"')
	return append(a.AppendTo(b), '"')
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(appendName(b, name), '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}
