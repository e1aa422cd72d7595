package listen

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// paced serves one connection, within a bubble of synctest, that is a pipe.
func paced(t *testing.T, h http.HandlerFunc) (theirs net.Conn) {
	ours, theirs := net.Pipe()
	f := newFront(t, h)
	b := newBound(nil)
	l := limits
	l.IdleTimeout, l.MinBodyRate = time.Hour, 600
	f.put(b, Listener{Name: "test"}, l)
	c := newConn(f.Server, ours)
	f.slots.try(c.socket)
	f.start(c, b, false)
	f.working.Go(c.serve)
	t.Cleanup(func() { _ = theirs.Close() })
	return theirs
}

// uploads has the body of each request read to its end.
func uploads(ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.WriteHeader(http.StatusRequestTimeout)
		}
		ended <- err
	}
}

// 600 bytes a minute are wanted.
var paces = map[string]struct {
	burst, bytes int
	every        time.Duration
	cut          bool
}{
	"a byte each ten seconds":                {0, 1, 10 * time.Second, true},
	"half the rate":                          {0, 50, 10 * time.Second, true},
	"half the rate behind much":              {50_000, 50, 10 * time.Second, true},
	"a little more than the rate":            {0, 102, 10 * time.Second, false},
	"much, always before the minute is over": {0, 700, 59 * time.Second, false},
}

const whole = 10_000 // a quarter of an hour at the rate

func TestABodyIsCutBelowTheMinimumRateAndNeverAboveIt(t *testing.T) {
	for name, c := range paces {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(name+" by "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ended := make(chan error, 1)
					conn := paced(t, uploads(ended))
					write := func(p []byte) error { _, err := conn.Write(p); return err }
					if protocol == "HTTP/2" {
						write = dataOf(t, conn, c.burst+whole, func() {
							_, _ = io.Copy(io.Discard, conn)
						})
					} else {
						go func() { _, _ = io.Copy(io.Discard, conn) }()
						fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", c.burst+whole)
					}
					began := time.Now()
					written := make(chan struct{})
					go func() {
						defer close(written)
						for sent := 0; sent < c.burst; sent += 1000 {
							_ = write(make([]byte, 1000))
						}
						for left := whole; left > 0; left -= c.bytes {
							time.Sleep(c.every)
							if write(make([]byte, min(left, c.bytes))) != nil {
								return
							}
						}
					}()
					err := <-ended
					took := time.Since(began)
					_ = conn.Close()
					<-written
					if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.cut || !cut && err != nil {
						t.Errorf("after %s: %v", took, err)
					}
					if c.cut && (took < time.Minute || took > 4*time.Minute) {
						t.Errorf("it ended after %s", took)
					}
				})
			})
		}
	}
}

func TestAnAnswerIsCutBelowTheMinimumRateAndNeverAboveIt(t *testing.T) {
	for name, c := range paces {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				s := &socket{Conn: ours, pace: pace{idle: time.Minute, rate: 600, most: time.Minute}, closed: func() {}}
				defer theirs.Close()
				defer s.Close()
				read := make(chan struct{})
				go func() {
					defer close(read)
					_, _ = io.CopyN(io.Discard, theirs, int64(c.burst))
					for {
						time.Sleep(c.every)
						if _, err := io.CopyN(io.Discard, theirs, int64(c.bytes)); err != nil {
							return
						}
					}
				}()
				began := time.Now()
				_, err := s.Write(make([]byte, c.burst+whole))
				took := time.Since(began)
				_ = s.Close()
				<-read
				if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.cut || !cut && err != nil {
					t.Errorf("after %s: %v", took, err)
				}
				if c.cut && (took < time.Minute || took > 4*time.Minute) {
					t.Errorf("it ended after %s", took)
				}
			})
		})
	}
}

// slowly are limits below whose rate every caller of these tests is: a gigabyte a minute.
func slowly(l *Limits) { l.MinBodyRate, l.mostSlow = 1<<30, 300*time.Millisecond }

// trickle does something small again and again until it fails.
func trickle(t *testing.T, do func() error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for do() == nil {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}

// gives writes an answer without end, and tells why it could not go on.
func gives(ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 1<<20)
		for {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				panic(http.ErrAbortHandler)
			}
		}
	}
}

func TestAnAnswerThatIsTakenSlowlyIsCutOnASocket(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			ended := make(chan error, 1)
			f := listening(t, gives(ended), slowly)
			client := f.http2Client()
			if protocol == "HTTP/1.1" {
				transport := new(http.Transport)
				t.Cleanup(transport.CloseIdleConnections)
				client = &http.Client{Transport: transport}
			}
			resp, err := client.Get("http://" + f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.Proto != protocol {
				t.Fatal(resp.Proto)
			}
			var cut error
			trickle(t, func() error {
				_, cut = io.CopyN(io.Discard, resp.Body, 4<<10)
				return cut
			})
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) && protocol == "HTTP/1.1" {
				t.Errorf("writing the answer: %v", err)
			}
			if cut == nil || errors.Is(cut, io.EOF) {
				t.Errorf("the caller takes what came for the whole answer: %v", cut)
			}
		})
	}
}

// The time in which there is nothing to send, since the upstream is slow, is not the caller's.
func TestTheTimeOfTheUpstreamIsNotCountedAsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		conn := paced(t, func(w http.ResponseWriter, r *http.Request) {
			var err error
			for range 10 {
				time.Sleep(10 * time.Minute)
				if _, e := io.ReadFull(r.Body, make([]byte, 1)); e != nil {
					err = e
				}
				_, _ = w.Write([]byte("x"))
				err = errors.Join(err, http.NewResponseController(w).Flush())
			}
			ended <- err
		})
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// dataOf begins an upload by HTTP/2 and gives what sends a part of it. What comes back is read
// by read.
func dataOf(t *testing.T, conn net.Conn, length int, read func()) func([]byte) error {
	framer := http2.NewFramer(conn, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"},
		{"content-length", fmt.Sprint(length)}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	go read()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(),
			EndHeaders: true})); err != nil {
		t.Fatal(err)
	}
	left := length
	return func(p []byte) error {
		left -= len(p)
		return framer.WriteData(1, left <= 0, p)
	}
}

// A caller by HTTP/2 whose windows are wide open and whose TCP takes nothing was kept, since
// nothing comes from it that could end.
func TestAnHTTP2ConnectionThatTakesNothingIsReset(t *testing.T) {
	begun := make(chan struct{})
	f := listening(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		// If the kernel has taken the rest of the last frame after all, the connection has no
		// stream any more and is an idle one.
	}, func(l *Limits) { l.BodyIdleTimeout, l.IdleTimeout = 300*time.Millisecond, time.Second })
	who := f.dial()
	framer := http2.NewFramer(who.conn, nil)
	who.send(http2.ClientPreface)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	if err := errors.Join(framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}),
		framer.WriteWindowUpdate(0, 1<<30),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true,
			EndStream: true})); err != nil {
		t.Fatal(err)
	}
	<-begun
	eventually(t, "the connection's end", func() bool { open, _ := f.places(); return open == 0 })
}
