package evidence_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/testkit"
)

// refusal is a call that the gateway refused.
func refusal(id, source string) *call.Record {
	return &call.Record{
		Call: &call.Call{
			ID: id, Start: time.Now(), Source: netip.MustParseAddr(source), Listener: "main", Claimed: "0206731645",
			Route: "grant-citizen", Method: "GET", Path: "/grant/citizen/mandates/79072300048",
		},
		Status: 403, ProblemType: "urn:problem-type:belgif:missingPermission", Detail: "not allowed",
	}
}

func TestRefusalsHaveALogOfTheirOwn(t *testing.T) {
	var k evidence.Keeper
	k.Done(refusal("none is kept", "10.1.1.1"), false)
	path := filepath.Join(t.TempDir(), "security.log")
	cfg := &config.Config{Log: config.Log{Security: path}}
	testkit.Must(t, k.Open(cfg, audit.Options{Log: slog.New(slog.DiscardHandler)}))
	none := new(call.Call)
	for _, c := range []*call.Record{
		{Call: none, Status: 200},
		{Call: none, Status: 403, UpstreamStatus: 403}, // the upstream's own
		{Call: none, Status: 502, ProblemType: "urn:x"},
	} {
		k.Done(c, false)
	}
	c := refusal("r1", "10.9.9.9")
	c.Purpose = "yearly audit"
	k.Done(c, false)
	elsewhere := &config.Config{Log: config.Log{Security: filepath.Join(t.TempDir(), "no", "such", "directory")}}
	if err := k.Replace(cfg, elsewhere); err == nil {
		t.Error("it opened")
	}
	testkit.Must(t, k.Close())
	k.Done(refusal("late", "10.9.9.9"), false)
	text := testkit.Read(t, path)
	if strings.Count(text, "\n") != 1 {
		t.Fatal(text)
	}
	var got map[string]any
	testkit.Must(t, json.Unmarshal([]byte(text), &got))
	for name, want := range map[string]any{
		"msg": "refused", "log": "security", "requestId": "r1", "source": "10.9.9.9", "listener": "main",
		"claimed": "0206731645", "route": "grant-citizen", "path": "/grant/citizen/mandates/***********", "status": 403.0,
		"problem": "urn:problem-type:belgif:missingPermission", "detail": "not allowed", "purpose": "yearly audit",
	} {
		if got[name] != want {
			t.Errorf("%s: %v", name, got[name])
		}
	}
}

// Who is refused a thousand times neither drives out what others left in the log nor hides
// how often it was.
func TestRefusalsOfOneSourceAreBoundedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "security.log")
		var k evidence.Keeper
		testkit.Must(t, k.Open(&config.Config{
			Audit: config.Audit{Dir: dir, Replica: "r1", StopAfter: config.StopNever},
			Log:   config.Log{Security: path},
		}, audit.Options{Log: slog.New(slog.DiscardHandler)}))
		for i := range 1000 {
			k.Done(refusal(fmt.Sprintf("f%d", i), fmt.Sprintf("2001:db8::%x", i)), false) // one /64 is one source
		}
		k.Done(refusal("another", "10.1.1.1"), false)
		time.Sleep(2 * time.Minute)
		testkit.Must(t, k.Close())
		text := testkit.Read(t, path)
		if n := strings.Count(text, "\n"); n != 20+2 || !strings.Contains(text, `"requestId":"another"`) {
			t.Errorf("%d lines: %s", n, text)
		}
		if !strings.Contains(text, `"msg":"more were refused","log":"security","source":"2001:db8::","leftOut":980`) {
			t.Errorf("those that were left out are not counted: %s", text)
		}
		n, leftOut := 0, 0
		_, err := audit.Search(filepath.Join(dir, "r1"), audit.Query{Events: true}, func(f *audit.Found) error {
			if f.Kind == audit.KindRefusal {
				n++
				leftOut += f.LeftOut
			}
			return nil
		})
		if err != nil || n != 20+2 || leftOut != 980 {
			t.Errorf("%d in the chain, %d left out: %v", n, leftOut, err)
		}
	})
}
