package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
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

	hexLen = 2 * sha256.Size
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

// append writes the line of the record that follows l and makes it the last of the chain.
// members are what it says beside its place, a struct or map that JSON has an object for. With
// a sign it is signed.
func (l *link) append(b []byte, kind Kind, at time.Time, members any, sign func(link) string) []byte {
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
	b = hex.AppendEncode(b, l.hash[:])
	if sign != nil {
		b = append(b, sigStart...)
		b = append(b, sign(*l)...)
	}
	return append(b, lineEnd+"\n"...)
}

// raw is a line of a file as it was read.
type raw struct {
	file string
	n    int // counted from 1
	// text is without its line break, and valid until the next line is read; whole tells that there
	// was a line break.
	text  []byte
	whole bool
}

// finding says what is wrong with a line.
func (r *raw) finding(format string, args ...any) Finding {
	return Finding{File: r.file, Line: r.n, What: fmt.Sprintf(format, args...)}
}

// line is a record as its line says it.
type line struct {
	raw
	link
	prev digest
	time string
	kind Kind
	// content is what the hash is over, a part of the text; intact tells that the hash is its own.
	content []byte
	intact  bool
	// signature is nil if there is none.
	signature []byte
}

// finding says what is wrong with a record.
func (l *line) finding(format string, args ...any) Finding {
	f := l.raw.finding(format, args...)
	f.Seq = l.seq
	return f
}

var errNoRecord = errors.New("is no record")

// parseLine takes a line apart. That it is well-formed says nothing yet of its hash and signature.
func parseLine(r raw) (line, error) {
	l := line{raw: r}
	rest, ok := bytes.CutSuffix(r.text, []byte(lineEnd))
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
	if err := l.readStart(); err != nil {
		return line{}, err
	}
	l.intact = sha256.Sum256(l.content) == l.hash
	return l, nil
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
	l.time, l.kind = string(at), Kind(kind)
	return nil
}

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
