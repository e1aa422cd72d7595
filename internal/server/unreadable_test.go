package server

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What net/http refuses with, as a document: it is whole, and the caller's, and the
// connection goes on behind it.
func TestADocumentThatLooksLikeARefusalIsNotReplaced(t *testing.T) {
	const document = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	for _, proto := range []string{"HTTP/1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			s := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				control := http.NewResponseController(w)
				padding := strings.Repeat("x", 4096-9) // a frame is then written in two
				w.Header().Set("Content-Length", strconv.Itoa(len(padding)+len(document)))
				_ = control.Flush()
				if proto == "HTTP/1" {
					_, _ = io.WriteString(w, padding)
					_ = control.Flush()
					_, _ = io.WriteString(w, document)
					return
				}
				_, _ = io.WriteString(w, padding+document)
			}), time.Second, slog.New(slog.DiscardHandler))
			limits := Limits{MaxConnections: 10, MaxStreams: 10, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
			if err := s.Listen([]Listener{{Name: "a", Address: "127.0.0.1:0"}}, limits); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(proto == "HTTP/1")
			transport.Protocols.SetUnencryptedHTTP2(proto == "h2c")
			defer transport.CloseIdleConnections()
			for range 3 {
				resp, err := (&http.Client{Transport: transport}).Get("http://" + s.Addrs()[0].String())
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !strings.HasSuffix(string(body), "x"+document) {
					t.Fatalf("%q, %v", body[max(0, len(body)-200):], err)
				}
			}
		})
	}
}

// A connection that has served requests is no other than a new one.
func TestARequestThatCannotBeReadGetsAProblemBehindOthersToo(t *testing.T) {
	s := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), time.Second, slog.New(slog.DiscardHandler))
	limits := Limits{MaxConnections: 10, MaxStreams: 10, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	if err := s.Listen([]Listener{{Name: "a", Address: "127.0.0.1:0"}}, limits); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, c := range []struct {
		head   string
		status int
	}{{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200}, {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200}, {"GET / HTTP/1.1\r\nHost a\r\n\r\n", 400}} {
		if _, err := io.WriteString(conn, c.head); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || (c.status == 400) != strings.HasPrefix(string(body), `{"type":`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}
