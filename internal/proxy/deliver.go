package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

const (
	// chunkSize is how much of a body is read at once.
	chunkSize = 32 << 10
	// holdRewritten is the largest body, in bytes, that is rewritten whole, so that
	// it gets a Content-Length again.
	holdRewritten = 64 << 10
	// holdHTTP10 is how much of an answer of unknown length is held back for a
	// caller of HTTP/1.0, to whom only a Content-Length tells a whole answer from
	// one that was cut short.
	holdHTTP10 = 1 << 20
	// headerPatience is how long the header of an answer of unknown length waits
	// for the first bytes of its body, to leave in one packet with them.
	headerPatience = 2 * time.Millisecond
)

var errCutShort = errors.New("reading the upstream's answer: it was cut short")

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// delivery is an answer on its way to the caller.
type delivery struct {
	p    *Proxy
	w    http.ResponseWriter
	r    *http.Request
	c    *Call
	s    *source
	resp *http.Response
	rec  *call.Record

	// extra goes on top of the answer's header.
	extra []Field

	links     linkMap
	rewritten bool
	announced string // the trailers announced to the caller
}

// deliver hands resp on to the caller. It returns after the whole answer was
// written, or panics with http.ErrAbortHandler to cut it short.
func (d *delivery) deliver() {
	d.links = linkMap{forms: &d.c.Upstream.links, base: d.c.Links}
	d.rewritten = rewritesBody(d.resp, d.c)
	if !hasBody(d.r.Method, d.resp.StatusCode) {
		d.header(-1)
		return
	}
	length := d.resp.ContentLength
	http10 := !d.r.ProtoAtLeast(1, 1)
	switch {
	case http10 && (length < 0 || d.rewritten && length > holdRewritten):
		d.hold(holdHTTP10, http10)
	case d.rewritten && length <= holdRewritten:
		d.hold(length, http10)
	default:
		d.stream(nil, http10)
	}
}

// hold reads up to limit bytes before the header leaves; a negative limit is one
// read, which is often all. If that is the whole body, it gets a Content-Length; if
// the upstream fails meanwhile, the caller can still be told with a problem.
func (d *delivery) hold(limit int64, http10 bool) {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	buf, n := chunk[:], 0
	var err error
	for err == nil && (n == 0 || int64(n) <= limit) {
		if n == len(buf) { // more than a chunk: a buffer of its own
			size := min(max(4*len(buf), int(max(d.resp.ContentLength, 0))+1), holdHTTP10+chunkSize)
			buf = append(make([]byte, 0, size), buf[:n]...)[:size]
		}
		var m int
		m, err = d.resp.Body.Read(buf[n:])
		n += m
	}
	held := buf[:n]
	switch {
	case err == nil:
		d.stream(held, http10)
	case err == io.EOF:
		d.whole(held)
	default:
		d.failedHeld(err)
	}
}

// whole sends a body that was read to its end.
func (d *delivery) whole(body []byte) {
	if d.rewritten {
		out := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(out)
		w := rewriter{links: d.links}
		body = w.end(w.write(out[:0], body))
	}
	length := int64(len(body))
	if len(d.resp.Trailer) > 0 && d.r.ProtoAtLeast(1, 1) {
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
		clientGone(d.rec, err)
	}
	f := d.p.o.Classify(err)
	if f.Kind == "" || f.Kind == problem.ProxyConnectionTerminated {
		f.Kind = problem.ProxyResponseIncomplete
	}
	d.p.refuse(d.w, d.r, upstreamProblem(f, d.r.Method, true, d.c.Opening).Because(err))
}

// stream sends held and then the rest of the body as it comes.
func (d *delivery) stream(held []byte, http10 bool) {
	length := int64(-1)
	if !d.rewritten {
		length = d.resp.ContentLength
	}
	d.header(-1)
	// Of an answer whose length is known, nobody waits for a part. Another is
	// flushed whenever the upstream pauses, which a read shows that comes back with
	// less than it had room for.
	flushes := length < 0
	var early *earlyFlush
	if flushes && held == nil {
		early = flushSoon(d.w, isEventStream(d.resp))
	}
	var rw *rewriter
	var out []byte
	if d.rewritten {
		buf := chunks.Get().(*[chunkSize]byte)
		defer chunks.Put(buf)
		rw = &rewriter{links: d.links}
		out = buf[:0]
	}
	send := func(p []byte) {
		if rw != nil {
			out = rw.write(out[:0], p)
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
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for {
		n, err := d.resp.Body.Read(chunk[:])
		early.stop()
		if n > 0 {
			send(chunk[:n])
		}
		switch {
		case err == io.EOF:
			if rw != nil {
				d.write(rw.end(out[:0]))
			}
			d.trailers()
			return
		case err != nil:
			if rw != nil {
				d.write(rw.end(out[:0]))
			}
			d.cut(err, http10 && length < 0)
		case flushes && n > 0 && n < len(chunk):
			d.flush()
		}
	}
}

// header sends the answer's header; length, unless negative, becomes its
// Content-Length.
func (d *delivery) header(length int64) {
	h := d.w.Header()
	d.p.answerHeader(h, d.resp, d.c, d.rec, &d.links, d.rewritten)
	for _, f := range d.extra {
		h[f.Name] = f.Values
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if len(d.resp.Trailer) > 0 && d.r.ProtoAtLeast(1, 1) {
		announceTrailers(h, d.resp, d.rewritten)
		if v := h["Trailer"]; len(v) > 0 {
			d.announced = v[0]
		}
	}
	// An answer that comes before the request's end leaves the rest of that request
	// on the connection, which so must not be used again. To say so also keeps the
	// server from reading that rest by itself, as it otherwise would before the
	// header leaves: it would be missing in the middle of what the upstream gets.
	if _, err := d.s.state(); err == nil && d.r.ProtoMajor == 1 {
		h["Connection"] = closeToken
	}
	d.rec.Status = d.resp.StatusCode
	d.w.WriteHeader(d.resp.StatusCode)
}

// trailers sends what came behind the body.
func (d *delivery) trailers() {
	if d.resp.Body != nil { // one that was kept has none
		d.resp.Body.Close()
	}
	if len(d.resp.Trailer) == 0 || !d.r.ProtoAtLeast(1, 1) {
		return
	}
	d.flush() // a short answer must not get a Content-Length now
	passTrailers(d.w.Header(), d.resp, d.announced, d.rewritten)
}

// write gives p to the caller and ends the exchange if the caller is gone.
func (d *delivery) write(p []byte) {
	if len(p) == 0 {
		return
	}
	n, err := d.w.Write(p)
	d.rec.BytesOut += int64(n)
	if err != nil {
		d.rec.Cut, d.rec.Cause = true, err
		panic(http.ErrAbortHandler)
	}
}

func (d *delivery) flush() {
	_ = http.NewResponseController(d.w).Flush() // a caller that is gone shows at the next write
}

// cut ends an answer that the upstream did not finish, in a way that the caller
// cannot take for its end: what came is flushed, and then the connection breaks off.
// Where the end of the connection is the end of the body, it has to be a reset.
func (d *delivery) cut(cause error, reset bool) {
	d.rec.Cut, d.rec.Cause = true, fmt.Errorf("%w: %w", errCutShort, cause)
	d.rec.ProxyError = problem.ProxyResponseIncomplete
	d.flush()
	if reset {
		resetConnection(d.w)
	}
	panic(http.ErrAbortHandler)
}

// resetConnection closes the caller's TCP connection with a reset.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	for inner := conn; inner != nil; {
		if tcp, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
			inner.Close() // beneath TLS, whose own closing would say that all was well
			break
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapper.NetConn()
	}
	conn.Close()
}

func isEventStream(resp *http.Response) bool {
	v := resp.Header["Content-Type"]
	return len(v) > 0 && strings.HasPrefix(v[0], "text/event-stream")
}

// earlyFlush sends the header of an answer whose body is slow to begin.
type earlyFlush struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	over  bool
	timer *time.Timer
}

func flushSoon(w http.ResponseWriter, now bool) *earlyFlush {
	if now {
		_ = http.NewResponseController(w).Flush()
		return nil
	}
	f := &earlyFlush{w: w}
	f.timer = time.AfterFunc(headerPatience, f.flush)
	return f
}

func (f *earlyFlush) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		_ = http.NewResponseController(f.w).Flush()
	}
}

// stop makes sure that nothing is flushed any more: from now on the body is
// written.
func (f *earlyFlush) stop() {
	if f == nil || f.over {
		return
	}
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.timer.Stop()
}
