package listen

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client is a client of HTTP/2 alone.
func (f *front) http2Client() *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableCompression: true}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	f.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func TestHTTP2IsServedOverTLSAndWithPriorKnowledge(t *testing.T) {
	for scheme, config := range map[string]*tls.Config{"http": nil, "https": tlsConfig(t)} {
		f := newFront(t, echo)
		f.listen(config)
		client := f.http2Client()
		for range 2 {
			resp, err := client.Post(scheme+"://"+f.addr+"/x", "text/plain", strings.NewReader("hello"))
			if err != nil {
				t.Fatalf("%s: %v", scheme, err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.ProtoMajor != 2 || string(body) != "POST /x hello" {
				t.Errorf("%s: %s %q %v", scheme, resp.Proto, body, err)
			}
		}
	}
}

// One write has the preface and the first frames: what was read of them belongs to HTTP/2.
func TestFramesBehindThePrefaceAreNotLost(t *testing.T) {
	f := listening(t, echo)
	who := f.dial()
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, who.r)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/x"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(),
		EndHeaders: true, EndStream: true})
	who.send(out.String())
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			if string(data.Data()) != "GET /x " {
				t.Errorf("%q", data.Data())
			}
			return
		}
	}
}

func TestEveryCutIsAResetOfTheStream(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "abc")
			return
		case "/fault":
			_, _ = io.WriteString(w, "abc")
			_ = http.NewResponseController(w).Flush()
			panic("fault")
		}
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, path := range []string{"/", "/short", "/fault"} {
		resp, err := f.http2Client().Get("http://" + f.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var reset http2.StreamError
		if err == nil || !strings.Contains(err.Error(), "stream error") && !errors.As(err, &reset) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAnAnswerWithoutABodyHasNoLengthOnHTTP2(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusNoContent)
	})
	resp, err := f.http2Client().Get("http://" + f.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, ok := resp.Header["Content-Length"]; ok || resp.StatusCode != 204 {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestHEADOnHTTP2KeepsItsLength(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "7") })
	resp, err := f.http2Client().Head("http://" + f.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ContentLength != 7 {
		t.Errorf("%v", resp.Header)
	}
}

func TestAnExpectationThatIsNotKnownIsAProblemOnHTTP2(t *testing.T) {
	f := listening(t, echo)
	req, _ := http.NewRequest("GET", "http://"+f.addr, nil)
	req.Header.Set("Expect", "something")
	resp, err := f.http2Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	answer{resp, string(body)}.problem(t, 417)
}

func TestHTTP2ConnectionsLeaveWithTheirListener(t *testing.T) {
	f := listening(t, echo)
	client := f.http2Client()
	ask := func() *http.Response {
		resp, err := client.Get("http://" + f.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	ask()
	l := limits
	l.IdleTimeout = 59 * time.Second
	if err := f.Listen([]Listener{{Name: "test", Address: "127.0.0.1:0"}}, l); err != nil {
		t.Fatal(err)
	}
	ask() // on the old connection, which then ends
	ask()
	eventually(t, "one connection", func() bool {
		f.slots.mu.Lock()
		defer f.slots.mu.Unlock()
		return len(f.slots.open) == 1
	})
}

func TestNothingOfACallersBytesIsLoggedOfHTTP2(t *testing.T) {
	f := listening(t, echo)
	who := f.dial()
	who.send(http2.ClientPreface)
	framer := http2.NewFramer(who.conn, who.r)
	_ = framer.WriteSettings()
	_ = framer.WriteGoAway(0, http2.ErrCodeProtocol, []byte("secret"))
	_, _ = who.rest()
	eventually(t, "a log line", func() bool {
		return strings.Contains(f.log.String(), "an HTTP/2 connection ended with an error")
	})
	if log := f.log.String(); strings.Contains(log, "secret") || strings.Contains(log, "SETTINGS") {
		t.Error(log)
	}
}

// net/http's stream must not be touched once its handler has returned: a goroutine that still
// read the body would bring the process down.
func TestAReadOfAnHTTP2BodyEndsWithTheHandler(t *testing.T) {
	read := make(chan error, 1)
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		begun := make(chan struct{})
		go func() {
			_, _ = r.Body.Read(make([]byte, 3))
			close(begun)
			_, err := io.ReadAll(r.Body)
			read <- err
		}()
		<-begun
		w.WriteHeader(403)
	})
	body, feed := io.Pipe()
	defer feed.Close()
	go func() { _, _ = io.WriteString(feed, "hel") }()
	resp, err := f.http2Client().Post("http://"+f.addr, "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := <-read; err == nil || resp.StatusCode != 403 {
		t.Errorf("%s, half a body was taken for the whole: %v", resp.Status, err)
	}
}

// Many callers send all of a body before they look at the answer.
func TestARefusalByHTTP2ReachesACallerThatSendsEverythingFirst(t *testing.T) {
	const length = 1 << 20
	for name, handler := range map[string]http.HandlerFunc{
		"nobody reads the body": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) },
		"another reads it": func(w http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1))
			go func() {
				_, _ = io.CopyN(io.Discard, r.Body, 100_000)
				_ = r.Body.Close()
			}()
			w.WriteHeader(413)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := paced(t, handler)
				room, ended := make(chan int, length), make(chan bool, 3)
				send := dataOf(t, conn, length, func() {
					frames := http2.NewFramer(io.Discard, conn)
					for {
						frame, err := frames.ReadFrame()
						if err != nil {
							return
						}
						switch f := frame.(type) {
						case *http2.WindowUpdateFrame:
							if f.StreamID == 1 {
								room <- int(f.Increment)
							}
						case *http2.HeadersFrame:
							if f.StreamEnded() {
								ended <- true
							}
						case *http2.DataFrame:
							if f.StreamEnded() {
								ended <- true
							}
						case *http2.RSTStreamFrame:
							ended <- false
						}
					}
				})
				for left, window := length, 65535; left > 0; {
					if window == 0 {
						select {
						case n := <-room:
							window += n
						case <-ended:
							t.Fatalf("%d bytes were left to send", left)
						}
					}
					n := min(left, window, 16<<10)
					if err := send(make([]byte, n)); err != nil {
						t.Fatal(err)
					}
					left, window = left-n, window-n
				}
				if !<-ended {
					t.Error("the stream was reset")
				}
			})
		})
	}
}
