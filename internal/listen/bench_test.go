package listen

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// BenchmarkServer asks over one kept connection.
func BenchmarkServer(b *testing.B) {
	page := make([]byte, 2<<10)
	for _, c := range []struct {
		name, request string
		handler       http.HandlerFunc
	}{
		{"GET of a few bytes", get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"text/plain"}
			_, _ = w.Write(page[:5])
		}},
		{"GET of 2 KB", "GET /enterprises/0206731645/ebox/messages?page=1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: " +
			"test\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
			func(w http.ResponseWriter, _ *http.Request) {
				h := w.Header()
				h["Content-Type"] = []string{"application/json"}
				h["Content-Length"] = []string{"2048"}
				_, _ = w.Write(page)
			}},
		{"POST of 4 KB", "POST / HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: " +
			"4096\r\n\r\n" + strings.Repeat("x", 4096),
			func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header()["Content-Type"] = []string{"text/plain"}
				_, _ = w.Write(page[:5])
			}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := New(Options{Handler: c.handler, NewID: func() string { return "" }, Log: slog.New(slog.DiscardHandler)})
			if err := (&front{Server: s}).Listen([]Listener{{Address: "127.0.0.1:0"}}, limits, time.Minute); err != nil {
				b.Fatal(err)
			}
			defer s.Shutdown(ended()) // it says what was open
			conn, err := net.Dial("tcp", s.Addrs()[0].String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			request, r, answer := []byte(c.request), bufio.NewReader(conn), make([]byte, 8<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if err := skipAnswer(r, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// skipAnswer reads one answer with a Content-Length, at little cost.
func skipAnswer(r *bufio.Reader, buf []byte) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if name := "Content-Length: "; len(line) > len(name) && string(line[:len(name)]) == name {
			for _, d := range line[len(name) : len(line)-2] {
				length = 10*length + int(d-'0')
			}
		}
	}
	_, err := io.ReadFull(r, buf[:length])
	return err
}
