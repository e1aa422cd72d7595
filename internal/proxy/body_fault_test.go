package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

// faulty is a body that panics once some of it was read.
type faulty struct{ io.ReadCloser }

func (faulty) Read([]byte) (int, error) { panic("a fault") }

// The transport sends a large body in a goroutine of its own, where no handler recovers.
func TestAFaultInReadingABodyEndsItsRequestAlone(t *testing.T) {
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	g.call = func(r *http.Request, _ *call.Call) {
		if r.ContentLength > 100 {
			r.Body = faulty{r.Body}
		}
	}
	a := g.get("POST", "/x", nil, strings.NewReader(strings.Repeat("x", 100<<10)))
	if a.err != nil || a.StatusCode != http.StatusInternalServerError || strings.Contains(a.body, "fault") {
		t.Errorf("%v %q %v", a.Response, a.body, a.err)
	}
	if rec := g.record(); rec.Cause == nil || !strings.Contains(rec.Cause.Error(), "a fault") {
		t.Errorf("the record's cause is %v", rec.Cause)
	}
	if a := g.get("POST", "/x", nil, strings.NewReader("x")); a.err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("the next request: %v %v", a.Response, a.err)
	}
}
