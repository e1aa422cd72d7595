package wire_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name, method string
		up, down     int
	}{{"GET of 2 KB", "GET", 0, 2 << 10}, {"POST of 4 KB", "POST", 4 << 10, 200}, {"GET of 10 MB", "GET", 0, 10 << 20}} {
		answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nDate: "+
			"Sat, 28 Nov 2026 12:00:00 GMT\r\nContent-Length: "+
			strconv.Itoa(c.down)+"\r\n\r\n"), make([]byte, c.down)...)
		link := "http://" + upstream(b, nil, func(_ int, conn net.Conn) {
			limits := wire.Limits{Bytes: 1 << 16, Line: 1 << 16, Fields: 100, Request: true}
			for r, p := wire.NewReader(conn, nil), make([]byte, 8<<10); ; {
				if _, _, err := r.Head(limits); err != nil {
					return
				}
				if _, err := io.ReadFull(r, p[:c.up]); err != nil {
					return
				}
				conn.Write(answer)
			}
		})
		tr := newClient(b, func(c *wire.Config) { c.Now = time.Now })
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			sent := make([]byte, c.up)
			for b.Loop() {
				r, _ := http.NewRequestWithContext(b.Context(), c.method, link, bytes.NewReader(sent))
				r.Header.Set("Authorization", "Bearer bench-token")
				a, err := tr.RoundTrip(r)
				testkit.Must(b, err)
				io.Copy(io.Discard, a.Body)
				a.Body.Close()
			}
		})
	}
}
