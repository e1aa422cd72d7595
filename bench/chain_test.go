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
				proxy, prefix := start(b, role, upstream.url), "/ebox/providers/nsso"
				if role == "reverseproxy" {
					prefix = "/base"
				}
				load(b, proxy, prefix+what.path)
			})
		}
	}
}

// load sends b.N requests over keep-alive connections.
func load(b *testing.B, proxy *child, path string) {
	addr := strings.TrimPrefix(proxy.url, "http://")
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nOn-Behalf-Of-Enterprise-Number: " +
		"0206731645\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\n\r\n"
	ask(b, addr, request, 2000) // warm up: connections, token, pools
	report(b, proxy, b.N, func() { ask(b, addr, request, b.N) })
}

func ask(tb testing.TB, addr, request string, n int) {
	tb.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if err := converse(addr, request, &left); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
}

// converse asks the same again and again on one connection.
func converse(addr, request string, left *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	for left.Add(-1) >= 0 {
		if _, err := io.WriteString(conn, request); err != nil {
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
		name string
		send func(url string) (*http.Response, error)
	}{
		{"download", func(url string) (*http.Response, error) { return get(url + "/large") }},
		{"upload", func(url string) (*http.Response, error) {
			return post(url+"/upload", io.LimitReader(zeros{}, size))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			proxy := start(b, "gateway-quiet", upstream.url)
			url := proxy.url + "/ebox/providers/nsso"
			resp, err := get(url + "/ebox")
			if err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
			before := proxy.spent(b)
			b.SetBytes(size)
			for b.Loop() {
				resp, err := c.send(url)
				if err != nil {
					b.Fatal(err)
				}
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

func get(url string) (*http.Response, error) { return do("GET", url, nil) }

func post(url string, body io.Reader) (*http.Response, error) { return do("POST", url, body) }

func do(method, url string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("On-Behalf-Of-Enterprise-Number", "0206731645")
	return http.DefaultClient.Do(req)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
