package wire

import (
	"fmt"
	"io"
	"sync/atomic"
)

// upload sends a body while the answer is awaited.
type upload struct {
	x      *exchange
	c      *conn         // which x has no more once it has ended
	ending atomic.Bool   // the last piece is being written, or has been
	done   chan struct{} // closed when it has ended

	// Guarded by x.mu.
	over    bool  // it has ended, with err
	err     error // nil: all of it was sent
	writing bool  // err is the connection's
}

// run sends the body and then has the wait for the answer begin.
func (u *upload) run() {
	failed, err := u.send()
	x := u.x
	x.r.Body.Close()
	defer close(u.done)
	x.mu.Lock()
	defer x.mu.Unlock()
	u.over, u.err, u.writing = true, err, failed
	if x.headSeen {
		return
	}
	switch {
	case err == nil, failed && !IsTimeout(err):
		// A connection that takes nothing more may have an answer all the same, which explains why.
		_ = u.c.socket.within(x.t.config.Header)
	default:
		u.c.socket.cancel()
	}
}

// send reports, with an error, whether it was the connection's. A chunk is one write, with the line before it and the
// line end after it.
func (u *upload) send() (writing bool, err error) {
	const before, after = len("8000\r\n"), len("\r\n")
	body, left := u.x.r.Body, u.x.length
	b := make([]byte, mostWrite)
	for end := false; !end; {
		room := b[before : len(b)-after]
		if left != Chunked {
			room = room[:min(int64(len(room)), left)]
		}
		n, err := body.Read(room)
		start, stop := before, before+n
		switch {
		case err != nil && err != io.EOF, err != nil && left > int64(n):
			return false, short(err)
		case left != Chunked:
			left -= int64(n)
			end = left == 0
		default:
			end = err == io.EOF
			if n > 0 {
				var line [before]byte
				size := AppendChunkSize(line[:0], n)
				start -= copy(b[before-len(size):], size)
				stop += copy(b[stop:], "\r\n")
			}
		}
		out := b[start:stop]
		if end && left == Chunked {
			if out, err = appendLastChunk(out, u.x.r.Trailer); err != nil {
				return false, fmt.Errorf("%w: bad trailer field", errRequest)
			}
		}
		u.ending.Store(end)
		if len(out) > 0 {
			if _, err := u.c.Write(out); err != nil {
				return true, err
			}
		}
	}
	if left == Chunked {
		return false, nil
	}
	return false, atEnd(body)
}
