package whole_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/operate/explain"
	"ebox-gateway/internal/simulator"
)

const (
	inboxPath   = "/enterprises/" + mandated + "/ebox/messages"
	summaryPath = "/enterprises/" + mandated + "/ebox"
)

// Lists that move in every way, and providers of every habit, are in package inbox.
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
		path = strings.TrimPrefix(l.Next, h.base)
		// Messages that come in while somebody pages shift nothing.
		if _, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(paged, whole) {
		t.Errorf("by pages\ngot  %v\nwant %v", paged, whole)
	}
}

func TestInboxFiltersGoToEveryProvider(t *testing.T) {
	t.Parallel()
	a, b := &mailbox{id: "nsso"}, &mailbox{id: "other", v2: true}
	h := open(t, startMailboxes(t, a, b))
	h.list(t, inboxPath+
		"?q=loon%26x&qlang=nl&readStatus=false&receivedBefore=2026-11-20T23:30:00%2B01:00&receivedAfter=2026-01-01&future=1"+
		"&partial=true&pageSize=30")
	for _, m := range []*mailbox{a, b} {
		// A moment is asked for as a day that begins after it, wherever the provider is.
		const want = "future=1&page=1&pageSize=30&q=loon%26x&qlang=nl&readStatus=false&receivedAfter=2026-01-01" +
			"&receivedBefore=2026-11-22"
		got := m.seen()
		if len(got) != 1 || got[0].URL.Query().Encode() != want {
			t.Errorf("%s was asked %v\nwant %s", m.id, got[0].URL, want)
		}
		if got[0].Header.Get("On-Behalf-Of-Enterprise-Number") != mandated ||
			got[0].Header.Get("Accept") != "application/json" {
			t.Errorf("%s: %v", m.id, got[0].Header)
		}
	}
}

func TestInboxRowCountsIncompleteAnswers(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(inboxPath).want(t, 200) // the simulator's utilities is in maintenance
	h.get(inboxPath+"?partial=false").want(t, 503)
	eventually(t, "both are counted", func() bool {
		return slices.ContainsFunc(h.lately().Routes, func(r activity.Series) bool {
			return r.Name == "ebox-inbox" && r.Window.Requests == 2 && r.Window.Incomplete == 1 && r.Window.GatewayErrors == 1
		})
	})
}

func TestInboxMethods(t *testing.T) {
	t.Parallel()
	h := open(t)
	whole := h.get(inboxPath+"?pageSize=5").want(t, 200)
	head := h.send("HEAD", inboxPath+"?pageSize=5", nil).want(t, 200)
	if head.body != "" || head.header.Get("Content-Length") != whole.header.Get("Content-Length") ||
		head.header.Get("X-EBox-Incomplete") == "" {
		t.Errorf("HEAD: %v %q", head.header, head.body)
	}
	for path, allow := range map[string]string{inboxPath: "GET, HEAD, PATCH, OPTIONS",
		summaryPath: "GET, HEAD, OPTIONS"} {
		for method, status := range map[string]int{"OPTIONS": 204, "POST": 405} {
			if got := h.send(method, path, nil).want(t, status).header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow: %s", method, path, got)
			}
		}
	}
	for path, instead := range map[string]string{
		inboxPath + "/1000001": "/ebox/providers/{providerId}", inboxPath + "/": "use " + inboxPath + ".",
	} {
		if doc := h.get(path).want(t, 404).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]), instead) {
			t.Errorf("%s: %v", path, doc)
		}
	}
	h.get("/ebox/messages").want(t, 400)                            // for nobody
	h.get("/enterprises/0800002352/ebox/messages").want(t, 403)     // not listed
	h.get(inboxPath+"?page=2&pageSize=501").want(t, 400)            // too deep, and too many
	h.get(inboxPath, "Origin: https://evil.example").want(t, 403)   // a page in a browser
	h.get("/enterprises/own/ebox/messages?pageSize=1").want(t, 200) // the office's own
}

func TestInboxIsOnlyForThoseWhoMayUseTheProviders(t *testing.T) {
	t.Parallel()
	h := build(t, add("callers:\n  - {name: mandates, networks: [127.0.0.0/8], routes: [grant-citizen]}\n"+
		"  - {name: ebox, networks: [127.0.0.2/32], routes: [ebox], enterprises: ['0206731645']}\n"))
	eventually(t, "the list of Document Providers", func() bool {
		return h.as("127.0.0.2", "GET", inboxPath).status == 200
	})
	h.get(inboxPath).want(t, 403)
	h.as("127.0.0.2", "GET", "/enterprises/0212148896/ebox/messages").want(t, 403)
}

func TestInboxPollThatFindsNothingNewCostsAProviderNoBody(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.list(t, inboxPath)
	h.sim.ResetRequests()
	second := h.list(t, inboxPath)
	if !slices.Equal(first.keys(), second.keys()) {
		t.Errorf("%v, then %v", first.keys(), second.keys())
	}
	for _, id := range []string{"nsso", "regional"} {
		if r := h.sim.RequestsTo(simulator.ProviderUpstream(id)); len(r) != 1 || r[0].Status != http.StatusNotModified {
			t.Errorf("%s answered %+v", id, r)
		}
	}
}

func TestInboxRecordsEachCallBesideTheCallersOwn(t *testing.T) {
	t.Parallel()
	h := open(t)
	id := h.get(inboxPath, "X-Actor: clerk").want(t, 200).header.Get("X-Request-Id")
	eventually(t, "the caller's line", func() bool { return strings.Contains(h.access.String(), `"requestId":"`+id+`"`) })
	parts := 0
	for line := range strings.Lines(h.access.String()) {
		if !strings.Contains(line, `"parent":"`+id+`"`) {
			continue
		}
		parts++
		if !strings.Contains(line, `"actor":"clerk"`) || !strings.Contains(line, `"tokenHash":"`) ||
			!strings.Contains(line, `"enterprise":"0206731645"`) {
			t.Errorf("%s", line)
		}
	}
	if parts != 2 {
		t.Errorf("%d calls have the request as parent, want 2", parts)
	}
}

func TestInboxIsExplained(t *testing.T) {
	t.Parallel()
	h := open(t)
	x, err := explain.Explain(t.Context(), h.gw.View(), explain.Request{Method: "GET", Target: inboxPath,
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
