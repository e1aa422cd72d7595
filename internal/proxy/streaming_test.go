package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

func TestAPausingAnswerArrivesAsItComes(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "application/json"} {
		t.Run(kind, func(t *testing.T) {
			goOn := make(chan bool)
			g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				if kind != "application/json" { // whose header says whether the length stays
					w.(http.Flusher).Flush()
					<-goOn
				}
				for range 3 {
					_, _ = io.WriteString(w, "[\"one\"]\n")
					w.(http.Flusher).Flush()
					<-goOn
				}
			})
			c := g.dial()
			c.send("GET /x HTTP/1.1", "Host: a", "", "")
			resp, err := http.ReadResponse(c.r, nil)
			testkit.Must(t, err)
			if kind != "application/json" {
				goOn <- true
			}
			body := bufio.NewReader(resp.Body)
			for range 3 {
				if line, err := body.ReadString('\n'); line != "[\"one\"]\n" {
					t.Fatalf("%q %v", line, err)
				}
				goOn <- true
			}
			if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
				t.Fatalf("%q %v", rest, err)
			}
		})
	}
}

func TestTheUpstreamReadsWhileTheCallerStillSends(t *testing.T) {
	g := behind(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(flushing{w}, r.Body)
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "", "3\r\none\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	testkit.Must(t, err)
	b := make([]byte, 3)
	for _, word := range []string{"one", "two", "six"} {
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != word {
			t.Fatalf("%q %v", b, err)
		}
		switch word {
		case "one":
			c.send("3\r\ntwo\r\n")
		case "two":
			c.send("3\r\nsix\r\n0\r\n\r\n")
		}
	}
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Fatalf("%q %v", rest, err)
	}
	if rec := g.record(); rec.BytesIn != 9 || rec.BytesOut != 9 {
		t.Fatalf("%+v", rec)
	}
}

type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.w.(http.Flusher).Flush()
	return n, err
}

// A server that answers early must not cost the upstream the middle of a body: the
// gateway's own server would read on by itself.
func TestAnEarlyAnswerDoesNotEatTheBody(t *testing.T) {
	const size = 200 << 10
	got := make(chan int, 1)
	g := behindRaw(t, func(_ int, c *peer) {
		c.head()
		c.send("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2\r\nhi\r\n")
		got <- len(c.exactly(size))
		c.send("0\r\n\r\n")
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Content-Length: 204800", "", "")
	resp, err := http.ReadResponse(c.r, nil)
	testkit.Must(t, err)
	c.send(strings.Repeat("b", size))
	if n := <-got; n != size {
		t.Fatalf("the upstream received %d bytes", n)
	}
	if b, err := io.ReadAll(resp.Body); string(b) != "hi" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
}

func TestLargeBodiesPassBothWaysInConstantMemory(t *testing.T) {
	const size = 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g := behind(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = io.CopyN(w, zeros{}, n)
	})
	c := g.dial()
	r, _ := http.NewRequest("POST", "http://"+g.addr+"/x", io.LimitReader(zeros{}, size))
	r.ContentLength = size
	go func() { _ = r.Write(c.conn) }()
	resp, err := http.ReadResponse(c.r, r)
	testkit.Must(t, err)
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	if rec := g.record(); rec.BytesIn != size || rec.BytesOut != size || rec.Cut {
		t.Fatalf("%+v", rec)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/4 {
		t.Fatalf("%d bytes were allocated on the way", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
