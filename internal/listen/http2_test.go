package listen

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
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
	framer := openStream(t, f.dial().conn, "GET", 0)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			if string(data.Data()) != "GET / " {
				t.Errorf("%q", data.Data())
			}
			return
		}
	}
}

// openStream begins HTTP/2 with a request whose body, of a length unless it is 0, is to follow. One
// write has it all.
func openStream(t *testing.T, conn net.Conn, method string, length int, settings ...http2.Setting) *http2.Framer {
	t.Helper()
	var out, block bytes.Buffer
	fields := [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}}
	if length > 0 {
		fields = append(fields, [2]string{"content-length", strconv.Itoa(length)})
	}
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	if err := errors.Join(framer.WriteSettings(settings...), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: length == 0})); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	return http2.NewFramer(conn, conn)
}

// upload begins an upload by HTTP/2 and gives what sends a part of it. read takes what comes back.
func upload(t *testing.T, conn net.Conn, length int, read func()) func([]byte) error {
	go read()
	framer, left := openStream(t, conn, "POST", length), length
	return func(p []byte) error {
		left -= len(p)
		return framer.WriteData(1, left <= 0, p)
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

func TestLengthsAndExpectationsOnHTTP2(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		if r.Method == "DELETE" {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	for _, c := range []struct {
		method, expect string
		status         int
		length         string // that curl and Node get
	}{{"DELETE", "", 204, ""}, {"HEAD", "", 200, "7"}, {"GET", "something", 417, "*"}} {
		req, _ := http.NewRequest(c.method, "http://"+f.addr, nil)
		if c.expect != "" {
			req.Header.Set("Expect", c.expect)
		}
		resp, err := f.http2Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if c.status == 417 {
			answer{resp, string(body)}.problem(t, c.status)
		} else if resp.StatusCode != c.status || resp.Header.Get("Content-Length") != c.length {
			t.Errorf("%s: %s %v", c.method, resp.Status, resp.Header)
		}
	}
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
	if err := f.Listen([]Listener{{Name: "test", Address: "127.0.0.1:0"}}, l, time.Minute); err != nil {
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
				send := upload(t, conn, length, func() {
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
