package whole_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/operate/explain"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit/lab"
)

const (
	inboxPath   = "/enterprises/" + mandated + "/ebox/messages"
	summaryPath = "/enterprises/" + mandated + "/ebox"
)

// listed is an answer of the list, read.
type listed struct {
	Items []struct {
		Provider string `json:"providerId"`
		ID       string `json:"messageId"`
	} `json:"items"`
	Total *int   `json:"totalItems"`
	Next  string `json:"next"`
	Links map[string]struct {
		Href string `json:"href"`
	} `json:"_links"`
	Incomplete []struct {
		Provider string         `json:"providerId"`
		Reason   string         `json:"reason"`
		Problem  map[string]any `json:"problem"`
	} `json:"incomplete"`
	header http.Header
}

func (l listed) keys() []string {
	keys := make([]string, len(l.Items))
	for i, item := range l.Items {
		keys[i] = item.Provider + "/" + item.ID
	}
	return keys
}

// missing are the providers that are named as missing, with their reasons.
func (l listed) missing() string {
	var names []string
	for _, m := range l.Incomplete {
		names = append(names, m.Provider+";reason="+m.Reason)
	}
	return strings.Join(names, ", ")
}

// list asks for a page and reads it. What the body says to be missing, the header has to say too.
func (h *house) list(t *testing.T, path string, fields ...string) (l listed) {
	t.Helper()
	a := h.get(path, fields...).want(t, 200)
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		t.Fatalf("%s: %v in %s", path, err, a.body)
	}
	if header := a.header.Get("X-EBox-Incomplete"); header != l.missing() {
		t.Fatalf("%s: the header says %q, the body %q", path, header, l.missing())
	}
	l.header = a.header
	return l
}

// Lists that move in every way, and providers of every habit, are in package inbox; how each
// provider is asked, and what becomes of one in trouble, in package server.
func TestInboxIsTheMergedListOfAllProviders(t *testing.T) {
	t.Parallel()
	h := open(t)
	whole := h.list(t, inboxPath+"?pageSize=100").keys()
	for _, provider := range []string{"nsso", "regional"} {
		own := h.list(t, "/enterprises/"+mandated+"/ebox/providers/"+provider+"/ebox/messages?pageSize=100")
		var merged []string
		for _, key := range whole {
			if id, found := strings.CutPrefix(key, provider+"/"); found {
				merged = append(merged, "/"+id)
			}
		}
		h.sim.ResetRequests()
		again := h.list(t, inboxPath+"?pageSize=100").keys() // when nothing is new, no body comes
		asked := h.sim.RequestsTo(simulator.ProviderUpstream(provider))
		if !slices.Equal(again, whole) || len(asked) != 1 || asked[0].Status != http.StatusNotModified {
			t.Errorf("%s answered %+v, and the list is %v", provider, asked, again)
		}
		if !slices.Equal(merged, own.keys()) || len(merged) < 10 {
			t.Errorf("of %s\ngot  %v\nwant %v", provider, merged, own.keys())
		}
	}
	var paged []string
	for path := inboxPath + "?pageSize=20"; path != ""; {
		l := h.list(t, path)
		paged = append(paged, l.keys()...)
		// A caller may know one form of a link and no other.
		header := strings.TrimSuffix(strings.TrimPrefix(l.header.Get("Link"), "<"), `>; rel="next"`)
		if l.Next != l.Links["next"].Href || header != l.Next {
			t.Errorf("next is %q, %q and %q", l.Next, l.Links["next"].Href, header)
		}
		path = strings.TrimPrefix(l.Next, h.Base)
		// Messages that come in while somebody pages shift nothing.
		if _, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(paged, whole) {
		t.Errorf("by pages\ngot  %v\nwant %v", paged, whole)
	}
}

func TestInboxNamesProvidersThatAreMissing(t *testing.T) {
	t.Parallel()
	h := open(t, add("callers:\n  - {name: legacy, networks: [127.0.0.2/32], partial: false}\n"+
		"  - {name: rest, networks: [127.0.0.0/8]}\n"))
	// The simulator has one in maintenance, one to come and one that is gone.
	l := h.list(t, inboxPath)
	if l.missing() != "utilities;reason=maintenance" || l.Total != nil {
		t.Fatalf("missing: %q, totalItems %v", l.missing(), l.Total)
	}
	if n := len(h.sim.RequestsTo("provider:utilities")); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	// A caller that cannot do with a part gets none, whatever it asks for.
	for _, path := range []string{inboxPath, inboxPath + "?partial=true", summaryPath} {
		if doc := h.as("127.0.0.2", "GET", path).want(t, 503).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]),
			"utilities (maintenance)") {
			t.Errorf("%s: %v", path, doc)
		}
	}
	eventually(t, "both are counted", func() bool {
		return slices.ContainsFunc(h.lately().Routes, func(r activity.Series) bool {
			return r.Name == "ebox-inbox" && r.Window.Requests == 4 && r.Window.Incomplete == 1 && r.Window.GatewayErrors == 3
		})
	})
	h.fault(simulator.Fault{Upstream: "provider:regional", Kind: simulator.FaultTruncate, Bytes: 100, Count: 1})
	if l := h.list(t, inboxPath+"?readStatus=false"); l.missing() !=
		"regional;reason=cut-short, utilities;reason=maintenance" {
		t.Errorf("a list that is cut: missing are %q", l.missing())
	}
	// An open circuit is named too, and nobody is called.
	h.fault(simulator.Fault{Upstream: "provider:regional", Kind: simulator.FaultReset})
	eventually(t, "the circuit to open", func() bool {
		l = h.list(t, inboxPath, "Cache-Control: no-cache")
		return l.missing() == "regional;reason=circuit-open, utilities;reason=maintenance"
	})
	if l.Incomplete[0].Problem["status"] != float64(503) || len(l.Items) != 25 {
		t.Errorf("%+v", l)
	}
}

func TestInboxMethodsAndPaths(t *testing.T) {
	t.Parallel()
	h := build(t, add("callers:\n  - {name: mandates, networks: [127.0.0.3], routes: [grant-citizen]}\n"+
		"  - {name: one, networks: [127.0.0.2], routes: [ebox], enterprises: ['0206731645']}\n"+
		"  - {name: all, networks: [127.0.0.1], own: true}\n"))
	eventually(t, "the list of Document Providers", func() bool {
		return h.as("127.0.0.2", "GET", inboxPath).status == 200
	})
	h.as("127.0.0.3", "GET", inboxPath).want(t, 403)
	h.as("127.0.0.2", "GET", "/enterprises/"+another+"/ebox/messages").want(t, 403)
	for path, allow := range map[string]string{inboxPath: "GET, HEAD, PATCH, OPTIONS",
		summaryPath: "GET, HEAD, OPTIONS"} {
		for method, status := range map[string]int{"OPTIONS": 204, "POST": 405} {
			if got := h.send(method, path, nil).want(t, status).header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow: %s", method, path, got)
			}
		}
	}
	for path, status := range map[string]int{
		"/ebox/messages":                               400, // for nobody
		"/enterprises/0800002352/ebox/messages":        403, // not listed
		inboxPath + "?page=2&pageSize=501":             400, // too deep, and too many
		"/enterprises/own/ebox/messages?pageSize=1":    200, // the office's own
		"/enterprises/" + mandated + "/ebox/messages/": 404,
	} {
		h.get(path).want(t, status)
	}
}

func TestInboxIsExplained(t *testing.T) {
	t.Parallel()
	h := open(t)
	x, err := explain.Explain(t.Context(), h.Gateway.View(), explain.Request{Method: "GET", Target: inboxPath,
		From: netip.MustParseAddr("127.0.0.1")})
	if err != nil || !slices.Equal(x.Rows[1:], []explain.Row{{Name: "route", Value: "ebox-inbox"},
		{Name: "action", Value: "list"}, {Name: "enterprise", Value: "0206731645"},
		{Name: "asks", Value: "nsso, regional; not asked: utilities (maintenance)"}}) {
		t.Errorf("%+v %v", x, err)
	}
	if n := len(h.sim.RequestsTo("provider:nsso")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestInboxShowsAChangeAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 2 { // the second is answered from what is kept, if the provider says so
		if l := h.list(t, inboxPath+"?visible=true&pageSize=2"); l.Items[0].ID != simulator.FirstMessage ||
			l.Items[0].Provider != "nsso" {
			t.Fatalf("%v", l.keys())
		}
	}
	got := h.send("PATCH", inboxPath, strings.NewReader(
		`{"items":[{"providerId":"nsso","messageId":"1000001","visible":false},
		{"providerId":"utilities","messageId":"1000001","visible":false},
		{"providerId":"regional","messageId":"nothing","visible":false}]}`), mergePatch).want(t, 207)
	for _, outcome := range []string{`"nsso","status":200,`, `"utilities","status":503,`, `"regional","status":404,`} {
		if !strings.Contains(got.body, `{"providerId":`+outcome) {
			t.Errorf("no %s in %s", outcome, got.body)
		}
	}
	if l := h.list(t, inboxPath+"?visible=true&pageSize=2"); l.Items[0].Provider != "regional" {
		t.Errorf("the message is still there: %v", l.keys())
	}
	h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"providerId":"retired","messageId":"1"}]}`),
		mergePatch).want(t, 400)
}

// One that the configuration knows is asked.
func TestInboxBeforeTheRegistryHasGivenAList(t *testing.T) {
	t.Parallel()
	sim := lab.Simulator(t, simulator.Options{})
	h := before(t, sim, edit("/messageRegistries\n", "/nowhere\n"), providerAt(sim.ProviderURL("nsso")))
	if l := h.list(t, inboxPath); len(l.Items) == 0 || l.missing() != "*;reason=registry" || l.Total != nil {
		t.Errorf("%d messages, missing %q", len(l.Items), l.missing())
	}
}
