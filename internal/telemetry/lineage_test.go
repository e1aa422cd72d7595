// Inside the package, since the fuzzed rule has its result in a span only where a collector takes it.

package telemetry

import (
	"log/slog"
	"net/url"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/testkit"
)

func FuzzTraceParent(f *testing.F) {
	const requestID = "2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11"
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b", requestID)
	f.Add("", "", "2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c1")
	f.Add("00-00000000000000000000000000000000-0000000000000000-00", "a=\xee0", "00000000-0000-0000-0000-000000000000")
	tracer, err := NewTracer(TracerOptions{Endpoint: new(url.URL), SampleRatio: 1, Log: slog.New(slog.DiscardHandler)})
	testkit.Must(f, err)
	f.Fuzz(func(t *testing.T, parent, state, id string) {
		l, sampled := tracer.lineageOf(&call.Record{Call: &call.Call{ID: id, TraceParent: parent, TraceState: state}})
		if sampled && (!l.own.IsValid() || !l.trace.IsValid() || l.parent.IsValid() && l.parent.TraceID() != l.trace) {
			t.Fatalf("%q %q %q: %+v", parent, state, id, l)
		}
	})
}
