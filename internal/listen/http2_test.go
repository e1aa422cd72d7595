package listen_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
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

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
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

// try asks and reads the answer.
func try(client *http.Client, method, url string, body io.Reader, fields ...string) (answer, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp, string(text)}, err
}

func TestHTTP2IsServedOverTLSAndWithPriorKnowledge(t *testing.T) {
	for scheme, config := range map[string]*tls.Config{"http": nil, "https": tlsConfig(t)} {
		f := newFront(t, echo)
		f.listen(config)
		client := f.http2Client()
		for range 2 {
			a, err := try(client, "POST", scheme+"://"+f.addr+"/x", strings.NewReader("hello"))
			if err != nil || a.ProtoMajor != 2 || a.body != "POST /x hello" {
				t.Errorf("%s: %+v %v", scheme, a, err)
			}
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
	for name, handler := range map[string]http.HandlerFunc{
		"cut":   inTurn(says("abc"), flush, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"short": with("Content-Length", "10", says("abc")),
		"fault": inTurn(says("abc"), flush, func(http.ResponseWriter, *http.Request) { panic("fault") }),
	} {
		f := listening(t, handler)
		_, err := try(f.http2Client(), "GET", "http://"+f.addr, nil)
		var reset http2.StreamError
		if err == nil || !strings.Contains(err.Error(), "stream error") && !errors.As(err, &reset) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLengthsAndExpectationsOnHTTP2(t *testing.T) {
	f := listening(t, with("Content-Length", "7", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "DELETE" {
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	for method, want := range map[string]string{"DELETE": "204 ", "HEAD": "200 7"} { // which curl and Node get
		a, err := try(f.http2Client(), method, "http://"+f.addr, nil)
		if got := fmt.Sprint(a.StatusCode, " ", a.Header.Get("Content-Length")); got != want || err != nil {
			t.Errorf("%s: %s %v", method, got, err)
		}
	}
	a, err := try(f.http2Client(), "GET", "http://"+f.addr, nil, "Expect", "something")
	testkit.Must(t, err)
	a.problem(t, 417)
}

func TestHTTP2ConnectionsLeaveWithTheirListener(t *testing.T) {
	f := listening(t, echo)
	client := f.http2Client()
	for i := range 3 { // the second on the old connection, which then ends
		if i == 1 {
			f.listen(nil, func(l *config.Limits) { l.IdleTimeout = 59 * time.Second })
		}
		if _, err := try(client, "GET", "http://"+f.addr, nil); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "one connection", func() bool { return f.open.Load() == 1 })
}

// The window of a stream is the caller's to open. One that never does held the answer, and the request
// upstream, for ever, though its connection was alive.
func TestAStreamWhoseWindowStaysShutIsEnded(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a document":                        says(strings.Repeat("x", 1<<20)),
		"an answer that fits into a buffer": says("x"),
	} {
		t.Run(name, func(t *testing.T) {
			conn := listening(t, handler, func(l *config.Limits) { l.BodyIdleTimeout = 100 * time.Millisecond }).dial().conn
			framer := openStream(t, conn, "GET", 0, http2.Setting{ID: http2.SettingInitialWindowSize})
			for ended := false; !ended; {
				frame, err := framer.ReadFrame()
				if data, ok := frame.(*http2.DataFrame); err != nil || ok {
					t.Fatalf("%v, %v", data, err)
				}
				_, ended = frame.(*http2.RSTStreamFrame)
			}
		})
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
	}, func(l *config.Limits) { l.BodyIdleTimeout = 100 * time.Millisecond })
	body, feed := io.Pipe()
	defer feed.Close()
	go func() { _, _ = io.WriteString(feed, "hel") }()
	a, err := try(f.http2Client(), "POST", "http://"+f.addr, body)
	if failed := <-read; err != nil || failed == nil || a.StatusCode != 403 {
		t.Errorf("%v, %v, half a body was taken for the whole: %v", a.StatusCode, err, failed)
	}
}

// Many callers send all of a body before they look at the answer.
func TestARefusalByHTTP2ReachesACallerThatSendsEverythingFirst(t *testing.T) {
	const length = 1 << 20
	for name, handler := range map[string]http.HandlerFunc{
		"nobody reads the body": status(413),
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
				conn := piped(t, handler).pipe(nil)
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
						case interface{ StreamEnded() bool }:
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
					testkit.Must(t, send(make([]byte, n)))
					left, window = left-n, window-n
				}
				if !<-ended {
					t.Error("the stream was reset")
				}
			})
		})
	}
}
