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
const codecVersion = 1

var (
	errEntry   = errors.New("reading a stored answer: it is damaged, or another version of the gateway has written it")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// MarshalBinary implements encoding.BinaryMarshaler.
func (e *Entry) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, e.size())
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, uint64(e.Status))
	b = binary.AppendUvarint(b, uint64(e.ProtoMajor))
	b = binary.AppendUvarint(b, uint64(e.ProtoMinor))
	b = binary.AppendVarint(b, e.Requested.UnixNano())
	b = binary.AppendVarint(b, e.Received.UnixNano())
	b = binary.AppendUvarint(b, uint64(len(e.Selecting)))
	for _, s := range e.Selecting {
		b = appendSelecting(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Header)))
	for name, values := range e.Header {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = appendText(b, v)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(e.Body)))
	b = append(b, e.Body...)
	return appendSum(b), nil
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
	r := entryReader{rest: b[1:sum]}
	n := Entry{Status: r.small(999), ProtoMajor: r.small(9), ProtoMinor: r.small(9)}
	n.Requested, n.Received = time.Unix(0, r.signed()), time.Unix(0, r.signed())
	for range r.count() {
		s := Selecting{Name: r.text()}
		if r.octet() == 0 {
			s.Absent = true
		} else {
			s.Value = r.text()
		}
		n.Selecting = append(n.Selecting, s)
	}
	n.Header = make(http.Header)
	for range r.count() {
		name := r.text()
		var values []string
		for range r.count() {
			values = append(values, r.text())
		}
		n.Header[name] = values
	}
	n.Body = append([]byte{}, r.bytes()...)
	if r.bad || len(r.rest) != 0 || n.Status < 200 {
		return errEntry
	}
	*e = n
	e.prepare()
	return nil
}

// entryReader reads what MarshalBinary writes. After a mistake it gives zeros.
type entryReader struct {
	rest []byte
	bad  bool
}

func (r *entryReader) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *entryReader) signed() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
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
		r.bad, r.rest = true, nil
		return 0
	}
	return int(v)
}

func (r *entryReader) bytes() []byte {
	n := r.count()
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *entryReader) text() string { return string(r.bytes()) }

func (r *entryReader) octet() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
