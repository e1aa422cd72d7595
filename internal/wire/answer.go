package wire

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// parseStatus reads a status line (RFC 9112, section 4). A status that is not defined is passed on as it is; what is
// none is an error. The reason may be missing, with its blank.
func parseStatus(a *http.Response, line string) error {
	if len(line) < len("HTTP/1.1 200") || len(line) > 12 && line[12] != ' ' {
		return errStatus
	}
	version, digits := line[:9], line[9:12]
	code, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || code < 100 || version[:7] != "HTTP/1." || version[7] < '0' || version[7] > '9' || version[8] != ' ' {
		return errStatus
	}
	a.Status, a.StatusCode = trimBlanks(line[9:]), int(code)
	a.Proto, a.ProtoMajor, a.ProtoMinor = "HTTP/1.1", 1, 1
	if version[7] == '0' {
		a.Proto, a.ProtoMinor = "HTTP/1.0", 0
	}
	return nil
}

// accept makes the answer of its final head.
func (x *exchange) accept(h http.Header) error {
	c, a, r := x.c, &x.answer, x.r
	http10 := a.ProtoMinor == 0
	x.mu.Lock()
	x.headSeen = true
	early := x.expects && x.up == nil || x.up != nil && !x.up.over && !x.up.ending.Load()
	x.mu.Unlock()

	_, coded := h["Transfer-Encoding"]
	framing, err := ParseFraming(h, http10)
	if err != nil {
		return err
	}
	if x.isForeign(h) {
		return errForeign
	}
	head := r.Method == http.MethodHead
	bodiless := head || a.StatusCode == http.StatusNoContent || a.StatusCode == http.StatusNotModified
	x.reuse = !framing.Close && !r.Close
	if http10 {
		x.reuse = x.reuse && HasToken(h["Connection"], "keep-alive")
	} else {
		x.reuse = x.reuse && !HasToken(h["Connection"], "close")
	}
	c.alwaysRests = bodiless || early
	a.Header, a.Request, a.TLS, a.ContentLength = h, r, c.state, max(-1, framing.Length)
	names := h["Trailer"]
	delete(h, "Trailer")
	length := framing.Length
	switch {
	case bodiless:
		// 204 has no length to tell (RFC 9110, section 8.6): what the upstream meant by one is anybody's guess.
		if a.StatusCode == http.StatusNoContent && (coded || framing.Length > 0) {
			x.reuse = false
		}
		if !head {
			a.ContentLength = 0
		}
		length = 0
	case length == Chunked:
		a.TransferEncoding = chunkedCoding
		a.Trailer = Announced(names) // filled at the end, announced or not
	case length == Undeclared:
		x.reuse = false
	}
	if x.expects && x.up == nil {
		x.reuse = false // the body that the head announced never went
		r.Body.Close()
	}
	if length == 0 {
		x.finish(true)
		a.Body = http.NoBody
		return nil
	}
	x.in = NewBody(&c.r, length)
	c.socket.paced = true
	a.Body = x
	return nil
}

var chunkedCoding = []string{"chunked"}

// isForeign reports whether the answer names another call: one that is under way, or one that this connection served
// before.
func (x *exchange) isForeign(h http.Header) bool {
	c := x.c
	foreign := ""
	for _, id := range h["Belgov-Related-Trace-Id"] {
		id = strings.ToLower(id)
		if id != "" && id != x.traceID && (slices.Contains(c.traces[:], id) || x.t.config.Calls.has(id)) {
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

// States of a body.
const (
	open    int32 = iota
	busy          // a Read is under way
	closing       // Close was called during a Read
	over
)

// Read reads the answer's body. The last bytes of a length come with io.EOF. Errors are *Error.
func (x *exchange) Read(p []byte) (int, error) {
	if !x.state.CompareAndSwap(open, busy) {
		if x.state.Load() == over && x.err != nil {
			return 0, x.err
		}
		return 0, errClosedBody
	}
	n, err := x.read(p)
	if err != nil {
		if err != io.EOF {
			err = x.fail(err, reading)
		}
		x.err = err
		x.finish(x.state.CompareAndSwap(busy, over) && err == io.EOF)
		x.state.Store(over)
		return n, err
	}
	if !x.state.CompareAndSwap(busy, open) { // Close was called
		x.err = errClosedBody
		x.finish(false)
		x.state.Store(over)
	}
	return n, nil
}

func (x *exchange) read(p []byte) (n int, err error) {
	n, err = x.in.Read(p)
	switch {
	case err != io.EOF:
	case x.in.left == Undeclared && x.c.records != nil && x.c.records.ended:
		err = errNotClosed
	case x.in.left == Chunked:
		x.answer.Trailer = x.in.Trailer(x.answer.Trailer)
	}
	return n, err
}

// Close ends the body. Before its end it closes the connection, unless the rest is already there. It may be called
// during a Read, which it ends.
func (x *exchange) Close() error {
	for {
		switch x.state.Load() {
		case open:
			if x.state.CompareAndSwap(open, busy) {
				x.err = errClosedBody
				x.finish(x.in.skip())
				x.state.Store(over)
				return nil
			}
		case busy:
			// The Read under way then ends the exchange. Nobody else can have the connection yet.
			if x.state.CompareAndSwap(busy, closing) {
				x.cancel()
				return nil
			}
		default:
			return nil
		}
	}
}
