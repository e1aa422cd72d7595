package bench_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ebox-gateway/internal/testkit"
)

// callers is how many connections ask at once.
const callers = 32

// BenchmarkChain measures the whole chain for a page of messages, whose links the
// gateway rewrites, and for a document, which passes as it is.
func BenchmarkChain(b *testing.B) {
	upstream := start(b, "upstream", "")
	for _, what := range []struct{ name, path string }{
		{"messages", "/ebox/messages"},
		{"document", "/ebox/messages/1/attachments/1/content"},
	} {
		for _, role := range []string{"reverseproxy", "gateway-quiet", "gateway"} {
			b.Run(what.name+"/"+role, func(b *testing.B) {
				proxy, prefix := start(b, role, upstream.URL), "/ebox/providers/nsso"
				if role == "reverseproxy" {
					prefix = "/base"
				}
				load(b, proxy, prefix+what.path)
			})
		}
	}
}

// load sends b.N requests over keep-alive connections.
func load(b *testing.B, proxy child, path string) {
	crowd(b, proxy, callers, same(path, 2000)) // warm up: connections, token, pools
	report(b, proxy, b.N, func() { crowd(b, proxy, callers, same(path, b.N)) })
}

// same gives one path n times, to however many callers.
func same(path string, n int) func() (string, bool) {
	var left atomic.Int64
	left.Store(int64(n))
	return func() (string, bool) { return path, left.Add(-1) >= 0 }
}

// report measures what requests cost the gateway.
func report(b *testing.B, gateway child, requests int, do func()) {
	before := gateway.spent(b)
	b.ResetTimer()
	do()
	b.StopTimer()
	after := gateway.spent(b)
	n := float64(requests)
	b.ReportMetric(float64((after.CPU-before.CPU).Nanoseconds())/n/1000, "cpu-µs/req")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/req")
	b.ReportMetric(float64(after.Bytes-before.Bytes)/n, "B/req")
	b.ReportMetric(n/b.Elapsed().Seconds(), "req/s")
}

// crowd has n callers ask for what next gives, until it gives no more.
func crowd(tb testing.TB, proxy child, n int, next func() (path string, more bool)) {
	tb.Helper()
	addr := strings.TrimPrefix(proxy.URL, "http://")
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := converse(addr, next); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
}

// converse asks for one thing after the other on one connection.
func converse(addr string, next func() (path string, more bool)) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	for path, more := next(); more; path, more = next() {
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+addr+
			"\r\nOn-Behalf-Of-Enterprise-Number: 0206731645\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\n\r\n",
		); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || n < 1024 {
			return fmt.Errorf("status %d with %d bytes", resp.StatusCode, n)
		}
	}
	return nil
}

// BenchmarkMemory passes 1 GiB through in either direction and reports by how much
// the most memory ever resident grew.
func BenchmarkMemory(b *testing.B) {
	const size = 1 << 30
	upstream := start(b, "upstream", "")
	for _, c := range []struct {
		name, method, path string
		body               func() io.Reader
	}{
		{"download", http.MethodGet, "/large", func() io.Reader { return nil }},
		{"upload", http.MethodPost, "/upload", func() io.Reader { return io.LimitReader(zeros{}, size) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			proxy := start(b, "gateway-quiet", upstream.URL)
			crowd(b, proxy, 1, same("/ebox/providers/nsso/ebox", 1))
			before := proxy.spent(b)
			b.SetBytes(size)
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), c.method, proxy.URL+"/ebox/providers/nsso"+c.path, c.body())
				testkit.Must(b, err)
				req.Header.Set("On-Behalf-Of-Enterprise-Number", "0206731645")
				resp, err := http.DefaultClient.Do(req)
				testkit.Must(b, err)
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || n < 10 {
					b.Fatalf("status %d, %d bytes, %v", resp.StatusCode, n, err)
				}
			}
			b.ReportMetric(float64(proxy.spent(b).RSS-before.RSS)/(1<<20), "MiB-added")
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
