package whole_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// lately is what the admin listener shows of the last minutes.
func (h *house) lately() (a activity.Activity) {
	h.t.Helper()
	testkit.Must(h.t, json.Unmarshal([]byte(h.operate("GET", "/activity").want(h.t, 200).body), &a))
	return a
}

func (h *house) providerStatus(id string) status.ProviderStatus {
	h.t.Helper()
	for _, p := range h.status().Directory.Providers {
		if p.ID == id {
			return p
		}
	}
	h.t.Fatalf("the status does not show provider %s", id)
	return status.ProviderStatus{}
}

// attends reports whether the status draws attention to a part.
func (h *house) attends(severity, part string) bool {
	h.t.Helper()
	for _, a := range h.status().Attention {
		if a.Severity == severity && a.Part == part {
			return true
		}
	}
	return false
}

func TestAProviderInMaintenanceGetsNoCalls(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(messages).want(t, 200)
	h.operate("POST", "/maintenance?provider=nsso&for=2h&reason=secret+plans").want(t, 200)
	h.sim.ResetRequests()

	a := h.get(messages).want(t, 503)
	until, err := http.ParseTime(a.header.Get("Retry-After"))
	if left := time.Until(until); err != nil || left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if p := a.problem(t); p["type"] != "urn:problem-type:belgif:serviceUnavailable" || p["retryAfter"] == nil ||
		strings.Contains(a.body, "secret") {
		t.Errorf("%s", a.body)
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("the provider got %d calls", n)
	}
	if n := h.metric(`ebox_gateway_maintenance_answers_total{route="ebox-providers"}`); n != 1 {
		t.Errorf("%v calls count as refused by a maintenance, which no alert is about", n)
	}
	h.get("/enterprises/"+mandated+regional+"/ebox/messages").want(t, 200)

	if p := h.listed("nsso"); p["state"] != "maintenance" || p["maintenance"] == nil {
		t.Errorf("callers are shown %+v", p)
	}
	if p := h.providerStatus("nsso"); p.State != "maintenance" || p.Switched == nil ||
		p.Switched.Reason != "secret plans" || p.Switched.By != "127.0.0.1" {
		t.Errorf("the platform team is shown %+v", p)
	}
	if !h.attends("notice", "provider nsso") || h.attends("failing", "provider nsso") || h.status().Health != "UP" {
		t.Errorf("attention: %+v", h.status().Attention)
	}

	h.operate("DELETE", "/maintenance?provider=nsso").want(t, 200)
	h.get(messages).want(t, 200)
	h.operate("DELETE", "/maintenance?provider=nsso").want(t, 404)
	if a := h.operate("POST", "/maintenance?provider=nso&for=1h").want(t, 404); !strings.Contains(a.body, "nsso") {
		t.Errorf("the ids that there are would help: %s", a.body)
	}
}

func TestAGatewayInMaintenanceSaysSoToThoseWhoMayAsk(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(box).want(t, 200)
	eventually(t, "the gateway to be ready", func() bool { return h.operate("GET", "/readyz").status == 200 })
	h.operate("POST", "/maintenance?gateway=true&for=30m").want(t, 200)
	h.sim.ResetRequests()
	for path, status := range map[string]int{
		box: 503, "/ebox/providers": 503, "/enterprises/" + mandated + grant + "/mandates": 503,
		"/enterprises/" + unlisted + nsso + "/ebox": 403, "/nothing": 404, // as ever
	} {
		if a := h.get(path); a.status != status || a.header.Get("X-Request-Id") == "" ||
			(status == 503) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%s: %d %v, want %d", path, a.status, a.header, status)
		}
	}
	if a := h.send("POST", "/enterprises/"+mandated+grant+"/mandates", strings.NewReader(`{}`),
		asJSON); a.status != 503 {
		t.Errorf("a write: %d", a.status)
	}
	for _, up := range []string{"provider:nsso", simulator.UpstreamGrant} {
		if n := h.sim.RequestCount(up); n != 0 {
			t.Errorf("%s got %d calls", up, n)
		}
	}
	// Whoever decides by these would take the replica's word away from its callers.
	h.operate("GET", "/readyz").want(t, 200)
	h.operate("GET", "/livez").want(t, 200)
	if s := h.status(); s.Health != "DOWN" || !h.attends("down", "gateway") || len(s.Maintenance) != 1 {
		t.Errorf("%s %+v", s.Health, s.Attention)
	}
	h.operate("DELETE", "/maintenance?gateway=true").want(t, 200)
	h.get(box).want(t, 200)
	h.operate("DELETE", "/maintenance?gateway=true").want(t, 404)
}

func TestWhatHappenedIsShownWithinSeconds(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(messages).want(t, 200)
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 500, Body: "broken"})
	failed := h.get(messages+"/"+simulator.FirstMessage, "X-Actor: jan 79072300048").want(t, 500)
	h.get(messages+"/x?secret=79072300048").want(t, 500)
	eventually(t, "the attention", func() bool { return h.attends("failing", "provider nsso") })

	a := h.lately()
	if len(a.Problems) != 2 || len(a.Providers) != 1 || a.Providers[0].Name != "nsso" ||
		a.Providers[0].Minute.UpstreamErrors != 2 {
		t.Fatalf("%+v", a)
	}
	p := a.Problems[1]
	if p.RequestID != failed.header.Get("X-Request-Id") || p.TraceID == "" || p.By != "upstream" || p.Provider != "nsso" ||
		p.Enterprise != mandated || p.UpstreamStatus != 500 {
		t.Errorf("%+v", p)
	}
	if text := h.operate("GET", "/activity").body; strings.Contains(text, "79072300048") ||
		strings.Contains(text, "secret") {
		t.Errorf("a citizen or a query is shown: %s", text)
	}
}

func TestAnEnterpriseThatIsRefusedIsListedUntilItIsServed(t *testing.T) {
	t.Parallel()
	h := open(t)
	refused := h.get("/enterprises/"+ended+nsso+"/ebox").want(t, 403)
	if strings.Contains(refused.header.Get("Proxy-Status"), "error=") {
		t.Errorf("the gateway claims the error as its own: %s", refused.header.Get("Proxy-Status"))
	}
	list := h.status().Refused
	if list.Total != 1 || list.Enterprises[0].Enterprise != ended || list.Enterprises[0].Provider != "nsso" ||
		list.Enterprises[0].Status != 403 || list.Enterprises[0].RequestID != refused.header.Get("X-Request-Id") {
		t.Fatalf("%+v", list)
	}
	if !h.attends("notice", "enterprises") || h.status().Health != "UP" {
		t.Errorf("%+v", h.status().Attention)
	}
	if text := h.operate("GET", "/enterprises/refused").want(t, 200).body; !strings.Contains(text, ended) {
		t.Errorf("%s", text)
	}
	// The scopes that the upstream asks for are named, if they are scopes.
	const scope = "scope:document:management:consult:ws-eboxrestentreprise:other"
	asks := h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 403,
		ContentType: "application/problem+json", Body: `{"type":"urn:problem-type:belgif:missingScope","status":403,` +
			`"requiredScopes":["` + scope + `","\u202ebad\n"]}`})
	h.get("/enterprises/"+ended+nsso+"/ebox").want(t, 403)
	eventually(t, "the access line", func() bool {
		return strings.Contains(h.access.String(), `"missingScopes":"`+scope+`"`)
	})
	if status := h.operate("GET", "/status").body; !strings.Contains(status, `"missingScopes": "`+scope+`"`) {
		t.Errorf("the refused enterprise is without the scope in %s", status)
	}
	h.sim.RemoveFault(asks)
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200,
		ContentType: "application/json", Body: "{}"})
	h.get("/enterprises/"+ended+nsso+"/ebox").want(t, 200)
	if list := h.status().Refused; list.Total != 0 {
		t.Errorf("it is served again: %+v", list)
	}
}
