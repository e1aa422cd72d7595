package listen

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/wire"
)

// response is what an exchange knows of its answer. The handler's goroutine writes it, but others
// may flush it, write interim answers, or cause a 100 by reading the body.
//
// How the body is framed may only show when it ends: what fits into one buffer is held back until
// then and gets a Content-Length, more of it goes out in chunks. The lines that say so are the last
// of the head, and are put there at last: at out[text:], where the body begins.
type response struct {
	header http.Header

	mu      sync.Mutex
	over    bool  // the handler has returned
	failed  error // the caller cannot be written to any more
	status  int   // 0 until the header was written
	closes  bool  // the connection ends with this answer
	framing framing
	// length is what Content-Length said, -1 if nothing; written counts the body's bytes.
	length, written int64

	out     []byte // what is to be written
	text    int
	buffers net.Buffers
	space   [2][]byte // of buffers
}

// framing is how the end of an answer's body is told.
type framing int

const (
	undecided framing = iota // it is held back until it ends, or is too long for that
	plain                    // by Content-Length, or else the end of the connection
	chunked
	noBody // of HEAD, 204 and 304
)

const (
	outSize = 4 << 10
	// room is for what comes before and behind what was held back: the fields that frame the
	// body, and the lines of a chunk.
	room = 96
)

var (
	outs      = sync.Pool{New: func() any { return new([outSize]byte) }}
	continued = []byte("HTTP/1.1 100 Continue\r\n\r\n")
	errOver   = errors.New("writing an answer: its handler has returned")
	errShort  = errors.New("writing an answer: it is shorter than its Content-Length")
)

// Header implements http.ResponseWriter.
func (e *exchange) Header() http.Header {
	if e.header == nil {
		e.header = make(http.Header, 16)
	}
	return e.header
}

// WriteHeader implements http.ResponseWriter. A status of 1xx is written at once, and only
// before the final one.
func (e *exchange) WriteHeader(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.writeHeader(status)
	}
}

func (e *exchange) writeHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("writing an answer: %d is no status", status))
	case e.status != 0:
		return
	case status < http.StatusOK:
		if !e.http10 && status != http.StatusSwitchingProtocols {
			e.appendHead(status)
			e.out = append(e.out, "\r\n"...)
			e.send(nil)
			e.giveBack()
		}
		return
	}
	e.status = status
	e.decide()
	e.appendHead(status)
	if _, ok := e.header["Date"]; !ok {
		e.out = append(time.Now().UTC().AppendFormat(append(e.out, "Date: "...), http.TimeFormat), "\r\n"...)
	}
	e.text = len(e.out)
	if e.framing != undecided {
		e.frame()
	}
}

// appendHead takes a buffer and begins it with a status line and the handler's fields.
func (e *exchange) appendHead(status int) {
	version := "HTTP/1.1 "
	if e.http10 {
		version = "HTTP/1.0 "
	}
	b := append(outs.Get().(*[outSize]byte)[:0], version...)
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	e.out = append(append(b, http.StatusText(status)...), "\r\n"...)
	for name, values := range e.header {
		if !e.omits(name) && (status >= http.StatusOK || name != "Content-Length") {
			e.field(name, values)
		}
	}
}

// sendContinue asks for the body, unless the answer has begun.
func (e *exchange) sendContinue() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status == 0 && !e.over && e.failed == nil {
		_, e.failed = e.c.nc.Write(continued)
	}
}

// decide chooses how the body is framed, as far as the header says, and whether the
// connection ends.
func (e *exchange) decide() {
	h := e.header
	e.closes = e.closes || wire.HasToken(h["Connection"], "close") || !e.body.isShort() || e.c.isClosing()
	e.length = declared(h, e.status, e.isHead)
	switch {
	case e.isHead || !bodyAllowed(e.status):
		e.framing = noBody
	case e.length >= 0:
		e.framing = plain
	case !e.http10 && len(h["Trailer"]) > 0:
		e.framing = chunked
	}
}

// declared is what Content-Length says of the body of an answer, -1 if it says nothing or there is no body. One that is
// no number is taken out, and so is one where it would be an error to many clients, who count what comes: where there
// never is a body, 304 excepted (RFC 9110, section 8.6).
func declared(h http.Header, status int, isHead bool) int64 {
	values, given := h["Content-Length"]
	if !given {
		return -1
	}
	length, err := int64(-1), error(nil)
	if len(values) > 0 {
		length, err = strconv.ParseInt(values[0], 10, 64)
	}
	if err != nil || length < 0 || !bodyAllowed(status) && status != http.StatusNotModified {
		delete(h, "Content-Length")
		return -1
	}
	if isHead || !bodyAllowed(status) {
		return -1
	}
	return length
}

// bodyAllowed reports whether an answer of this status can have a body (RFC 9110,
// section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified
}

// omits reports whether a field of the handler's is not written in the head: it is the server's
// own, or comes behind the body.
func (e *exchange) omits(name string) bool {
	switch name {
	case "Connection", "Transfer-Encoding", "Keep-Alive":
		return true
	case "Trailer":
		return e.framing != chunked
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// field appends the lines of a field. What would be the end of the field, or of the answer, is left out.
func (e *exchange) field(name string, values []string) {
	for _, v := range values {
		if b, err := wire.AppendField(e.out, name, v); err == nil {
			e.out = b
		}
	}
}

// frame ends the head, now that it is known how the body is framed. What is held back of one that
// is chunked becomes its first chunk.
func (e *exchange) frame() {
	var lines [room]byte
	b, held := lines[:0], len(e.out)-e.text
	switch e.framing {
	case undecided: // all of it is here
		e.length = int64(held)
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), e.length, 10), "\r\n"...)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case plain:
		e.closes = e.closes || e.length < 0
	case noBody:
	}
	switch {
	case e.closes:
		b = append(b, "Connection: close\r\n"...)
	case e.http10:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	if e.framing == chunked && held > 0 {
		b = wire.AppendChunkSize(b, held)
		e.out = append(e.out, "\r\n"...)
	}
	e.out = slices.Insert(e.out, e.text, b...)
}

// Write implements http.ResponseWriter.
func (e *exchange) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return 0, errOver
	}
	if e.status == 0 {
		e.writeHeader(http.StatusOK)
	}
	switch {
	case e.failed != nil:
		return 0, e.failed
	case len(p) == 0:
		return 0, nil
	case e.isHead:
		return len(p), nil
	case e.framing == noBody:
		return 0, http.ErrBodyNotAllowed
	case e.length >= 0 && e.written+int64(len(p)) > e.length:
		return 0, http.ErrContentLength
	}
	e.written += int64(len(p))
	fits := len(e.out)+len(p)+room <= cap(e.out)
	if e.framing == undecided && !fits {
		e.stream()
	}
	switch {
	case e.framing == chunked:
		e.writeChunk(p)
	case fits:
		e.out = append(e.out, p...)
	default:
		e.send(p)
	}
	return len(p), e.failed
}

// stream frames a body whose end is not known.
func (e *exchange) stream() {
	e.framing = chunked
	if e.http10 {
		e.framing = plain
	}
	e.frame()
}

// writeChunk writes a chunk, or appends it to what is to be written if it is small.
func (e *exchange) writeChunk(p []byte) {
	const lines = 16
	if len(e.out)+lines > cap(e.out) {
		e.send(nil)
	}
	e.out = wire.AppendChunkSize(e.out, len(p))
	if len(e.out)+len(p)+2 <= cap(e.out) {
		e.out = append(e.out, p...)
	} else {
		e.send(p)
	}
	e.out = append(e.out, "\r\n"...)
}

// FlushError lets http.ResponseController flush.
func (e *exchange) FlushError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return errOver
	}
	if e.status == 0 {
		e.writeHeader(http.StatusOK)
	}
	if e.framing == undecided {
		e.stream()
	}
	e.send(nil)
	return e.failed
}

// end completes the answer.
func (e *exchange) end() {
	if e.status == 0 {
		e.writeHeader(http.StatusOK)
	}
	if e.framing == undecided && !e.http10 && e.hasTrailer() {
		e.stream()
	}
	switch {
	case e.framing == undecided:
		e.frame()
	case e.framing == chunked:
		e.endChunks()
	case e.written < e.length && e.failed == nil:
		e.send(nil)
		e.failed = errShort
	}
	e.send(nil)
}

func (e *exchange) hasTrailer() bool {
	for name := range e.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// endChunks writes the last chunk and the trailer section.
func (e *exchange) endChunks() {
	e.out = append(e.out, "0\r\n"...)
	for name, values := range e.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			e.field(bare, values)
		}
	}
	e.out = append(e.out, "\r\n"...)
}

// send writes what is to be written, and p behind it.
func (e *exchange) send(p []byte) {
	head := e.out
	e.out = e.out[:0]
	switch {
	case e.failed != nil:
	case len(p) == 0:
		if len(head) > 0 {
			_, e.failed = e.c.nc.Write(head)
		}
	case len(head) == 0:
		_, e.failed = e.c.nc.Write(p)
	case e.c.tls == nil:
		e.space = [2][]byte{head, p}
		e.buffers = e.space[:]
		e.failed = e.c.socket.writeBuffers(&e.buffers)
		e.space = [2][]byte{}
	default: // a record of TLS for each
		n := copy(head[len(head):cap(head)], p)
		if _, e.failed = e.c.nc.Write(head[:len(head)+n]); e.failed == nil && n < len(p) {
			_, e.failed = e.c.nc.Write(p[n:])
		}
	}
	if e.failed != nil {
		e.ctx.cancel()
	}
}

// giveBack gives back the buffer, unless the header was so long that it moved.
func (e *exchange) giveBack() {
	if cap(e.out) == outSize {
		outs.Put((*[outSize]byte)(e.out[:outSize]))
	}
	e.out = nil
}
