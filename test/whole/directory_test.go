package whole_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// often makes the gateway fetch the list of providers all the time.
func often(t *testing.T, text string) string {
	return edit("registry:\n", "registry:\n  refresh: 200ms\n")(t, text)
}

// listed is one provider as /ebox/providers shows it, nil if it does not.
func (h *house) listed(id string) map[string]any {
	h.t.Helper()
	var list struct{ Items []map[string]any }
	testkit.Must(h.t, json.Unmarshal([]byte(h.get("/ebox/providers").want(h.t, 200).body), &list))
	for _, p := range list.Items {
		if p["providerId"] == id {
			return p
		}
	}
	return nil
}

func TestTheListNamesStatesAndPaths(t *testing.T) {
	t.Parallel()
	h := open(t)
	for id, state := range map[string]string{"nsso": "active", "regional": "active", "utilities": "maintenance",
		"upcoming": "not-yet-active", "retired": "deactivated"} {
		if p := h.listed(id); p["state"] != state || p["path"] != "/ebox/providers/"+id || p["circuit"] != "closed" {
			t.Errorf("%v", p)
		}
	}
	if window, _ := h.listed("utilities")["maintenance"].(map[string]any); window["end"] == nil {
		t.Errorf("%v", h.listed("utilities"))
	}
	prefixed := h.get("/enterprises/"+mandated+"/ebox/providers").want(t, 200)
	if !strings.Contains(prefixed.body, `"path":"/enterprises/`+mandated+`/ebox/providers/nsso"`) {
		t.Errorf("%s", prefixed.body)
	}
}

func TestHostsThatNobodyAllowedGetNoCallAndNoToken(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer trap.Close()
	h := open(t, often)
	bases := map[string]string{
		"metadata": "http://169.254.169.254/latest", "trap": trap.URL + "/REST",
		"alike": "https://services.socialsecurity.be.outside.example/v3",
	}
	for id, base := range bases {
		if err := h.sim.SetProvider(simulator.Provider{ID: id, URL: base, Activation: "2020-01-01",
			APIVersion: "3.0"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new list", func() bool { return h.listed("metadata") != nil })
	issued := h.sim.TokensIssued()
	for id, base := range bases {
		p := h.listed(id)
		advice, _ := p["advice"].(string)
		if p["state"] != "host-not-allowed" || advice == "" {
			t.Errorf("%v", p)
		}
		if id == "metadata" == strings.Contains(advice, "allowedHosts") {
			t.Errorf("%s: advice %q", id, advice) // one must never be allowed, the others are the operator's choice
		}
		got := h.get("/enterprises/"+mandated+"/ebox/providers/"+id+"/ebox").want(t, 503)
		if host := strings.Split(base, "/")[2]; strings.Contains(got.body, host) {
			t.Errorf("a problem names the host: %s", got.body)
		}
		if got.problem(t)["type"] != "urn:problem-type:belgif:serviceUnavailable" ||
			!strings.Contains(got.header.Get("Proxy-Status"), "error=") {
			t.Errorf("%v %s", got.header, got.body)
		}
	}
	if n := h.sim.TokensIssued() - issued; n != 0 || calls.Load() != 0 {
		t.Errorf("%d tokens, %d calls", n, calls.Load())
	}
	// A provider that was called before and now is said to be elsewhere.
	h.get(box).want(t, 200)
	if err := h.sim.SetProvider(simulator.Provider{ID: "nsso", URL: trap.URL + "/REST", Activation: "2020-01-01",
		APIVersion: "3.0"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change", func() bool { return h.get(box).status == 503 })
	if calls.Load() != 0 {
		t.Error("a token went to a host that nobody allowed")
	}
}
