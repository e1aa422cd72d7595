package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestACallerThatLeavesCancelsTheUpstream(t *testing.T) {
	arrived, cancelled := make(chan bool), make(chan bool)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(cancelled)
	})
	c := g.dial()
	c.send("GET /x HTTP/1.1", "Host: a", "", "")
	<-arrived
	c.conn.Close()
	<-cancelled
	if rec := g.record(); rec.Status != call.StatusClientGone || rec.ProblemType != "" || rec.BytesOut != 0 {
		t.Fatalf("%+v", rec)
	}
}

func TestACallerThatLeavesInTheMiddleOfItsBodyGetsNoAnswer(t *testing.T) {
	ended := make(chan error, 1)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Content-Length: 100000", "", "hello") // a small one is sent whole or not at all
	c.closeWrite()
	if text, _ := c.rest(); text != "" {
		t.Fatalf("it received %q", text)
	}
	if err := <-ended; err == nil {
		t.Fatal("the upstream takes half a body for a whole one")
	}
	if rec := g.record(); rec.Status != call.StatusClientGone || rec.BytesIn != 5 {
		t.Fatalf("%+v", rec)
	}
}

func TestABrokenBodyIsTheCallersFault(t *testing.T) {
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "", "zz\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 400") || !strings.Contains(head, "Connection: close\r\n") {
		t.Fatal(head)
	}
}

// brokenReader is a body whose reading is at fault, as what looks at a publication on its way could be.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { panic("a fault of the gateway") }
func (brokenReader) Close() error             { return nil }

// A long body is read in a goroutine of its own, where no handler recovers.
func TestAPanicWhileABodyGoesUpEndsItsRequestAlone(t *testing.T) {
	g := behind(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	g.call = func(r *http.Request, _ *call.Call) {
		if r.URL.Path == "/broken" {
			r.Body = brokenReader{}
		}
	}
	for _, size := range []int{100, 100_000} {
		a := g.get("POST", "/broken", nil, strings.NewReader(strings.Repeat("x", size)))
		if a.err != nil || a.StatusCode != 500 {
			t.Fatalf("%d: %+v", size, a)
		}
		if rec := g.record(); rec.Status != 500 || rec.Cause == nil || !strings.Contains(rec.Cause.Error(), "brokenReader") {
			t.Errorf("%d: %+v", size, rec)
		}
	}
	if a := g.get("POST", "/x", nil, strings.NewReader("fine")); a.err != nil || a.body != "fine" {
		t.Errorf("%+v", a)
	}
}

func TestACallerThatLeavesDuringTheAnswerEndsIt(t *testing.T) {
	cancelled := make(chan bool)
	g := behind(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 64<<10))
		}
		close(cancelled)
	})
	c := g.dial()
	c.send("GET /x HTTP/1.1", "Host: a", "", "")
	c.head()
	c.conn.Close()
	<-cancelled
	if rec := g.record(); !rec.Cut || rec.Status != 200 {
		t.Fatalf("%+v", rec)
	}
}
