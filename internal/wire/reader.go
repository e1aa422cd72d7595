package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// bufferSize holds most heads, and a small body with its head.
const bufferSize = 8 << 10

// A pool of arrays, not of slices: putting a slice there would allocate its header.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func takeBuffer() []byte { return buffers.Get().(*[bufferSize]byte)[:] }

// giveBuffer takes back what takeBuffer gave. A slice that append has moved elsewhere is left to the collector.
func giveBuffer(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// Reader is the receiving side of a connection. It keeps no buffer while nothing is in it. It is not safe for
// concurrent use.
type Reader struct {
	src  io.Reader
	grow func(n int) bool
	buf  []byte // nil if nothing is buffered
	r, w int    // the buffered bytes are buf[r:w]
}

// NewReader reads from src. grow, unless nil, is asked before it takes a buffer of n bytes, for a head that is longer
// than the first one. If it is false, reading ends with ErrNoRoom.
func NewReader(src io.Reader, grow func(n int) bool) *Reader { return &Reader{src: src, grow: grow} }

// ErrNoRoom is the error of a Reader that was not to grow.
var ErrNoRoom = errors.New("there is no room for a head of this length")

// Buffered is how many bytes have been read from the connection and not from the Reader.
func (r *Reader) Buffered() int { return r.w - r.r }

// Release gives the buffer back if there is nothing in it. A connection that becomes idle calls it.
func (r *Reader) Release() {
	if r.buf != nil && r.r == r.w {
		giveBuffer(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// Discard throws away what is buffered and gives the buffer back.
func (r *Reader) Discard() {
	r.r = r.w
	r.Release()
}

// skip takes n buffered bytes out.
func (r *Reader) skip(n int) {
	if r.r += n; r.r == r.w {
		r.r, r.w = 0, 0
	}
}

// Fill reads from the connection once, so that at least one more byte is buffered, or gives its error.
func (r *Reader) Fill() error {
	switch {
	case r.buf == nil:
		r.buf = takeBuffer()
	case r.w < len(r.buf):
	case r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	case r.grow != nil && !r.grow(2*len(r.buf)):
		return ErrNoRoom
	default:
		larger := make([]byte, 2*len(r.buf))
		copy(larger, r.buf)
		giveBuffer(r.buf)
		r.buf = larger
	}
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Read takes what is buffered first. What is not, it reads straight from the connection if p is no smaller than the
// buffer would be.
func (r *Reader) Read(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= bufferSize {
			r.Release()
			return r.src.Read(p)
		}
		if err := r.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.skip(n)
	return n, nil
}

// Head reads a message's head: the start line, without its line end, and the fields. All strings are parts of one,
// so keeping one of them keeps the whole head. The error is a *SyntaxError, io.EOF if the connection ended before the
// first byte, io.ErrUnexpectedEOF if it ended after, or the connection's. After an error of a deadline Head can be
// called again and goes on where it was.
func (r *Reader) Head(l Limits) (start string, h http.Header, err error) {
	text, err := r.head(l)
	if err != nil {
		return "", nil, err
	}
	end := strings.IndexByte(text, '\n')
	if end > l.Line {
		return "", nil, ErrStartSize
	}
	start, text = strings.TrimSuffix(text[:end], "\r"), text[end+1:]
	if start == "" || !IsValue(start) {
		return "", nil, errStartLine
	}
	h = make(http.Header, min(strings.Count(text, "\n"), 16))
	return start, h, parseFields(text, h, l)
}

// head waits until the whole head is buffered and takes it out.
func (r *Reader) head(l Limits) (string, error) {
	for seen := 0; ; {
		have := r.buf[r.r:r.w]
		for l.Request && seen == 0 && len(have) > 0 && (have[0] == '\n' || len(have) > 1 && have[0] == '\r' &&
			have[1] == '\n') {
			have = have[1+bytes.IndexByte(have, '\n'):]
			r.r = r.w - len(have)
		}
		if end := sectionEnd(have, seen); end > 0 {
			if end > l.Bytes {
				return "", tooLarge(have, l)
			}
			text := string(have[:end])
			r.skip(end)
			return text, nil
		}
		if len(have) > l.Bytes {
			return "", tooLarge(have, l)
		}
		seen = max(0, len(have)-2)
		if err := r.Fill(); err != nil {
			if err == io.EOF && len(have) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// tooLarge reports whether it is the start line that makes a head too large.
func tooLarge(head []byte, l Limits) error {
	if line := bytes.IndexByte(head, '\n'); line < 0 || line > l.Line {
		return ErrStartSize
	}
	return errHeadSize
}

// sectionEnd gives the index after the empty line that ends a section of lines, or 0. The first seen bytes hold no
// such line whole.
func sectionEnd(b []byte, seen int) int {
	for i := seen; ; {
		line := bytes.IndexByte(b[i:], '\n')
		if line < 0 {
			return 0
		}
		i += line + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// Status reads the head of an answer, of which nothing but the status is wanted.
func (r *Reader) Status(l Limits) (code int, err error) {
	start, _, err := r.Head(l)
	if err != nil {
		return 0, err
	}
	var a http.Response
	err = parseStatus(&a, start)
	return a.StatusCode, err
}
