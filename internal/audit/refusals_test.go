package audit

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
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

func maskCitizen(s string) string { return strings.ReplaceAll(s, "79072300048", "***********") }

func TestRefusalsHaveALogOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	var r Refusals
	must(t, r.Use(path, nil, nil, maskCitizen))
	none := new(call.Call)
	r.Done(&call.Record{Call: none, Status: 200})
	r.Done(&call.Record{Call: none, Status: 403, UpstreamStatus: 403}) // the upstream's own
	r.Done(&call.Record{Call: none, Status: 502, ProblemType: "urn:x"})
	c := refusal("r1", "10.9.9.9")
	c.Purpose = "yearly audit"
	r.Done(c)
	must(t, r.Close())
	r.Done(refusal("late", "10.9.9.9"))
	text := mustRead(t, path)
	if strings.Count(text, "\n") != 1 {
		t.Fatal(text)
	}
	var got map[string]any
	must(t, json.Unmarshal([]byte(text), &got))
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

// Whoever is refused has written what stands in place of a provider.
func TestARefusalNamesNoProviderThatCannotBe(t *testing.T) {
	for written, want := range map[string]string{"79072300048": "***********", "a\u009b2J": "a\uFFFD2J",
		strings.Repeat("x", 5000): strings.Repeat("x", maxProvider)} {
		c := &call.Record{Call: &call.Call{Provider: written}}
		if got := recordOf(KindRefusal, c, maskCitizen).Provider; got != want {
			t.Errorf("%.20q is recorded as %.20q", written, got)
		}
	}
}

// Who is refused a thousand times neither drives out what others left in the log nor hides
// how often it was.
func TestRefusalsOfOneSourceAreBoundedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, dir := filepath.Join(t.TempDir(), "security.log"), t.TempDir()
		l := mustOpen(t, options(dir))
		var r Refusals
		must(t, r.Use(path, nil, l, maskCitizen))
		for i := range 1000 {
			r.Done(refusal(fmt.Sprintf("f%d", i), fmt.Sprintf("2001:db8::%x", i))) // one /64 is one source
		}
		r.Done(refusal("another", "10.1.1.1"))
		time.Sleep(2 * time.Minute)
		must(t, r.Close())
		must(t, l.Close())
		text := mustRead(t, path)
		if n := strings.Count(text, "\n"); n != refusalsEach+2 || !strings.Contains(text, `"requestId":"another"`) {
			t.Errorf("%d lines: %s", n, text)
		}
		if !strings.Contains(text, `"msg":"more were refused","log":"security","source":"2001:db8::","leftOut":980`) {
			t.Errorf("those that were left out are not counted: %s", text)
		}
		sound(t, dir)
		chain := whole(t, dir)
		if n := strings.Count(chain, `"kind":"refusal"`); n != refusalsEach+2 || !strings.Contains(chain, `"leftOut":980`) {
			t.Errorf("%d in the chain: %s", n, chain)
		}
	})
}

func TestNoLogOfRefusals(t *testing.T) {
	var r Refusals
	r.Done(refusal("x", "10.1.1.1"))
	must(t, r.Use("", nil, nil, maskCitizen))
	r.Done(refusal("x", "10.1.1.1"))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Use(filepath.Join(t.TempDir(), "no", "such", "directory"), nil, nil, maskCitizen); err == nil {
		t.Error("it opened")
	}
}
