// Package oteltest is an OpenTelemetry collector for tests.
package oteltest

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Batch is what came in one request.
type Batch struct {
	Path    string
	Header  http.Header
	Service map[string]any // the attributes of the process
	Spans   []*otlp.Span
}

// Collector takes whatever is sent by OTLP/HTTP in protobuf, compressed with gzip.
type Collector struct {
	*httptest.Server
	mu      sync.Mutex
	batches []Batch
}

// Start starts a collector that ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := new(Collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var data otlp.TracesData
		body, err := gzip.NewReader(r.Body)
		if err == nil {
			var raw []byte
			if raw, err = io.ReadAll(body); err == nil {
				err = proto.Unmarshal(raw, &data)
			}
		}
		if err != nil {
			t.Errorf("reading a batch of spans: %v", err)
			return
		}
		b := Batch{Path: r.URL.Path, Header: r.Header}
		for _, resource := range data.ResourceSpans {
			b.Service = Attributes(&otlp.Span{Attributes: resource.Resource.Attributes})
			for _, scope := range resource.ScopeSpans {
				b.Spans = append(b.Spans, scope.Spans...)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.batches = append(c.batches, b)
	}))
	t.Cleanup(c.Close)
	return c
}

// Batches gives what has come so far.
func (c *Collector) Batches() []Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.batches
}

// Spans gives those of all batches.
func (c *Collector) Spans() (all []*otlp.Span) {
	for _, b := range c.Batches() {
		all = append(all, b.Spans...)
	}
	return all
}

// With gives the spans that have a value of an attribute.
func (c *Collector) With(key string, value any) (found []*otlp.Span) {
	for _, s := range c.Spans() {
		if Attributes(s)[key] == value {
			found = append(found, s)
		}
	}
	return found
}

// Attributes are those of a span: string, int64 or float64.
func Attributes(s *otlp.Span) map[string]any {
	m := make(map[string]any)
	for _, a := range s.Attributes {
		switch {
		case a.Value.GetStringValue() != "":
			m[a.Key] = a.Value.GetStringValue()
		case a.Value.GetDoubleValue() != 0:
			m[a.Key] = a.Value.GetDoubleValue()
		default:
			m[a.Key] = a.Value.GetIntValue()
		}
	}
	return m
}
