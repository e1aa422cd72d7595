package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"ebox-gateway/internal/testkit"
)

// partial is an ExportTraceServiceResponse that tells of refused spans.
func partial(refused uint64) string {
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), refused)
	inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), "hunter2")
	return string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner))
}

func TestWhatACollectorAnswers(t *testing.T) {
	const ok, protobuf = 200, "application/x-protobuf"
	type answer struct {
		status     int
		kind, body string
	}
	for name, c := range map[string]struct {
		answers []answer // the last is given for ever
		logged  string   // "" when the spans were taken
	}{
		"taken":            {[]answer{{ok, protobuf, ""}}, ""},
		"taken as a whole": {[]answer{{ok, protobuf, partial(0)}}, ""},
		"busy at first":    {[]answer{{503, "text/plain", "hunter2"}, {ok, protobuf, ""}}, ""},
		"not protobuf":     {[]answer{{ok, "text/html", "hunter2"}}, ""},
		"some refused":     {[]answer{{ok, protobuf, partial(3)}}, "refused 3 spans"},
		"damaged":          {[]answer{{ok, protobuf, partial(3)[:3]}}, ""},
		"refused":          {[]answer{{403, "text/plain", "hunter2"}, {ok, protobuf, ""}}, "status 403"},
		"moved":            {[]answer{{302, "text/plain", "hunter2"}, {ok, protobuf, ""}}, "status 302"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				a := c.answers[min(asked, len(c.answers)-1)]
				asked++
				w.Header().Set("Content-Type", a.kind)
				w.Header().Set("Location", "/hunter2")
				w.WriteHeader(a.status)
				_, _ = io.WriteString(w, a.body)
			}))
			defer server.Close()
			var log testkit.Log
			tracer := newTestTracer(t, server.URL, logTo(&log))
			told(tracer, func() { tracer.Done(tracedCall(), "") })
			if s := tracer.Stats(); (s.Exported == 1) != (c.logged == "") || s.Exported+s.Dropped != 1 {
				t.Errorf("%+v", s)
			}
			if text := log.String(); !strings.Contains(text, c.logged) || (text == "") != (c.logged == "") ||
				strings.Contains(text, "hunter2") {
				t.Errorf("the log says %q", text)
			}
		})
	}
}
