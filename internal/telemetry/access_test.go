package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
)

func lineOf(t *testing.T, r *call.Record) map[string]any {
	t.Helper()
	var out bytes.Buffer
	telemetry.NewAccessLog(&out, "json", slog.LevelInfo).Done(r)
	if strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("not one line: %q", out.String())
	}
	var m map[string]any
	testkit.Must(t, json.Unmarshal(out.Bytes(), &m))
	return m
}

func TestAccessLineNamesWhoForWhomAndWhere(t *testing.T) {
	got := lineOf(t, &call.Record{
		Call: &call.Call{
			ID: "5e0c", Start: time.Now(), Source: netip.MustParseAddr("10.1.2.3"), Caller: "hr",
			Method: "GET", Path: "/ebox/providers/79072300048/ebox", Route: "ebox-providers",
			Provider: "79072300048", // which whoever calls may write there
			Action:   ebox.List, Enterprise: 206731645,
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		TokenHash: "ab12", Status: 200, UpstreamStatus: 200, Tries: 1,
		Phases: call.Phases{Total: 1500 * time.Microsecond},
	})
	want := map[string]any{
		"requestId": "5e0c", "caller": "hr", "source": "10.1.2.3", "enterprise": "0206731645",
		"provider": "***********", "path": "/ebox/providers/***********/ebox",
		"callerTraceId": "4bf92f3577b34da6a3ce929d0e0e4736",
		"action":        "list", "status": 200.0, "totalMs": 1.5, "tokenHash": "ab12", "level": "INFO", "msg": "request",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
}

// Log, access log, evidence and page can be laid side by side.
func TestTimesAreUTCWhateverTheMachineHas(t *testing.T) {
	brussels := time.FixedZone("CET", 3600)
	at := time.Date(2026, 11, 28, 23, 30, 0, 0, brussels)
	if got := lineOf(t, &call.Record{Call: &call.Call{Start: at}}); got["time"] != "2026-11-28T22:30:00Z" {
		t.Errorf("access line at %v", got["time"])
	}
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "text", slog.LevelInfo)
	testkit.Must(t, err)
	log.Info("x", "retry", at)
	if !strings.Contains(out.String(), "retry=2026-11-28T22:30:00.000Z") ||
		!strings.Contains(strings.Fields(out.String())[0], "Z") {
		t.Error(out.String())
	}
}

func TestAFaultOfOursIsAnError(t *testing.T) {
	got := lineOf(t, &call.Record{Call: new(call.Call), Status: 500, Cut: true, ProblemType: "x",
		ProxyError: "proxy_internal_error", Cause: errors.New("panic: boom")})
	if got["level"] != "ERROR" || got["cause"] != "panic: boom" || got["cut"] != true {
		t.Errorf("%v", got)
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "xml", slog.LevelInfo); err == nil {
		t.Fatal("xml was accepted")
	}
}

func TestValuesCannotForgeALine(t *testing.T) {
	const evil = "x\"}\n{\"status\":200 =é"
	long := "a\u009b2J" + strings.Repeat("x", 5000)
	got := lineOf(t, &call.Record{Call: &call.Call{Path: evil, Provider: long}, Status: 404})
	const shown = "x\"}\uFFFD{\"status\":200 =é" // the line end is no printable character
	if got["path"] != shown || got["status"] != 404.0 {
		t.Errorf("%v", got)
	}
	if p, _ := got["provider"].(string); !strings.HasPrefix(p, "a\uFFFD2Jxxx") || len(p) > 400 {
		t.Errorf("a provider of %d bytes, %.20q", len(p), p)
	}
	var out bytes.Buffer
	telemetry.NewAccessLog(&out, "text", slog.LevelInfo).Done(&call.Record{Call: &call.Call{Path: evil}, Status: 404})
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `path="x\"}`+"\uFFFD"+
		`{\"status\":200 =é" status=404`) {
		t.Errorf("%q", out.String())
	}
}

func TestLinesBelowTheLevelAreLeftOut(t *testing.T) {
	var out bytes.Buffer
	a := telemetry.NewAccessLog(&out, "json", slog.LevelWarn)
	a.Done(&call.Record{Call: new(call.Call), Status: 200})
	if out.Len() != 0 {
		t.Errorf("%q", out.String())
	}
	a.Done(&call.Record{Call: new(call.Call), Status: 503, ProblemType: "urn:problem-type:belgif:serviceUnavailable"})
	if !strings.Contains(out.String(), `"level":"WARN"`) {
		t.Errorf("%q", out.String())
	}
}
