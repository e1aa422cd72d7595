package bench

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
)

// BenchmarkCache measures a page of messages through the whole chain: past the cache,
// from it, asked about with its tag, and stored each time under another name.
func BenchmarkCache(b *testing.B) {
	upstream := start(b, "upstream", "")
	const base = "/ebox/providers/nsso"
	for _, what := range []struct{ name, role, path string }{
		{"upstream", "gateway-quiet", base + "/kept/messages"},
		{"hit", "gateway-cache", base + "/kept/messages"},
		{"validation", "gateway-cache", base + "/ebox/messages"},
	} {
		b.Run(what.name, func(b *testing.B) { load(b, start(b, what.role, upstream.url), what.path) })
	}
	b.Run("miss", func(b *testing.B) {
		gateway := start(b, "gateway-cache", upstream.url)
		report(b, gateway, b.N, func() {
			var n atomic.Int64
			crowd(b, gateway, callers, func() (string, bool) {
				i := n.Add(1)
				return fmt.Sprintf("%s/kept/messages?n=%d", base, i), i <= int64(b.N)
			})
		})
	})
	b.Run("collapse-64", func(b *testing.B) {
		// 64 callers want the same distant page, which has to be asked about each time.
		gateway := start(b, "gateway-cache", upstream.url)
		report(b, gateway, 64*b.N, func() {
			crowd(b, gateway, 64, pages(b.N))
		})
	})
}

// pages gives each of 64 callers n requests for the same page.
func pages(n int) func() (string, bool) {
	var left atomic.Int64
	left.Store(64 * int64(n))
	return func() (string, bool) { return "/ebox/providers/distant/ebox/messages", left.Add(-1) >= 0 }
}

// report measures what requests cost the gateway.
func report(b *testing.B, gateway *child, requests int, do func()) {
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
func crowd(tb testing.TB, gateway *child, n int, next func() (string, bool)) {
	addr := strings.TrimPrefix(gateway.url, "http://")
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				tb.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 16<<10)
			for path, more := next(); more; path, more = next() {
				_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+addr+
					"\r\nOn-Behalf-Of-Enterprise-Number: 0206731645\r\n\r\n")
				if err == nil {
					var resp *http.Response
					if resp, err = http.ReadResponse(r, nil); err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						if err == nil && resp.StatusCode != http.StatusOK {
							err = fmt.Errorf("status %d", resp.StatusCode)
						}
					}
				}
				if err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
