package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A line is
//
//	{"seq":7,"prev":"<hash of 6>","time":"…","kind":"read",…,"hash":"<hash>"}
//
// where the hash is the SHA-256 of everything before `,"hash":`. A signed line ends in
// `,"hash":"<hash>","sig":"<signature>"}`, where the signature is that of a signed note
// (sign.go). The order of the first members and of the last is fixed, so that a line can
// be verified without reading its JSON.
const (
	lineStart = `{"seq":`
	prevStart = `,"prev":"`
	timeStart = `","time":"`
	kindStart = `","kind":"`
	hashStart = `,"hash":"`
	sigStart  = `","sig":"`
	lineEnd   = `"}`

	hexLen = 2 * sha256.Size
)

// maxLine bounds a line that is read, in bytes. No record comes near it.
const maxLine = 1 << 20

// digest is a hash of the chain.
type digest = [sha256.Size]byte

// link is a place in the chain: the record before the next one.
type link struct {
	seq  uint64
	hash digest
}

// append writes the line of the record that follows l, up to its hash, and makes it the last of the
// chain. members are what it says beside its place, a struct or map that JSON has an object for.
func (l *link) append(b []byte, kind Kind, at time.Time, members any) []byte {
	start := len(b)
	b = append(b, lineStart...)
	b = strconv.AppendUint(b, l.seq+1, 10)
	b = append(b, prevStart...)
	b = hex.AppendEncode(b, l.hash[:])
	b = append(b, timeStart...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, kindStart...)
	b = append(b, kind...)
	b = append(b, '"')
	// None of the types of members can fail.
	if text, err := json.Marshal(members); err == nil && len(text) > len("{}") && text[0] == '{' {
		b = append(b, ',')
		b = append(b, text[1:len(text)-1]...)
	}
	l.seq++
	l.hash = sha256.Sum256(b[start:])
	b = append(b, hashStart...)
	return hex.AppendEncode(b, l.hash[:])
}

// appendSignature writes what comes behind the hash of a line that is signed.
func appendSignature(b, signature []byte) []byte {
	b = append(b, sigStart...)
	return base64.StdEncoding.AppendEncode(b, signature)
}

// appendEnd ends a line.
func appendEnd(b []byte) []byte { return append(b, lineEnd+"\n"...) }

// line is a line of a file as it was read: in a segment a record, in a file of checkpoints a note.
type line struct {
	file string
	n    int // counted from 1
	// text is without its line break; whole reports whether there was one.
	text  []byte
	whole bool
	// damage says why a compressed file cannot be read from this line on, which is the last then and
	// has no text; empty if it can.
	damage string

	// record reports whether it is a whole line that has the form of a record. What follows is what
	// the record says; it is of no meaning where it is none.
	record bool
	link
	prev digest
	time string
	kind Kind
	// content is what the hash is over, a part of the text; intact reports whether the hash is its own.
	content []byte
	intact  bool
	// signature is nil if there is none.
	signature []byte
}

// wrong says what is wrong with a line that holds no record.
func (l *line) wrong() string {
	switch {
	case l.damage != "":
		return "the compressed file cannot be read from here: " + l.damage
	case !l.whole:
		return "the file ends within a record: its end was cut off, or the gateway is writing it at this moment"
	}
	return "this line is no record: it was changed"
}

// finding says what is wrong with a line.
func (l *line) finding(format string, args ...any) Finding {
	f := Finding{File: l.file, Line: l.n, What: fmt.Sprintf(format, args...)}
	if l.record {
		f.Seq = l.seq
	}
	return f
}

// parse takes the text of a record apart, and reports whether it has that form. That says nothing yet
// of its hash and signature.
func (l *line) parse() bool {
	rest, ended := bytes.CutSuffix(l.text, []byte(lineEnd))
	// The signature is that of a note, or of format 1, which was shorter.
	tail := rest[max(len(rest)-len(sigStart)-base64.StdEncoding.EncodedLen(noteSignature), 0):]
	if at := bytes.LastIndex(tail, []byte(sigStart)); at >= 0 {
		text := tail[at+len(sigStart):]
		var err error
		l.signature, err = base64.StdEncoding.Strict().AppendDecode(nil, text)
		if n := len(l.signature); err != nil || n != noteSignature && n != ed25519.SignatureSize ||
			len(text) != base64.StdEncoding.EncodedLen(n) {
			return false
		}
		rest = rest[:len(rest)-len(tail)+at]
	}
	end := len(rest) - len(hashStart) - hexLen
	if !ended || end <= 0 || !bytes.HasPrefix(rest[end:], []byte(hashStart)) ||
		!unhex(&l.hash, rest[end+len(hashStart):]) {
		return false
	}
	l.content = rest[:end]
	l.intact = sha256.Sum256(l.content) == l.hash
	return l.parseStart()
}

// parseStart takes the first members apart.
func (l *line) parseStart() bool {
	rest, ok := bytes.CutPrefix(l.content, []byte(lineStart))
	number, rest, hasPrev := bytes.Cut(rest, []byte(prevStart))
	prev, rest, hasTime := bytes.Cut(rest, []byte(timeStart))
	at, rest, hasKind := bytes.Cut(rest, []byte(kindStart))
	kind, _, ended := bytes.Cut(rest, []byte{'"'})
	if !ok || !hasPrev || !hasTime || !hasKind || !ended || bytes.HasPrefix(number, []byte{'0'}) ||
		len(at) > len("2006-01-02T15:04:05.000000000Z") || !unhex(&l.prev, prev) {
		return false
	}
	l.time, l.kind = string(at), Kind(kind)
	var err error
	l.seq, err = strconv.ParseUint(string(number), 10, 63)
	return err == nil
}

// unhex reads a hash, in lower case.
func unhex(to *digest, text []byte) bool {
	if len(text) != hexLen || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(to[:], text)
	return err == nil
}
