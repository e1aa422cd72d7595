package listen_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
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
			s := listen.New(listen.Options{
				Handler: c.handler, NewID: func() string { return "" }, Log: slog.New(slog.DiscardHandler)})
			testkit.Must(b, (&front{Server: s}).Listen([]listen.Listener{{Address: "127.0.0.1:0"}}, limits, time.Minute))
			defer s.Shutdown(ended()) // it says what was open
			conn, err := net.Dial("tcp", s.Addrs()[0].String())
			testkit.Must(b, err)
			defer conn.Close()
			request, answer := []byte(c.request), make([]byte, 8<<10)
			exchange := func(least int) int {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				n, err := io.ReadAtLeast(conn, answer, least)
				testkit.Must(b, err)
				return n
			}
			length := exchange(1) // which is written at once
			b.ReportAllocs()
			for b.Loop() {
				exchange(length)
			}
		})
	}
}
