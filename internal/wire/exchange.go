package wire

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/problem"
)

// answerHead are the limits of an answer's head.
var answerHead = Limits{Bytes: 64 << 10, Line: 32 << 10, Fields: 256}

// MostInterim is how many interim answers one request may have.
const MostInterim = 8

// exchange is one request and its answer. It is the answer's body, too. The steps of it are, in this order: compose,
// begin, send and receive (upload.go has a body that does not go up with the head); accept, which gives the answer to
// the caller, then Read and Close of the body (answer.go); finish.
type exchange struct {
	Options
	t   *Transport
	ctx context.Context
	r   *http.Request
	p   *pool

	out     []byte        // what is written at once: the head, with a small body behind it
	length  int64         // of the request's body, or Chunked
	whole   bool          // all of the body is in out, or there is none
	header  time.Duration // to wait for the answer's head
	traceID string
	expects bool // the body waits for a 100

	answer http.Response
	c      *conn
	reused bool        // the connection had served another exchange before
	cancel func()      // the connection's, for Close during a Read
	sent   int64       // bytes that the socket had sent before
	stop   func() bool // ends the watch over ctx; nil if there is none
	up     *upload     // nil if no goroutine sends the body
	reuse  bool        // the framing lets the connection be used again

	in    Body         // of the answer
	err   error        // what Read gives once the body is over
	state atomic.Int32 // of the body: see Read

	mu       sync.Mutex // between the upload and this
	headSeen bool
}

// do has the request sent and gives the head of its answer. A request that met a connection which had ended goes once
// more, over a fresh one.
func (x *exchange) do() (*http.Response, error) {
	if x.ctx.Err() != nil {
		return nil, x.cancelled()
	}
	var err error
	if x.p, err = x.t.pool(x.r.URL); err != nil {
		return nil, &Error{Kind: problem.ProxyInternalError, Err: err}
	}
	defer x.release()
	if failure := x.compose(); failure != nil {
		return nil, failure
	}
	for fresh := false; ; fresh = true {
		c, err := x.connect(fresh)
		if err != nil && x.ctx.Err() != nil {
			return nil, x.cancelled()
		}
		if err != nil {
			return nil, err
		}
		x.begin(c)
		failure := x.send()
		if failure == nil {
			failure = x.receive()
		}
		if failure == nil {
			return &x.answer, nil
		}
		x.finish(false)
		if !x.mayRepeat(failure) {
			return nil, failure
		}
		x.t.resent.Add(1)
		if x.Resent != nil && failure.Sent {
			*x.Resent++
		}
		if x.out == nil {
			if failure := x.compose(); failure != nil {
				return nil, failure
			}
		}
	}
}

// connect gives a connection that is good as far as can be seen: a kept one, or else, or if fresh, a new one.
func (x *exchange) connect(fresh bool) (*conn, error) {
	t, p := x.t, x.p
	change := !safe(x.r.Method) && x.r.Method != http.MethodPost
	for !fresh {
		c := p.take(x.Party, change)
		if c == nil {
			break
		}
		switch c.look() {
		case nothing:
			return c, nil
		case surplus:
			p.sawSurplus()
		case ended:
			t.ended.Add(1)
		}
		c.drop()
	}
	generation := t.generation.Load()
	raw, err := t.config.Dial(x.ctx, p.scheme, p.address)
	if err != nil {
		return nil, err
	}
	t.opened.Add(1)
	c := newConn(p, raw)
	c.until, c.generation = t.config.Now().Add(t.config.Age()), generation
	return c, nil
}

// mayRepeat reports whether a request that failed goes once more: its connection had ended, and the upstream has read
// nothing of it, or it is safe, whole, and not to be sent once only.
func (x *exchange) mayRepeat(failure *Error) bool {
	return failure.Stale && (x.whole && !x.Once && safe(x.r.Method) || !failure.Sent && x.up == nil)
}

func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// compose makes out: the head, and a small body, which is read whole before anything is sent.
func (x *exchange) compose() *Error {
	b, length, err := x.appendHead(takeBuffer()[:0], x.r, x.p)
	x.out, x.length, x.whole = b, length, length == 0
	if err != nil {
		return &Error{Kind: problem.ProxyInternalError, Err: err}
	}
	if length > 0 && !x.expects && length <= int64(cap(b)-len(b)) {
		if x.out, err = appendBody(b, x.r.Body, length); err != nil {
			return (&Error{Err: err}).classify(reading)
		}
		x.whole = true
		x.r.Body.Close()
	}
	return nil
}

// release gives the buffer back.
func (x *exchange) release() {
	giveBuffer(x.out)
	x.out = nil
}

// begin takes a connection into use.
func (x *exchange) begin(c *conn) {
	x.c, x.reused, x.cancel, x.sent = c, !c.since.IsZero(), c.cancel, c.socket.sent.Load()
	c.party = x.Party
	if x.traceID != "" {
		x.t.config.Calls.add(x.traceID, 1)
	}
	// A context that has AfterFunc itself needs no other around it.
	if direct, ok := x.ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		x.stop = direct.AfterFunc(x.cancel)
	} else if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.cancel)
	}
	if x.Connected != nil {
		x.Connected(x.reused)
	}
}

// send writes the head, and what goes with it. If more of the body is to follow, it begins to.
func (x *exchange) send() *Error {
	_, err := x.c.Write(x.out)
	if x.length == 0 {
		x.release() // it can be made again, and is not held while the answer is awaited
	}
	switch {
	case err != nil && (!x.wasSent() || IsTimeout(err)):
		// If nothing was sent, nothing that waits here can be an answer to it.
		e := x.fail(err, writing)
		e.Stale = x.reused && e.Kind == problem.ProxyConnectionTerminated
		return e
	case err != nil, x.expects:
		// The upstream may have answered before it stopped reading, or is to ask for the body.
		err = x.c.socket.within(min(x.header, x.t.config.Continue))
	case x.whole:
		err = x.c.socket.within(x.header)
	default:
		err = x.startUpload()
	}
	if err != nil {
		return x.fail(err, waiting)
	}
	return nil
}

// startUpload has the body go up, and lets the answer take its time meanwhile. The wait for it begins when the body
// has been sent, which it may be already.
func (x *exchange) startUpload() error {
	if err := x.c.socket.within(0); err != nil {
		return err
	}
	x.up = &upload{x: x, c: x.c, done: make(chan struct{})}
	go x.up.run()
	return nil
}

// receive reads interim answers and the head of the final one.
func (x *exchange) receive() *Error {
	c := x.c
	for count := 0; ; {
		start, h, err := c.r.Head(answerHead)
		if err != nil && x.expects && x.up == nil && IsTimeout(err) && x.ctx.Err() == nil {
			// No 100 came: the body goes all the same (RFC 9110, section 10.1.1).
			if err := x.startUpload(); err != nil {
				return x.fail(err, waiting)
			}
			continue
		}
		if err != nil {
			stale := x.reused && count == 0 && c.r.Buffered() == 0 && IsTerminated(err)
			e := x.fail(err, waiting)
			e.Stale = stale && e.Kind == problem.ProxyConnectionTerminated
			return e
		}
		err = parseStatus(&x.answer, start)
		code := x.answer.StatusCode
		if err == nil && code >= 200 {
			err = x.accept(h)
		} else if err == nil {
			count++
			err = x.passInterim(code, count, h)
		}
		if err != nil {
			return x.fail(err, waiting)
		}
		if code >= 200 {
			return nil
		}
	}
}

// passInterim hands an interim answer on, the count-th. A 100 has the body go up.
func (x *exchange) passInterim(code, count int, h http.Header) error {
	switch {
	case code == http.StatusSwitchingProtocols:
		return errSwitching
	case count > MostInterim:
		return errInterim
	case code == http.StatusContinue && x.expects && x.up == nil:
		if err := x.startUpload(); err != nil {
			return err
		}
	}
	if x.Interim == nil {
		return nil
	}
	return x.Interim(code, h)
}

func (x *exchange) wasSent() bool { return x.c.socket.sent.Load() > x.sent }

// cancelled is the error of an exchange whose context was done before it began.
func (x *exchange) cancelled() *Error { return (&Error{Err: context.Cause(x.ctx)}).classify(waiting) }

// fail makes the error of an exchange that ends before its answer begins, or in its body.
func (x *exchange) fail(err error, at stage) *Error {
	e := &Error{Err: err, Sent: x.wasSent()}
	x.mu.Lock()
	up := x.up
	if up != nil && up.over && up.err != nil && at != reading {
		// The wait for the answer ended, or was ended, for what became of the body.
		if !up.writing || IsTimeout(up.err) {
			e.Err = up.err
			at = reading
			if up.writing {
				at = writing
			}
		}
	}
	x.mu.Unlock()
	if x.c.socket.cancelled.Load() && x.ctx.Err() != nil {
		e.Err = context.Cause(x.ctx)
	}
	return e.classify(at)
}

// finish ends the exchange. well says that the answer was read to its end.
func (x *exchange) finish(well bool) {
	c := x.c
	x.c = nil
	reuse := well && x.reuse
	if x.stop != nil && !x.stop() {
		reuse = false // cancel ran, or is about to
	}
	if x.traceID != "" {
		x.t.config.Calls.add(x.traceID, -1)
	}
	if x.up != nil {
		if reuse && x.up.ending.Load() {
			// Only the goroutine's last words are missing, most likely.
			select {
			case <-x.up.done:
			case <-time.After(shortRest):
			}
		}
		x.mu.Lock()
		running := !x.up.over
		if running || x.up.err != nil {
			reuse = false
		}
		x.mu.Unlock()
		if running {
			// Its Write ends with the connection. Its Read may end with the body's Close, which for some bodies waits
			// for the Read.
			defer func() { go x.r.Body.Close() }()
		}
	}
	c.socket.paced = false
	if well && c.r.Buffered() > 0 {
		c.pool.sawSurplus()
		reuse = false
	}
	if !reuse {
		c.drop()
		return
	}
	c.pool.put(c)
}
