package listen_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

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

// atEveryPace runs a test at several paces where 600 bytes a minute are wanted, by both protocols. A
// quarter of an hour's worth of bytes is to move behind a burst. begin begins the exchange, whose end is
// sent to ended, and gives what moves n bytes on the caller's side.
func atEveryPace(t *testing.T, begin func(t *testing.T, byHTTP2 bool, total int, ended chan<- error) (
	conn net.Conn, move func(n int) error)) {
	const whole = 10_000
	type pace struct {
		burst, bytes int
		every        time.Duration
		cut          bool
	}
	for name, c := range map[string]pace{
		"a byte each ten seconds":                {0, 1, 10 * time.Second, true},
		"half the rate":                          {0, 50, 10 * time.Second, true},
		"half the rate behind much":              {50_000, 50, 10 * time.Second, true},
		"a little more than the rate":            {0, 102, 10 * time.Second, false},
		"much, always before the minute is over": {0, 700, 59 * time.Second, false},
	} {
		for protocol, byHTTP2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
			t.Run(name+" by "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ended := make(chan error, 1)
					conn, move := begin(t, byHTTP2, c.burst+whole, ended)
					moved := make(chan struct{})
					began := time.Now()
					go func() {
						defer close(moved)
						for left := c.burst; left > 0; left -= 1000 {
							_ = move(1000)
						}
						for left := whole; left > 0; left -= c.bytes {
							time.Sleep(c.every)
							if move(min(left, c.bytes)) != nil {
								return
							}
						}
					}()
					err := <-ended
					took := time.Since(began)
					_ = conn.Close()
					<-moved
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

func TestABodyIsCutBelowTheMinimumRateAndNeverAboveIt(t *testing.T) {
	atEveryPace(t, func(t *testing.T, byHTTP2 bool, total int, ended chan<- error) (net.Conn, func(int) error) {
		conn := piped(t, uploads(ended)).pipe(nil)
		discard := func() { _, _ = io.Copy(io.Discard, conn) }
		if byHTTP2 {
			send := upload(t, conn, total, discard)
			return conn, func(n int) error { return send(make([]byte, n)) }
		}
		go discard()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", total)
		return conn, func(n int) error { _, err := conn.Write(make([]byte, n)); return err }
	})
}

func TestAnAnswerIsCutBelowTheMinimumRateAndNeverAboveIt(t *testing.T) {
	atEveryPace(t, func(t *testing.T, byHTTP2 bool, total int, ended chan<- error) (net.Conn, func(int) error) {
		conn := piped(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(total))
			_, err := w.Write(make([]byte, total))
			ended <- err
		}).pipe(nil)
		if byHTTP2 {
			return conn, download(t, conn)
		}
		_, _ = io.WriteString(conn, get)
		for head := []byte{}; !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
			b := make([]byte, 1)
			if _, err := conn.Read(b); err != nil {
				t.Fatal(err)
			}
			head = append(head, b...)
		}
		return conn, func(n int) error { _, err := io.CopyN(io.Discard, conn, int64(n)); return err }
	})
}

// download asks by HTTP/2 for an answer and gives what has n more bytes of it come.
func download(t *testing.T, conn net.Conn) func(n int) error {
	got := make(chan struct{})
	go func() {
		defer close(got)
		_, _ = io.Copy(io.Discard, conn)
	}()
	framer := openStream(t, conn, "GET", 0, http2.Setting{ID: http2.SettingInitialWindowSize})
	return func(n int) error {
		select {
		case <-got:
			return net.ErrClosed
		default:
		}
		return errors.Join(framer.WriteWindowUpdate(0, uint32(n)), framer.WriteWindowUpdate(1, uint32(n)))
	}
}

// The time in which there is nothing to send, since the upstream is slow, is not the caller's.
func TestTheTimeOfTheUpstreamIsNotCountedAsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		conn := piped(t, func(w http.ResponseWriter, r *http.Request) {
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
		}).pipe(nil)
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
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
	}, func(l *config.Limits) { l.BodyIdleTimeout, l.IdleTimeout = 300*time.Millisecond, time.Second })
	who := f.dial()
	open := openStream(t, who.conn, "GET", 0, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	testkit.Must(t, open.WriteWindowUpdate(0, 1<<30))
	<-begun
	testkit.Eventually(t, "the connection's end", func() bool { return f.open.Load() == 0 })
}
