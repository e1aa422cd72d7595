package evidence

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

// mustUse has refusals go to a file, and to a chain unless it is nil.
func mustUse(t *testing.T, r *refusals, chain *audit.Log) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "security.log")
	testkit.Must(t, r.use(path, chain))
	return path
}

func TestRefusalsHaveALogOfTheirOwn(t *testing.T) {
	var r refusals
	r.done(refusal("none is kept", "10.1.1.1"))
	path := mustUse(t, &r, nil)
	none := new(call.Call)
	r.done(&call.Record{Call: none, Status: 200})
	r.done(&call.Record{Call: none, Status: 403, UpstreamStatus: 403}) // the upstream's own
	r.done(&call.Record{Call: none, Status: 502, ProblemType: "urn:x"})
	c := refusal("r1", "10.9.9.9")
	c.Purpose = "yearly audit"
	r.done(c)
	testkit.Must(t, r.close())
	r.done(refusal("late", "10.9.9.9"))
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
	if err := r.use(filepath.Join(t.TempDir(), "no", "such", "directory"), nil); err == nil {
		t.Error("it opened")
	}
}

// Who is refused a thousand times neither drives out what others left in the log nor hides
// how often it was.
func TestRefusalsOfOneSourceAreBoundedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l, err := audit.Open(audit.Options{Dir: dir, Replica: "r1", StopAfter: audit.Never,
			Log: slog.New(slog.DiscardHandler)})
		testkit.Must(t, err)
		var r refusals
		path := mustUse(t, &r, l)
		for i := range 1000 {
			r.done(refusal(fmt.Sprintf("f%d", i), fmt.Sprintf("2001:db8::%x", i))) // one /64 is one source
		}
		r.done(refusal("another", "10.1.1.1"))
		time.Sleep(2 * time.Minute)
		testkit.Must(t, r.close())
		testkit.Must(t, l.Close())
		text := testkit.Read(t, path)
		if n := strings.Count(text, "\n"); n != refusalsEach+2 || !strings.Contains(text, `"requestId":"another"`) {
			t.Errorf("%d lines: %s", n, text)
		}
		if !strings.Contains(text, `"msg":"more were refused","log":"security","source":"2001:db8::","leftOut":980`) {
			t.Errorf("those that were left out are not counted: %s", text)
		}
		n, leftOut := 0, 0
		_, err = audit.Search(filepath.Join(dir, "r1"), audit.Query{Events: true}, func(f *audit.Found) error {
			if f.Kind == audit.KindRefusal {
				n++
				leftOut += f.LeftOut
			}
			return nil
		})
		if err != nil || n != refusalsEach+2 || leftOut != 980 {
			t.Errorf("%d in the chain, %d left out: %v", n, leftOut, err)
		}
	})
}
