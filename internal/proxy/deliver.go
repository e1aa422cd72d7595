package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"ebox-gateway/internal/links"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

const (
	// chunkSize is how much of a body is read at once.
	chunkSize = 32 << 10
	// largeChunk is how much is read at once of a body that comes faster than that: each
	// system call costs as much as copying some kilobytes.
	largeChunk = 128 << 10
	// holdRewritten is the largest body, in bytes, that is rewritten whole, so that
	// it gets a Content-Length again.
	holdRewritten = 64 << 10
	// holdHTTP10 is how much of an answer of unknown length is held back for a
	// caller of HTTP/1.0, which can see only by a Content-Length that an answer was cut.
	holdHTTP10 = 1 << 20
)

var errCutShort = errors.New("reading the upstream's answer: it was cut short")

var (
	chunks      = sync.Pool{New: func() any { return new([chunkSize]byte) }}
	largeChunks = sync.Pool{New: func() any { return new([largeChunk]byte) }}
)

// deliver hands the answer on to the caller, be it one that was kept or that has just
// come. It returns after the whole answer was written, or panics with
// http.ErrAbortHandler to cut it short.
func (x *exchange) deliver() {
	if !hasBody(x.c.Method, x.a.Status) {
		x.header(-1)
		return
	}
	if x.rewritten && x.a.Length != 0 && wire.Coded(x.a.Header) != "" && !x.uncode() {
		return
	}
	switch length := x.a.Length; {
	case x.http10 && (length < 0 || x.rewritten && length > holdRewritten):
		x.hold(holdHTTP10)
	case x.rewritten && length <= holdRewritten:
		x.hold(length)
	default:
		x.stream(nil)
	}
}

// uncode undoes the coding of a body whose links are to be rewritten. The upstream was
// asked for none, but not all of them look. If it cannot, the caller is told.
func (x *exchange) uncode() bool {
	plain, err := wire.Plain(x.a.Header, x.a.Body)
	if err != nil {
		x.failedHeld(err)
		return false
	}
	x.a.Body, x.a.Length = uncodedBody{plain, x.a.Body}, -1
	return true
}

// uncodedBody reads a body whose coding is undone. What follows the coding's end is read
// too: the trailers come behind it.
type uncodedBody struct {
	plain io.Reader
	coded io.ReadCloser
}

func (b uncodedBody) Read(p []byte) (int, error) {
	n, err := b.plain.Read(p)
	if err == io.EOF {
		if _, left := io.Copy(io.Discard, b.coded); left != nil {
			err = left
		}
	}
	return n, err
}

func (b uncodedBody) Close() error { return b.coded.Close() }

// hold reads up to limit bytes before the header leaves; a negative limit is one
// read, which is often all. If that is the whole body, it gets a Content-Length; if
// the upstream fails meanwhile, the caller can still be told with a problem.
func (x *exchange) hold(limit int64) {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	buf, n := chunk[:], 0
	var err error
	for err == nil && (n == 0 || int64(n) <= limit) {
		if n == len(buf) { // more than a chunk: a buffer of its own
			size := limit + 1
			if !x.c.Memory.Hold(size) {
				break // it streams, without a length
			}
			buf = append(make([]byte, 0, size), buf...)[:size]
		}
		var m int
		m, err = x.a.Body.Read(buf[n:])
		n += m
	}
	switch {
	case err == nil, err == io.EOF && !x.holdsRewritten(n): // at its end, a body says so again
		x.stream(buf[:n])
	case err == io.EOF:
		x.whole(buf[:n])
	default:
		x.failedHeld(err)
	}
}

// holdsRewritten makes room for a body of n bytes beside itself, rewritten. Small ones have
// a chunk for it.
func (x *exchange) holdsRewritten(n int) bool {
	return !x.rewritten || n <= chunkSize/2 || x.c.Memory.Hold(int64(n+n/4))
}

// whole sends a body that was read to its end.
func (x *exchange) whole(body []byte) {
	if x.rewritten && links.MayBeIn(body) {
		out := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(out)
		w := links.Rewriter{Links: x.links}
		body = w.End(w.Write(out[:0], body))
	}
	length := int64(len(body))
	if len(x.a.Trailer) > 0 && !x.http10 {
		length = -1 // trailers need chunks
	}
	x.header(length)
	x.write(body)
	x.trailers()
}

// failedHeld answers for an upstream that failed before the caller had seen
// anything of its answer.
func (x *exchange) failedHeld(err error) {
	if x.r.Context().Err() != nil {
		x.clientGone(err)
	}
	f := x.p.o.Classify(err)
	switch {
	case errors.Is(err, wire.ErrContentCoding):
		f.Kind = problem.ProxyContentCoding
	case f.Kind == "", f.Kind == problem.ProxyConnectionTerminated:
		f.Kind = problem.ProxyResponseIncomplete
	}
	x.refuse(upstreamProblem(f, x.c, true).Because(err))
}

// stream sends held and then the rest of the body as it comes.
func (x *exchange) stream(held []byte) {
	length := int64(-1)
	if !x.rewritten {
		length = x.a.Length
	}
	x.header(-1)
	// Of an answer whose length is known, nobody waits for a part. Another is
	// flushed before its body, and whenever the upstream pauses, which a read shows
	// that comes back with less than it had room for.
	flushes := length < 0
	if flushes && held == nil {
		x.flush()
	}
	var rw *links.Rewriter
	var out []byte
	if x.rewritten {
		buf := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(buf)
		rw = &links.Rewriter{Links: x.links}
		out = buf[:0]
	}
	send := func(p []byte) {
		if rw != nil {
			out = rw.Write(out[:0], p)
			p = out
		}
		x.write(p)
	}
	if len(held) > 0 {
		send(held)
		if flushes {
			x.flush()
		}
	}
	small := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(small)
	for chunk := small[:]; ; {
		n, err := x.a.Body.Read(chunk)
		if n > 0 {
			send(chunk[:n])
		}
		if err != nil && rw != nil {
			x.write(rw.End(out[:0]))
		}
		switch {
		case err == io.EOF:
			x.trailers()
			return
		case err != nil:
			x.cut(err)
		case flushes && n > 0 && n < len(chunk):
			x.flush()
		case n == chunkSize && len(chunk) == chunkSize && rw == nil && x.c.Memory.Hold(largeChunk):
			large := largeChunks.Get().(*[largeChunk]byte)
			defer largeChunks.Put(large)
			chunk = large[:]
		}
	}
}

// header sends the answer's header; length, unless negative, becomes its
// Content-Length.
func (x *exchange) header(length int64) {
	h := x.w.Header()
	x.answerHeader(h)
	if length >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if len(x.a.Trailer) > 0 && !x.http10 {
		x.announceTrailers(h)
	}
	x.c.Record.Status = x.a.Status
	x.w.WriteHeader(x.a.Status)
}

// trailers sends what came behind the body.
func (x *exchange) trailers() {
	x.a.Close()
	if len(x.a.Trailer) == 0 || x.http10 {
		return
	}
	x.flush() // a short answer must not get a Content-Length now
	x.passTrailers(x.w.Header())
}

// write gives p to the caller and ends the exchange if the caller is gone.
func (x *exchange) write(p []byte) {
	if len(p) == 0 {
		return
	}
	n, err := x.w.Write(p)
	rec := x.c.Record
	rec.BytesOut += int64(n)
	if err != nil {
		rec.Cut, rec.Cause = true, err
		panic(http.ErrAbortHandler)
	}
}

func (x *exchange) flush() {
	_ = http.NewResponseController(x.w).Flush() // a caller that is gone shows at the next write
}

// cut ends an answer that the upstream did not finish, in a way that the caller cannot
// take for its end: what came is flushed, and then the connection breaks off.
func (x *exchange) cut(cause error) {
	rec := x.c.Record
	rec.Cut, rec.Cause = true, fmt.Errorf("%w: %w", errCutShort, cause)
	rec.ProxyError = problem.ProxyResponseIncomplete
	x.flush()
	panic(http.ErrAbortHandler)
}
