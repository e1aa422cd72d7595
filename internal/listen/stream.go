package listen

import (
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/wire"
)

// streams is the handler of HTTP/2 requests.
type streams struct {
	s *Server
	c *generation
}

func (h *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.leaving() {
		w.Header()["Connection"] = []string{"close"} // net/http sends GOAWAY for it
	}
	st := &stream{ResponseWriter: w, control: http.NewResponseController(w), pace: paceOf(&h.c.limits), length: -1,
		head: r.Method == http.MethodHead}
	var body *streamBody
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		body = &streamBody{in: r.Body, control: st.control, pace: paceOf(&h.c.limits)}
		r.Body = body
	}
	defer func() {
		if body != nil {
			body.takeBack()
		}
		fault := recover()
		if fault != nil && !isAbort(fault) {
			_ = h.s.panicked(fault) // the stream has no place for the id
		}
		if fault != nil {
			panic(http.ErrAbortHandler) // the stream is reset
		}
	}()
	var held memory.Account
	source, _ := netip.ParseAddrPort(r.RemoteAddr) // what is none is one party
	held.Open(h.s.o.Memory, memory.PartyOf("", source.Addr().Unmap()))
	defer held.Close()
	switch n := sizeOf(r.Header); {
	case expectsOther(r):
		h.s.refuse(st, r, unreadable(http.StatusExpectationFailed, ""), r.RemoteAddr)
	case n > memory.Free && !held.Hold(n):
		h.s.refuse(st, r, memory.Full(), r.RemoteAddr)
	default:
		h.s.o.Handler.ServeHTTP(st, r)
	}
	st.end()
	if body != nil && !body.ended.Load() && st.FlushError() == nil {
		h.linger(body)
		st.arm() // until the stream has ended
	}
}

// leaving reports whether the connection is not to be kept.
func (h *streams) leaving() bool { return h.s.leaving.Load() || h.c.retired.Load() }

// sizeOf is how many bytes the fields of a head take.
func sizeOf(h http.Header) (n int64) {
	for name, values := range h {
		for _, v := range values {
			n += int64(len(name) + len(v))
		}
	}
	return n
}

// streamBody is a request's body on HTTP/2, whose caller is waited for as its pace says while
// it is read. A limit that passes while nobody reads, because the upstream takes its time, would
// end the stream. It may be read by another goroutine than the handler's.
type streamBody struct {
	lent
	in      io.Reader // net/http's, whose Close would let the caller send no more
	control *http.ResponseController
	// begun reports whether something of it has been read, ended whether nothing more can be.
	begun, ended atomic.Bool
	pace         pace
}

// Read implements io.Reader.
func (b *streamBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, http.ErrBodyReadAfterClose
	}
	began := time.Now()
	if limit := b.pace.limit(); limit > 0 {
		if err := b.control.SetReadDeadline(began.Add(limit)); err != nil {
			return 0, err
		}
		defer b.control.SetReadDeadline(time.Time{})
	}
	n, err := b.read(p)
	b.pace.note(time.Since(began), n)
	return n, err
}

func (b *streamBody) read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if n > 0 {
		b.begun.Store(true)
	}
	if err != nil {
		b.ended.Store(true)
	}
	return n, err
}

// skip reads what comes within a time, in place of all others.
func (b *streamBody) skip(p []byte, within time.Duration) error {
	until := time.Now().Add(within)
	_ = b.control.SetReadDeadline(until) // for a read by another that is under way
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if err := b.control.SetReadDeadline(until); err != nil { // that read may have lifted it
		return err
	}
	_, err := b.read(p)
	return err
}

// takeBack ends all reading by others. net/http gives the stream's memory away when the handler
// returns: a deadline that is set afterwards would be a fault of the whole process.
func (b *streamBody) takeBack() {
	b.lent.takeBack(func() { _ = b.control.SetReadDeadline(unknown) }) // which ends all reads to come, too
}

// mostAtOnce is how much of an answer goes to a caller on HTTP/2 at once, in bytes: one frame as large as any
// receiver must accept. It has to be taken whole within the limit, and is less where that would be more than the
// pace asks for.
const mostAtOnce = 16 << 10

// collected is how much net/http collects of what is written, in bytes, before it sends it.
const collected = 4 << 10

// stream is the answer on an HTTP/2 stream. Its caller decides by the stream's window how
// much is sent, and one that opens none would hold the answer, and the upstream behind it,
// while the connection itself is in the best of health. Nothing runs between writes: an
// upstream that is slow is no fault of the caller.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    pace
	writeBy wire.Deadline
	head    bool
	wrote   bool
	// length is what Content-Length said, -1 if nothing; written counts the body's bytes.
	length, written int64
}

func (s *stream) arm() (began time.Time) {
	began = time.Now()
	_ = s.writeBy.Arm(began, s.pace.limit(), s.control.SetWriteDeadline) // HTTP/2 has deadlines
	return began
}

func (s *stream) disarm() { _ = s.writeBy.Arm(time.Time{}, 0, s.control.SetWriteDeadline) }

// WriteHeader implements http.ResponseWriter.
func (s *stream) WriteHeader(status int) {
	if status >= http.StatusOK && !s.wrote {
		s.wrote, s.length = true, declared(s.Header(), status, s.head)
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *stream) Write(p []byte) (n int, err error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	defer s.disarm()
	share := s.pace.share(mostAtOnce)
	for {
		began := s.arm()
		m, err := s.ResponseWriter.Write(p[n:min(len(p), n+share)])
		if share < collected && err == nil {
			err = s.control.Flush()
		}
		s.pace.note(time.Since(began), m)
		s.written += int64(m)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError lets http.ResponseController flush.
func (s *stream) FlushError() error {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	began := s.arm()
	defer s.disarm()
	err := s.control.Flush()
	s.pace.note(time.Since(began), 0)
	return err
}

// Unwrap lets http.ResponseController reach the stream.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// end is for when the handler has returned. An answer that lacks a part of its length is
// cut short.
func (s *stream) end() {
	if s.length > s.written {
		_ = s.control.Flush()
		panic(http.ErrAbortHandler)
	}
	s.arm() // until the stream has ended
}
