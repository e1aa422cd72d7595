package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"ebox-gateway/internal/call"
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
	// caller of HTTP/1.0, to whom only a Content-Length tells a whole answer from
	// one that was cut short.
	holdHTTP10 = 1 << 20
)

var errCutShort = errors.New("reading the upstream's answer: it was cut short")

var (
	chunks      = sync.Pool{New: func() any { return new([chunkSize]byte) }}
	largeChunks = sync.Pool{New: func() any { return new([largeChunk]byte) }}
)

// delivery is an answer on its way to the caller.
type delivery struct {
	*exchange
	a *call.Answer
	// http10 tells a caller to whom only a Content-Length tells a whole answer from one
	// that was cut short.
	http10 bool

	links     links.Map
	rewritten bool
}

// links gives the map of this upstream's links for this caller.
func (x *exchange) links() links.Map { return links.NewMap(&x.c.To.Forms, x.c.Links) }

// deliver hands an answer on to the caller, be it one that was kept or that has just
// come. It returns after the whole answer was written, or panics with
// http.ErrAbortHandler to cut it short.
func (x *exchange) deliver(a *call.Answer) {
	d := delivery{exchange: x, a: a, links: x.links(), rewritten: rewritesBody(a, x.c), http10: !x.r.ProtoAtLeast(1, 1)}
	if !hasBody(x.c.Method, a.Status) {
		d.header(-1)
		return
	}
	if a.Body == nil { // it is kept, and others may get it at this moment
		kept := *a
		kept.Body, kept.Length = io.NopCloser(bytes.NewReader(a.Bytes)), int64(len(a.Bytes))
		d.a = &kept
	}
	if d.rewritten && d.a.Length != 0 && wire.Coded(a.Header) != "" && !d.uncode() {
		return
	}
	switch length := d.a.Length; {
	case d.http10 && (length < 0 || d.rewritten && length > holdRewritten):
		d.hold(holdHTTP10)
	case d.rewritten && length <= holdRewritten:
		d.hold(length)
	default:
		d.stream(nil)
	}
}

// uncode undoes the coding of a body whose links are to be rewritten. The upstream was
// asked for none, but not all of them look. If it cannot, the caller is told.
func (d *delivery) uncode() bool {
	plain, err := wire.Plain(d.a.Header, d.a.Body)
	if err != nil {
		d.failedHeld(err)
		return false
	}
	a := *d.a // it may be one that is kept
	a.Body, a.Length = uncodedBody{plain, d.a.Body}, -1
	d.a = &a
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
func (d *delivery) hold(limit int64) {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	buf, n, held := chunk[:], 0, 0
	var err error
	for err == nil && (n == 0 || int64(n) <= limit) {
		if n == len(buf) { // more than a chunk: a buffer of its own
			size := min(2*len(buf), holdHTTP10+chunkSize)
			if !d.c.Memory.Hold(int64(size)) {
				break // it streams, without a length
			}
			d.c.Memory.Give(int64(held))
			held = size
			buf = append(make([]byte, 0, size), buf[:n]...)[:size]
		}
		var m int
		m, err = d.a.Body.Read(buf[n:])
		n += m
	}
	switch {
	case err == nil, err == io.EOF && !d.holdsRewritten(n): // at its end, a body says so again
		d.stream(buf[:n])
	case err == io.EOF:
		d.whole(buf[:n])
	default:
		d.failedHeld(err)
	}
}

// holdsRewritten makes room for a body of n bytes beside itself, rewritten. Small ones have
// a chunk for it.
func (d *delivery) holdsRewritten(n int) bool {
	return !d.rewritten || n <= chunkSize/2 || d.c.Memory.Hold(int64(n+n/4))
}

// whole sends a body that was read to its end.
func (d *delivery) whole(body []byte) {
	if d.rewritten && links.MayBeIn(body) {
		out := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(out)
		w := links.Rewriter{Links: d.links}
		body = w.End(w.Write(out[:0], body))
	}
	length := int64(len(body))
	if len(d.a.Trailer) > 0 && !d.http10 {
		length = -1 // trailers need chunks
	}
	d.header(length)
	d.write(body)
	d.trailers()
}

// failedHeld answers for an upstream that failed before the caller had seen
// anything of its answer.
func (d *delivery) failedHeld(err error) {
	if d.r.Context().Err() != nil {
		d.clientGone(err)
	}
	f := d.p.o.Classify(err)
	switch {
	case errors.Is(err, wire.ErrContentCoding):
		f.Kind = problem.ProxyContentCoding
	case f.Kind == "", f.Kind == problem.ProxyConnectionTerminated:
		f.Kind = problem.ProxyResponseIncomplete
	}
	d.refuse(upstreamProblem(f, d.c, true).Because(err))
}

// stream sends held and then the rest of the body as it comes.
func (d *delivery) stream(held []byte) {
	length := int64(-1)
	if !d.rewritten {
		length = d.a.Length
	}
	d.header(-1)
	// Of an answer whose length is known, nobody waits for a part. Another is
	// flushed before its body, and whenever the upstream pauses, which a read shows
	// that comes back with less than it had room for.
	flushes := length < 0
	if flushes && held == nil {
		d.flush()
	}
	var rw *links.Rewriter
	var out []byte
	if d.rewritten {
		buf := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(buf)
		rw = &links.Rewriter{Links: d.links}
		out = buf[:0]
	}
	send := func(p []byte) {
		if rw != nil {
			out = rw.Write(out[:0], p)
			p = out
		}
		d.write(p)
	}
	if len(held) > 0 {
		send(held)
		if flushes {
			d.flush()
		}
	}
	small := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(small)
	for chunk := small[:]; ; {
		n, err := d.a.Body.Read(chunk)
		if n > 0 {
			send(chunk[:n])
		}
		switch {
		case err == io.EOF:
			if rw != nil {
				d.write(rw.End(out[:0]))
			}
			d.trailers()
			return
		case err != nil:
			if rw != nil {
				d.write(rw.End(out[:0]))
			}
			d.cut(err)
		case flushes && n > 0 && n < len(chunk):
			d.flush()
		case n == chunkSize && len(chunk) == chunkSize && rw == nil && d.c.Memory.Hold(largeChunk):
			large := largeChunks.Get().(*[largeChunk]byte)
			defer largeChunks.Put(large)
			chunk = large[:]
		}
	}
}

// header sends the answer's header; length, unless negative, becomes its
// Content-Length.
func (d *delivery) header(length int64) {
	h := d.w.Header()
	d.answerHeader(h)
	if length >= 0 {
		h["Content-Length"] = one(&d.length, strconv.FormatInt(length, 10))
	}
	if len(d.a.Trailer) > 0 && !d.http10 {
		d.announceTrailers(h)
	}
	d.c.Record.Status = d.a.Status
	d.w.WriteHeader(d.a.Status)
}

// trailers sends what came behind the body.
func (d *delivery) trailers() {
	d.a.Close()
	if len(d.a.Trailer) == 0 || d.http10 {
		return
	}
	d.flush() // a short answer must not get a Content-Length now
	d.passTrailers(d.w.Header())
}

// write gives p to the caller and ends the exchange if the caller is gone.
func (d *delivery) write(p []byte) {
	if len(p) == 0 {
		return
	}
	n, err := d.w.Write(p)
	rec := d.c.Record
	rec.BytesOut += int64(n)
	if err != nil {
		rec.Cut, rec.Cause = true, err
		panic(http.ErrAbortHandler)
	}
}

func (d *delivery) flush() {
	_ = http.NewResponseController(d.w).Flush() // a caller that is gone shows at the next write
}

// cut ends an answer that the upstream did not finish, in a way that the caller cannot
// take for its end: what came is flushed, and then the connection breaks off.
func (d *delivery) cut(cause error) {
	rec := d.c.Record
	rec.Cut, rec.Cause = true, fmt.Errorf("%w: %w", errCutShort, cause)
	rec.ProxyError = problem.ProxyResponseIncomplete
	d.flush()
	panic(http.ErrAbortHandler)
}
