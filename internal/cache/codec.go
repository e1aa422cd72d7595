package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A stored answer rests as HTTP/1.1 writes it, behind the fields of the request that
// selected it. A field that the request did not have stands without a colon. In place of
// the reason stands when the request was sent and when the answer came, in nanoseconds
// since 1970:
//
//	GET
//	Accept-Language: fr
//	Accept-Encoding
//
//	HTTP/1.1 200 1764385200000000000 1764385200020000000
//	Cache-Control: max-age=60
//	Content-Length: 4
//
//	body

// codecVersion is the first byte of a written entry. A change of the form, or of the
// meaning of a Key's digest, is another version.
const codecVersion = 3

var (
	errEntry   = errors.New("reading a stored answer: it is damaged, or another version of the gateway has written it")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	endOfHead  = []byte("\r\n\r\n")
)

// MarshalBinary implements encoding.BinaryMarshaler: the version, the answer, a sum.
func (e *Entry) MarshalBinary() ([]byte, error) {
	return appendSum(e.appendWire([]byte{codecVersion})), nil
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
	read, ok := readEntry(slices.Clone(b[1:sum]))
	if !ok {
		return errEntry
	}
	*e = *read
	return nil
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// appendWire writes the entry.
func (e *Entry) appendWire(b []byte) []byte {
	head := bytes.NewBuffer(e.appendRequest(make([]byte, 0, 1024)))
	fmt.Fprintf(head, "\r\n\r\nHTTP/%d.%d %d %d %d\r\n", e.ProtoMajor, e.ProtoMinor, e.Status,
		e.Requested.UnixNano(), e.Received.UnixNano())
	_ = e.Header.Write(head) // a buffer takes everything
	head.WriteString("\r\n")
	whole := make([]byte, 0, len(b)+head.Len()+len(e.Body))
	return append(append(append(whole, b...), head.Bytes()...), e.Body...)
}

// appendRequest writes what the entry was selected by.
func (e *Entry) appendRequest(b []byte) []byte {
	b = append(b, "GET"...)
	for _, s := range e.Selecting {
		b = append(append(b, "\r\n"...), s.Name...)
		if !s.Absent {
			b = append(append(b, ": "...), s.Value...)
		}
	}
	return b
}

// selectedBy is what a written entry was selected by. Two entries of a key are of the
// same variant if these bytes are the same.
func selectedBy(wire []byte) []byte {
	request, _, _ := bytes.Cut(wire, endOfHead)
	return request
}

// readEntry reads what appendWire has written, and makes the entry ready; false if it is
// something else. The body is a part of wire.
func readEntry(wire []byte) (*Entry, bool) {
	request, answer, _ := bytes.Cut(wire, endOfHead)
	head, body, whole := bytes.Cut(answer, endOfHead)
	status, lines, _ := strings.Cut(string(head), "\r\n")
	e := &Entry{Body: body}
	var requested, received int64
	_, err := fmt.Sscanf(status, "HTTP/%d.%d %d %d %d", &e.ProtoMajor, &e.ProtoMinor, &e.Status, &requested, &received)
	if err != nil || !whole || e.Status < 200 || e.Status > 999 {
		return nil, false
	}
	e.Requested, e.Received = time.Unix(0, requested), time.Unix(0, received)
	if _, selecting, any := strings.Cut(string(request), "\r\n"); any {
		for line := range strings.SplitSeq(selecting, "\r\n") {
			name, value, present := strings.Cut(line, ": ")
			e.Selecting = append(e.Selecting, Selecting{Name: name, Value: value, Absent: !present})
		}
	}
	most := strings.Count(lines, "\r\n") + 1
	e.Header = make(http.Header, most)
	values := make([]string, 0, most) // one array for all: the lines of a field stand together
	from, last := 0, ""
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		if name != last {
			from, last = len(values), name
		}
		values = append(values, value)
		e.Header[name] = values[from:len(values):len(values)]
	}
	return e.prepare(), true
}
