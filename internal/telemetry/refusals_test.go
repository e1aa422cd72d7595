package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestRefusalsHaveALogOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	l, err := OpenRefusalLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Done(&call.Record{Call: &call.Call{ID: "served"}, Status: 200})
	l.Done(&call.Record{Call: &call.Call{ID: "the upstream's own"}, Status: 403, UpstreamStatus: 403})
	l.Done(&call.Record{Call: &call.Call{ID: "an upstream that is down"}, Status: 502, ProblemType: "urn:x"})
	l.Done(&call.Record{
		Call: &call.Call{
			ID: "r1", Source: netip.MustParseAddr("10.9.9.9"), Listener: "main", Claimed: "0206731645",
			Route: "grant-citizen", Method: "GET", Path: "/grant/citizen/mandates/79072300048",
		},
		Status: 403, ProblemType: "urn:problem-type:belgif:missingPermission", Detail: "not allowed",
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"msg": "refused", "log": "security", "requestId": "r1", "source": "10.9.9.9", "listener": "main", "claimed": "0206731645", "route": "grant-citizen",
		"path": "/grant/citizen/mandates/***********", "status": 403.0, "problem": "urn:problem-type:belgif:missingPermission", "detail": "not allowed",
	} {
		if got[name] != want {
			t.Errorf("%s: %v", name, got[name])
		}
	}
}

func TestAFileOfRefusalsDoesNotGrowForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	f, err := openLimited(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	l := &RefusalLog{log: slog.New(slog.NewJSONHandler(f, nil)), file: f}
	for range 50 {
		l.Done(&call.Record{Call: &call.Call{ID: "r1"}, Status: 403, ProblemType: "x"})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + ".1"} {
		text, err := os.ReadFile(name)
		if err != nil || len(text) > 1000 || len(text) == 0 || !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("%s: %v, %d bytes", name, err, len(text))
		}
	}
}

// A request that began under another configuration ends after its file was closed.
func TestALogOfRefusalsThatWasClosedOpensNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	l, err := OpenRefusalLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Done(&call.Record{Call: &call.Call{ID: "late"}, Status: 403, ProblemType: "x"})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it was opened again: %v", err)
	}
}

func TestNoLogOfRefusals(t *testing.T) {
	l, err := OpenRefusalLog("")
	if err != nil {
		t.Fatal(err)
	}
	l.Done(&call.Record{Call: new(call.Call), Status: 403, ProblemType: "x"})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenRefusalLog(filepath.Join(t.TempDir(), "no", "such", "directory")); err == nil {
		t.Error("it opened")
	}
}
