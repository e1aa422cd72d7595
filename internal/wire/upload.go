package wire

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// upload sends a body while the answer is awaited.
type upload struct {
	x      *exchange
	c      *conn
	body   io.ReadCloser
	length int64 // or Chunked
	r      *http.Request
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
	u.body.Close()
	x := u.x
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
		u.c.socket.Cancel()
	}
}

// send reports, with an error, whether it was the connection's.
func (u *upload) send() (writing bool, err error) {
	b := takeBuffer()
	if u.length == Chunked || u.length > bufferSize {
		giveBuffer(b)
		b = make([]byte, mostWrite)
	}
	defer giveBuffer(b)
	if u.length == Chunked {
		return u.sendChunked(b)
	}
	for left := u.length; left > 0; {
		n, err := u.body.Read(b[:min(int64(len(b)), left)])
		if n > 0 {
			left -= int64(n)
			u.ending.Store(left == 0)
			if _, err := u.c.Write(b[:n]); err != nil {
				return true, err
			}
		}
		if err != nil && left > 0 {
			return false, short(err)
		}
		if err == io.EOF {
			return false, nil
		}
	}
	return false, atEnd(u.body)
}

// sendChunked leaves room around each piece for the line before and the line end after it, so that a chunk is one
// write.
func (u *upload) sendChunked(b []byte) (writing bool, err error) {
	const before, after = len("8000\r\n"), len("\r\n")
	for {
		n, err := u.body.Read(b[before : len(b)-after])
		end := err == io.EOF
		if err != nil && !end {
			return false, err
		}
		start, stop := before, before
		if n > 0 {
			var line [before]byte
			size := AppendChunkSize(line[:0], n)
			start = before - len(size)
			copy(b[start:], size)
			stop = before + n + copy(b[before+n:], "\r\n")
		}
		out := b[start:stop]
		if end {
			if out, err = appendLastChunk(out, u.r.Trailer); err != nil {
				return false, fmt.Errorf("%w: bad trailer field", errRequest)
			}
		}
		u.ending.Store(end)
		if len(out) > 0 {
			if _, err := u.c.Write(out); err != nil {
				return true, err
			}
		}
		if end {
			return false, nil
		}
	}
}
