package cache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/http"
	"time"
)

// codecVersion is the first byte of a written entry. A change of the form, or of the
// meaning of a Key's digest, is another version.
const codecVersion = 2

var (
	errEntry   = errors.New("reading a stored answer: it is damaged, or another version of the gateway has written it")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// MarshalBinary implements encoding.BinaryMarshaler: the version, the head with its
// length, the body, a sum.
func (e *Entry) MarshalBinary() ([]byte, error) {
	head := e.appendHead(e.appendVariant(make([]byte, 0, e.size())))
	b := make([]byte, 0, len(head)+len(e.Body)+16)
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	b = append(b, e.Body...)
	return appendSum(b), nil
}

// appendVariant writes what the entry is selected by. Two entries of a key are of the
// same variant if these bytes are the same.
func (e *Entry) appendVariant(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.Selecting)))
	for _, s := range e.Selecting {
		b = appendSelecting(b, s)
	}
	return b
}

// appendHead writes the entry without its variant and its body.
func (e *Entry) appendHead(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(e.Status))
	b = binary.AppendUvarint(b, uint64(e.ProtoMajor))
	b = binary.AppendUvarint(b, uint64(e.ProtoMinor))
	b = binary.AppendVarint(b, e.Requested.UnixNano())
	b = binary.AppendVarint(b, e.Received.UnixNano())
	lines := 0
	for _, values := range e.Header {
		lines += len(values)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Header)))
	b = binary.AppendUvarint(b, uint64(lines))
	for name, values := range e.Header {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = appendText(b, v)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendSelecting(b []byte, s Selecting) []byte {
	b = appendText(b, s.Name)
	if s.Absent {
		return append(b, 0)
	}
	return appendText(append(b, 1), s.Value)
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. It takes only what this
// version of the gateway has written; anything else is an error. It copies what it
// keeps.
func (e *Entry) UnmarshalBinary(b []byte) error {
	if len(b) < 5 || b[0] != codecVersion {
		return errEntry
	}
	sum := len(b) - 4
	if crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
		return errEntry
	}
	length, n := binary.Uvarint(b[1:sum])
	if n <= 0 || length > uint64(sum-1-n) {
		return errEntry
	}
	head, body := b[1+n:1+n+int(length)], b[1+n+int(length):sum]
	read, ok := readEntry(string(head))
	if !ok {
		return errEntry
	}
	read.Body = append([]byte{}, body...)
	*e = *read
	return nil
}

// readEntry reads a variant and a head, and makes the entry ready but for its body. Its
// texts are parts of head. False if head is not what was written.
func readEntry(head string) (*Entry, bool) {
	r := entryReader{rest: head}
	e := new(Entry)
	if n := r.count(); n > 0 {
		e.Selecting = make([]Selecting, 0, min(n, maxSelecting))
		for range n {
			s := Selecting{Name: r.text()}
			if r.octet() == 0 {
				s.Absent = true
			} else {
				s.Value = r.text()
			}
			e.Selecting = append(e.Selecting, s)
		}
	}
	e.Status, e.ProtoMajor, e.ProtoMinor = r.small(999), r.small(9), r.small(9)
	e.Requested, e.Received = time.Unix(0, r.signed()), time.Unix(0, r.signed())
	names, lines := r.count(), r.count()
	e.Header = make(http.Header, names)
	all := make([]string, 0, lines)
	for range names {
		name := r.text()
		from := len(all)
		for range r.count() {
			all = append(all, r.text())
		}
		e.Header[name] = all[from:len(all):len(all)]
	}
	if r.bad || r.rest != "" || e.Status < 200 {
		return nil, false
	}
	return e.prepare(), true
}

// maxSelecting is for how many selecting fields room is made before they are seen.
const maxSelecting = 16

// entryReader reads what appendVariant and appendHead write. After a mistake it gives
// zeros.
type entryReader struct {
	rest string
	bad  bool
}

func (r *entryReader) fail() { r.bad, r.rest = true, "" }

func (r *entryReader) unsigned() uint64 {
	var v uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.fail()
	return 0
}

func (r *entryReader) signed() int64 {
	v := r.unsigned()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *entryReader) small(most uint64) int {
	v := r.unsigned()
	if v > most {
		r.bad = true
		return 0
	}
	return int(v)
}

// count reads how many things follow, of at least a byte each.
func (r *entryReader) count() int {
	v := r.unsigned()
	if v > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *entryReader) text() string {
	n := r.count()
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *entryReader) octet() byte {
	if r.rest == "" {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
