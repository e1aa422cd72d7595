// Package multiparts passes a multipart body (RFC 2046, section 5.1; RFC 7578) on byte for
// byte, and holds each part back that says something in JSON until it was looked at.
//
// It is read on the principle that no server may find a part where this package finds none.
// So there is one form of a boundary, and whatever a tolerant reader could take for
// another one is refused: the bytes of a boundary anywhere else, a line that ends with LF
// alone, blanks behind a boundary, text in front of the first or behind the last one, a part
// that is multipart or coded itself. Clients choose boundaries at random, so that none of
// them meets this by chance.
package multiparts

import (
	"errors"
	"io"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

const (
	// small is the size of the buffer that every body has, in bytes; large is what it grows to
	// for files, if there is memory.
	small = memory.Free
	large = 32 << 10
	// mostHeader bounds the header of a part, in bytes, with the empty line at its end.
	mostHeader = 8 << 10
)

// Part is a part that was held back.
type Part struct {
	// Name is the parameter name of Content-Disposition, empty for none.
	Name string
	// JSON says that the content is JSON by its media type or its beginning. It may be
	// broken all the same.
	JSON bool
	// Content is valid until Look returns.
	Content []byte
}

// Options are what a Reader needs; all are required.
type Options struct {
	Body     io.Reader
	Boundary string
	// Most bounds what is held back of a body, in bytes: beyond it the error is 413.
	Most int
	// Memory is asked for every byte that is held; beyond it the error is 503.
	Memory *memory.Account
	// Reads reports whether a part of a name is held back whatever it is.
	Reads func(name string) bool
	// Look is given each part that is held back, in the order of the body. Nothing of a
	// part goes on before Look returned nil; its error becomes that of Read.
	Look func(Part) error
}

// Reader is the body as it goes on. It is for one goroutine at a time.
type Reader struct {
	o         Options
	delimiter []byte // "--" and the boundary

	// buf[begin:] was not passed on yet; up to safe it may be. What is parsed next stands at
	// buf[at:], and the content of the part that is read begins at content, which is
	// negative when that was passed on.
	buf                      []byte
	begin, safe, at, content int

	step  func() error // parses on: it moves at and safe, or reads more
	part  Part
	named map[string]bool // the names of parts that were held back
	held  bool            // the part is held back to be looked at, for its name, type or beginning
	begun beginning       // how the part begins, as far as it was read
	read  int             // how much of the body was held back, in bytes
	files bool            // a part that goes on unread has begun
	tight bool            // there was no memory for a larger buffer
	last  bool            // the last boundary was read
	ended error           // how the body ended
	err   error
}

// New makes a Reader.
func New(o Options) *Reader {
	r := &Reader{o: o, delimiter: []byte("--" + o.Boundary), named: make(map[string]bool)}
	r.step = r.start
	return r
}

// Lead reads up to the first part that need not be held back, or to the end, so that what
// comes before is known before anything goes on.
func (r *Reader) Lead() error {
	for !r.files && r.err == nil {
		r.err = r.advance()
	}
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// Read implements io.Reader. The error is a *problem.Problem for a body that is refused,
// or that of the body.
func (r *Reader) Read(p []byte) (int, error) {
	for r.begin == r.safe {
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.advance()
	}
	n := copy(p, r.buf[r.begin:r.safe])
	r.begin += n
	return n, nil
}

// advance makes one step. The end of the body is one only behind the last boundary.
func (r *Reader) advance() error {
	err := r.step()
	if err == io.EOF && !r.last {
		return refuse("it ends without its last boundary, which is followed by two hyphens")
	}
	return err
}

func refuse(detail string) error {
	return problem.BadRequest("The parts of the multipart body cannot be told apart for certain, so that the enterprises "+
		"that they name are not known. Correct it and send it again, whole.",
		problem.Issue{Type: problem.IssueSchemaViolation, In: "body", Detail: detail})
}

// more reads more of the body into the buffer. It gives the body's error at its end.
func (r *Reader) more() error {
	if r.ended != nil {
		return r.ended
	}
	if r.begin > 0 { // what was passed on makes room
		r.buf = r.buf[:copy(r.buf, r.buf[r.begin:])]
		r.safe, r.at, r.content = r.safe-r.begin, r.at-r.begin, r.content-r.begin
		r.begin = 0
	}
	if err := r.room(); err != nil {
		return err
	}
	n, err := r.o.Body.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.ended = err
	if n == 0 {
		return err
	}
	return nil
}

// room makes room in the buffer. It grows while it is full of what is held back, and once for
// files, if there is memory to spare. When what was held back has gone on, it shrinks again.
func (r *Reader) room() error {
	size := cap(r.buf)
	full := len(r.buf) == size
	next := large
	switch {
	case full && size > r.o.Most+mostHeader:
		return r.tooLarge()
	case full:
		next = max(2*size, small)
	case !r.files || r.tight || size == large || len(r.buf) > small:
		return nil
	}
	if !r.o.Memory.Hold(int64(next)) { // both are there while one is copied into the other
		r.tight = true
		if !full {
			return nil
		}
		return memory.Full()
	}
	r.buf = append(make([]byte, 0, next), r.buf...)
	r.o.Memory.Give(int64(size))
	return nil
}

func (r *Reader) tooLarge() error {
	return problem.TooLarge(int64(r.o.Most), "The parts of the multipart body that are JSON are together larger than "+
		"this route takes.")
}
