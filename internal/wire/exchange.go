package wire

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/problem"
)

// answerHead are the limits of an answer's head.
var answerHead = Limits{Bytes: 64 << 10, Line: 32 << 10, Fields: 256}

const (
	// mostInterim is how many interim answers one request may have.
	mostInterim = 8
	// patience is how long an upstream that knows nothing of Expect delays a body, as with curl.
	patience = time.Second
)

// exchange is one request and its answer. It is the answer's body, too.
type exchange struct {
	t      *Transport
	ctx    context.Context
	party  string
	resent *int
	opened func(reused bool)
	// authorization goes in place of the request's, unless it is empty.
	authorization string
	interim       func(int, http.Header) error
	header        time.Duration // to wait for the answer's head
	traceID       string
	expects       bool // the body waits for a 100

	answer http.Response
	c      *conn
	cancel func()      // the connection's, for Close during a Read
	sent   int64       // bytes that the socket had sent before
	stop   func() bool // ends the watch over ctx; nil if there is none
	up     *upload     // nil if no goroutine sends the body
	reuse  bool        // the framing lets the connection be used again
	wary   bool        // conn.wary afterwards

	length int64 // what is left of the body, or Chunked or Undeclared
	chunks Chunks
	err    error        // what Read gives once the body is over
	state  atomic.Int32 // of the body: see Read

	mu       sync.Mutex // between the upload and this
	headSeen bool
}

func (x *exchange) do(r *http.Request, once bool) (*http.Response, error) {
	t := x.t
	if x.ctx.Err() != nil {
		return nil, (&Error{Err: context.Cause(x.ctx)}).classify(waiting)
	}
	p, err := t.pool(r.URL)
	if err != nil {
		return nil, &Error{Kind: problem.ProxyInternalError, Err: err}
	}
	b, length, err := x.appendHead(takeBuffer()[:0], r, p)
	defer func() { giveBuffer(b) }()
	if err != nil {
		return nil, &Error{Kind: problem.ProxyInternalError, Err: err}
	}
	// A small body goes out with the head.
	whole := length == 0
	if length > 0 && !x.expects && length <= int64(cap(b)-len(b)) {
		if b, err = appendBody(b, r.Body, length); err != nil {
			return nil, (&Error{Err: err}).classify(reading)
		}
		whole = true
		r.Body.Close()
	}
	repeatable := whole && !once && safe(r.Method)
	settled := !safe(r.Method) && r.Method != http.MethodPost
	for fresh := false; ; fresh = true {
		x.c, err = t.connect(x.ctx, p, x.party, settled, fresh)
		if err != nil {
			if x.ctx.Err() != nil {
				err = (&Error{Err: context.Cause(x.ctx)}).classify(waiting)
			}
			return nil, err
		}
		x.begin(r)
		failure := x.run(r, &b, length, whole)
		if failure == nil {
			return &x.answer, nil
		}
		again := failure.Stale && (repeatable || !failure.Sent && x.up == nil)
		x.finish(false)
		if !again {
			return nil, failure
		}
		t.resent.Add(1)
		if b == nil {
			if b, _, err = x.appendHead(takeBuffer()[:0], r, p); err != nil {
				return nil, &Error{Kind: problem.ProxyInternalError, Err: err}
			}
		}
		if x.resent != nil && failure.Sent {
			*x.resent++
		}
	}
}

func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// begin takes the connection into use.
func (x *exchange) begin(r *http.Request) {
	c := x.c
	x.sent = c.socket.sent.Load()
	c.party, c.wary = x.party, false
	x.cancel = c.cancel
	if x.traceID != "" {
		x.t.config.Calls.add(x.traceID, 1)
	}
	// A context that has AfterFunc itself needs no other around it.
	if direct, ok := x.ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		x.stop = direct.AfterFunc(x.cancel)
	} else if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.cancel)
	}
	if x.opened != nil {
		x.opened(c.used)
	}
}

// run writes the request and reads the answer's head. A head without a body, which can be made again, is not held
// while the answer is awaited: its buffer is given back.
func (x *exchange) run(r *http.Request, b *[]byte, length int64, whole bool) *Error {
	c := x.c
	reused := c.used
	c.used = true
	_, err := c.Write(*b)
	if length == 0 {
		giveBuffer(*b)
		*b = nil
	}
	if err != nil && (!x.wasSent() || IsTimeout(err)) {
		// If nothing was sent, nothing that waits here can be an answer to it.
		e := x.fail(err, writing)
		e.Stale = reused && e.Kind == problem.ProxyConnectionTerminated
		return e
	}
	switch {
	case err != nil, x.expects:
		// The upstream may have answered before it stopped reading, or is to ask for the body.
		err = c.socket.within(min(x.header, patience))
	case whole:
		err = c.socket.within(x.header)
	default:
		err = x.startUpload(r, length)
	}
	if err != nil {
		return x.fail(err, waiting)
	}
	e := x.readHead(r, length)
	if e != nil {
		e.Stale = e.Stale && reused
	}
	return e
}

// startUpload has the body go up, and lets the answer take its time meanwhile. The wait for it begins when the body
// has been sent, which it may be already.
func (x *exchange) startUpload(r *http.Request, length int64) error {
	if err := x.c.socket.unlimited(); err != nil {
		return err
	}
	x.up = &upload{x: x, c: x.c, body: r.Body, length: length, r: r, done: make(chan struct{})}
	go x.up.run()
	return nil
}

// readHead reads interim answers and the head of the final one.
func (x *exchange) readHead(r *http.Request, length int64) *Error {
	c := x.c
	for count := 0; ; {
		start, h, err := c.r.Head(answerHead)
		if err != nil {
			if x.expects && x.up == nil && IsTimeout(err) && x.ctx.Err() == nil {
				// No 100 came: the body goes all the same (RFC 9110, section 10.1.1).
				if err := x.startUpload(r, length); err != nil {
					return x.fail(err, waiting)
				}
				continue
			}
			stale := count == 0 && c.r.Buffered() == 0 && IsTerminated(err)
			e := x.fail(err, waiting)
			e.Stale = stale && e.Kind == problem.ProxyConnectionTerminated
			return e
		}
		code, http10, err := parseStatus(&x.answer, start)
		if err != nil {
			return x.fail(err, waiting)
		}
		if code >= 200 {
			return x.begun(r, h, http10)
		}
		if code == http.StatusSwitchingProtocols {
			return x.fail(errSwitching, waiting)
		}
		if count++; count > mostInterim {
			return x.fail(errInterim, waiting)
		}
		if code == http.StatusContinue && x.expects && x.up == nil {
			if err := x.startUpload(r, length); err != nil {
				return x.fail(err, waiting)
			}
		}
		if x.interim != nil {
			if err := x.interim(code, h); err != nil {
				return x.fail(err, waiting)
			}
		}
	}
}

// parseStatus reads a status line (RFC 9112, section 4). A status that is not defined is passed on as it is; what is
// none is an error. The reason may be missing, with its blank.
func parseStatus(a *http.Response, line string) (code int, http10 bool, err error) {
	const prefix = "HTTP/1."
	if len(line) < len("HTTP/1.1 200") || line[:len(prefix)] != prefix || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return 0, false, errStatus
	}
	minor := line[7]
	if minor < '0' || minor > '9' {
		return 0, false, errStatus
	}
	for _, b := range []byte(line[9:12]) {
		if b < '0' || b > '9' {
			return 0, false, errStatus
		}
		code = 10*code + int(b-'0')
	}
	if code < 100 {
		return 0, false, errStatus
	}
	a.Status, a.StatusCode = trimBlanks(line[9:]), code
	a.Proto, a.ProtoMajor, a.ProtoMinor = "HTTP/1.1", 1, 1
	if minor == '0' {
		a.Proto, a.ProtoMinor = "HTTP/1.0", 0
	}
	return code, minor == '0', nil
}

// begun makes the answer of its final head.
func (x *exchange) begun(r *http.Request, h http.Header, http10 bool) *Error {
	c, a := x.c, &x.answer
	x.mu.Lock()
	x.headSeen = true
	early := x.expects && x.up == nil || x.up != nil && !x.up.over && !x.up.ending.Load()
	x.mu.Unlock()

	_, coded := h["Transfer-Encoding"]
	framing, err := ParseFraming(h, http10)
	if err != nil {
		return x.fail(err, waiting)
	}
	if x.isForeign(h) {
		return x.fail(errForeign, waiting)
	}
	head := r.Method == http.MethodHead
	bodiless := head || a.StatusCode == http.StatusNoContent || a.StatusCode == http.StatusNotModified
	x.reuse = !framing.Close && !r.Close
	if http10 {
		x.reuse = x.reuse && HasToken(h["Connection"], "keep-alive")
	} else {
		x.reuse = x.reuse && !HasToken(h["Connection"], "close")
	}
	x.wary = bodiless || early
	a.Header, a.Request, a.TLS, a.ContentLength = h, r, c.state, max(-1, framing.Length)
	a.Close = !x.reuse
	names := h["Trailer"]
	delete(h, "Trailer")
	x.length = framing.Length
	switch {
	case bodiless:
		// 204 has no length to tell (RFC 9110, section 8.6): what the upstream meant by one is anybody's guess.
		if a.StatusCode == http.StatusNoContent && (coded || framing.Length > 0) {
			x.reuse = false
		}
		if !head {
			a.ContentLength = 0
		}
		x.length = 0
	case x.length == Chunked:
		x.chunks = NewChunks(&c.r)
		a.TransferEncoding = chunkedCoding
		a.Trailer = Announced(names) // filled at the end, announced or not
	case x.length == Undeclared:
		x.reuse = false
	}
	if x.expects && x.up == nil {
		x.reuse = false // the body that the head announced never went
		r.Body.Close()
	}
	if x.length == 0 {
		x.finish(true)
		a.Body = http.NoBody
		return nil
	}
	c.socket.paced = true
	a.Body = x
	return nil
}

var chunkedCoding = []string{"chunked"}

// isForeign reports whether the answer names another call: one that is under way, or one that this connection served
// before.
func (x *exchange) isForeign(h http.Header) bool {
	c := x.c
	named := h["Belgov-Related-Trace-Id"]
	foreign := ""
	for _, id := range named {
		id = strings.ToLower(id)
		if id == "" || id == x.traceID {
			continue
		}
		for _, before := range c.traces {
			if before == id {
				foreign = id
			}
		}
		if foreign == "" && x.t.config.Calls.has(id) {
			foreign = id
		}
	}
	if x.traceID != "" {
		c.traces[c.turn%len(c.traces)] = x.traceID
		c.turn++
	}
	if foreign == "" {
		return false
	}
	x.t.foreign.Add(1)
	// Both ids are ours: of the answer's, only one that we sent is compared equal.
	x.t.config.Log.Error("an upstream's answer names another call; it is not delivered and its connection is closed",
		"traceId", x.traceID, "otherTraceId", foreign)
	return true
}

func (x *exchange) wasSent() bool { return x.c.socket.sent.Load() > x.sent }

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
		reuse = false // Cancel ran, or is about to
	}
	if x.traceID != "" {
		x.t.config.Calls.add(x.traceID, -1)
	}
	if x.up != nil {
		if reuse && x.up.ending.Load() {
			// Only the goroutine's last words are missing, most likely.
			select {
			case <-x.up.done:
			case <-time.After(Settle):
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
			defer func() { go x.up.body.Close() }()
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
	c.wary = x.wary
	c.pool.put(c)
}
