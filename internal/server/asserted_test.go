package server

import (
	"net/http/httptest"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestWhatACallerAssertsIsClippedAndPrintable(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, c := range map[string]struct{ host, parent, state, wantHost, wantParent, wantState string }{
		"plain":                  {"localhost:8080", parent, "a=b", "localhost:8080", parent, "a=b"},
		"a long host":            {strings.Repeat("a", 60_000), "", "", strings.Repeat("a", maxHost), "", ""},
		"a host that steers":     {"a\u202e\u009b", "", "", "a\ufffd\ufffd", "", ""},
		"a long traceparent":     {"a", parent + strings.Repeat("-", 60_000), "a=b", "a", "", ""},
		"a traceparent's tricks": {"a", "00-\u202e", "a=b", "a", "", ""},
		"a long tracestate":      {"a", parent, "a=" + strings.Repeat("b", 600), "a", parent, ""},
		"a tracestate's tricks":  {"a", parent, "a=\u009b", "a", parent, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewEndpoint(Options{Edge: NewEdge(nil, nil, nil), Done: func(*call.Record) {}})
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = c.host
			r.Header["Traceparent"], r.Header["Tracestate"] = []string{c.parent}, []string{c.state}
			x := e.begin(httptest.NewRecorder(), r)
			defer x.routing.Reset()
			_ = x.edge() // whether the host is known does not matter here
			if x.c.Host != c.wantHost || x.c.TraceParent != c.wantParent || x.c.TraceState != c.wantState {
				t.Errorf("%.100q %q %q", x.c.Host, x.c.TraceParent, x.c.TraceState)
			}
		})
	}
}
