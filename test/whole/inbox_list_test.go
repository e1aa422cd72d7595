package whole_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/operate/explain"
	"ebox-gateway/internal/simulator"
)

const (
	inboxPath   = "/enterprises/" + mandated + "/ebox/messages"
	summaryPath = "/enterprises/" + mandated + "/ebox"
)

// merged is the list as a program would make it that has all messages in memory.
func merged(providers []*registryOfMail) []string {
	type entry struct {
		provider string
		mail     mail
	}
	var all []entry
	for _, p := range providers {
		for _, m := range p.mails {
			all = append(all, entry{p.id, m})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(b.mail.received.Compare(a.mail.received), strings.Compare(a.provider, b.provider))
	})
	keys := make([]string, len(all))
	for i, e := range all {
		keys[i] = e.provider + "/" + e.mail.id
	}
	return keys
}

// habits are four providers no two of which are alike.
func habits() []*registryOfMail {
	return []*registryOfMail{
		{id: "nsso", limit: 100, counts: true, links: true, plain: true, layout: time.RFC3339Nano},
		{id: "brief", limit: 7, counts: true, layout: "2006-01-02T15:04:05Z07:00"},
		{id: "linked", limit: 10, links: true, plain: true, layout: "2006-01-02T15:04:05.000-0700"},
		{id: "silent", limit: 30, v2: true, layout: "2006-01-02T15:04:05"},
	}
}

// The lists that move in every way are in package inbox.
func TestInboxIsTheMergedListOfAllProviders(t *testing.T) {
	t.Parallel()
	providers := habits()
	h := open(t, startRegistries(t, providers...))
	newestOfAll := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for seed := range uint64(4) {
		chance := rand.New(rand.NewPCG(seed, seed))
		for _, p := range providers {
			mails := make([]mail, chance.IntN(30))
			for i := range mails {
				// Few moments, so that many messages share one, over two days.
				mails[i] = mail{id: fmt.Sprint(i), received: newestOfAll.Add(-time.Duration(chance.IntN(40)) * time.Hour)}
			}
			p.put(mails)
		}
		want, size := merged(providers), 4+chance.IntN(36)
		var got []string
		arrivals := 0
		for path := fmt.Sprintf("%s?pageSize=%d", inboxPath, size); path != ""; {
			l := h.list(t, path)
			if len(l.Incomplete) > 0 || len(l.Items) > size {
				t.Fatalf("%d messages on a page of %d, missing %q", len(l.Items), size, l.missing())
			}
			got = append(got, l.keys()...)
			if path = l.link(t, h, "next"); path != "" && len(l.Items) == 0 {
				t.Fatalf("an empty page leads on to %s", path)
			}
			// Messages that come in while somebody pages shift nothing.
			arrivals++
			p := providers[chance.IntN(len(providers))]
			p.put(append([]mail{{id: fmt.Sprintf("new %d", arrivals),
				received: newestOfAll.Add(time.Duration(arrivals) * time.Second)}}, p.mails...))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: by pages of %d\ngot  %v\nwant %v", seed, size, got, want)
		}
	}
}

func TestInboxGoesOnBeyondItsDeepestPage(t *testing.T) {
	t.Parallel()
	providers := []*registryOfMail{{id: "nsso", counts: true}, {id: "other", limit: 60, links: true}}
	h := open(t, startRegistries(t, providers...))
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i, p := range providers {
		var mails []mail
		for n := range 550 {
			// Around the thousandth message many are of one moment.
			mails = append(mails, mail{id: fmt.Sprint(n), received: base.Add(-time.Duration((n+i)/90) * time.Hour)})
		}
		p.put(mails)
	}
	var got []string
	pages := 0
	for path := inboxPath + "?pageSize=100"; path != ""; pages++ {
		l := h.list(t, path)
		got = append(got, l.keys()...)
		path = l.link(t, h, "next")
	}
	if want := merged(providers); !slices.Equal(got, want) || pages != 11 {
		t.Errorf("%d messages on %d pages, want %d on 11", len(got), pages, len(want))
	}
}

func TestInboxFiltersGoToEveryProvider(t *testing.T) {
	t.Parallel()
	a, b := &registryOfMail{id: "nsso"}, &registryOfMail{id: "other", v2: true}
	h := open(t, startRegistries(t, a, b))
	h.list(t, inboxPath+
		"?q=loon%26x&qlang=nl&messageTypeId=t1&senderOrganizationId=o&senderApplicationId=a&readStatus=false"+
		"&visible=true&registeredMail=false&receivedBefore=2026-11-20T23:30:00%2B01:00&receivedAfter=2026-01-01"+
		"&expiredBefore=2030-01-01&expiredAfter=2026-11-20T10:00:00Z&future=1&future=2&partial=true")
	const want = "expiredAfter=2026-11-19&expiredBefore=2030-01-01&future=1&future=2&messageTypeId=t1&page=1" +
		"&pageSize=25&q=loon%26x&qlang=nl&readStatus=false&receivedAfter=2026-01-01&receivedBefore=2026-11-22" +
		"&registeredMail=false&senderApplicationId=a&senderOrganizationId=o&visible=true"
	for _, p := range []*registryOfMail{a, b} {
		// A moment is asked for as a day that begins after it, wherever the provider is.
		got := p.seen()
		if len(got) != 1 || got[0].query.Encode() != want {
			t.Errorf("%s was asked %v\nwant %s", p.id, got[0].query.Encode(), want)
		}
		if got[0].enterprise != "0206731645" || got[0].header.Get("Accept") != "application/json" {
			t.Errorf("%s: %v", p.id, got[0].header)
		}
	}
}

// A caller may know one form of a page and no other: all of them lead through the list.
func TestInboxIsPagedInEveryForm(t *testing.T) {
	t.Parallel()
	h := open(t)
	seen := 0
	for path := inboxPath + "?pageSize=20"; path != ""; {
		a := h.get(path).want(t, 200)
		var l listed
		if err := json.Unmarshal([]byte(a.body), &l); err != nil {
			t.Fatal(err)
		}
		seen += len(l.Items)
		header := strings.TrimSuffix(strings.TrimPrefix(a.header.Get("Link"), "<"), `>; rel="next"`)
		if path = l.link(t, h, "next"); l.Next != l.Links["next"].Href || header != l.Next {
			t.Errorf("next is %q, %q and %q", l.Next, l.Links["next"].Href, header)
		}
	}
	if seen < 50 {
		t.Errorf("only %d messages were seen", seen)
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
		if got := h.send("OPTIONS", path, nil).want(t, 204).header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow: %s", path, got)
		}
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if got := h.send(method, path, nil).want(t, 405).header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow: %s", method, path, got)
			}
		}
	}
	h.send("PATCH", summaryPath, strings.NewReader("{}"), mergePatch).want(t, 405)
	for path, instead := range map[string]string{
		inboxPath + "/1000001":                 "/ebox/providers/{providerId}",
		inboxPath + "/1/attachments/1/content": "/ebox/providers/{providerId}",
		inboxPath + "/":                        "use " + inboxPath + ".",
	} {
		if doc := h.get(path).want(t, 404).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]), instead) {
			t.Errorf("%s: %v", path, doc)
		}
	}
	h.get("/ebox/messages").want(t, 400)                            // for nobody
	h.get("/enterprises/0474028804/ebox/messages").want(t, 400)     // a wrong check digit
	h.get("/enterprises/0800002352/ebox/messages").want(t, 403)     // not listed
	h.get(inboxPath+"?page=2&pageSize=501").want(t, 400)            // too deep, and too many
	h.get(inboxPath, "Origin: https://evil.example").want(t, 403)   // a page in a browser
	h.get(inboxPath+"?partial=false&partial=false").want(t, 400)    // said twice
	h.get("/enterprises/own/ebox/messages?pageSize=1").want(t, 200) // the office's own
}

func TestInboxIsOnlyForThoseWhoMayUseTheProviders(t *testing.T) {
	t.Parallel()
	h := build(t, edit("routes:", "callers:\n  - {name: mandates, networks: [127.0.0.0/8], routes: [grant-citizen]}\n  "+
		"- {name: ebox, networks: [127.0.0.2/32], routes: [ebox], enterprises: ['0206731645']}\nroutes:"))
	h.get(inboxPath).want(t, 403)
	c := h.dial("127.0.0.2")
	eventually(t, "the list of Document Providers", func() bool {
		c.write("GET " + inboxPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		got := c.read("GET")
		if got.status != 200 && got.status != 503 { // before there is a list
			t.Fatalf("%d %s", got.status, got.body)
		}
		return got.status == 200
	})
	c.write("GET /enterprises/0212148896/ebox/messages HTTP/1.1\r\nHost: localhost\r\n\r\n")
	c.read("GET").want(t, 403)
}

func TestInboxOfOneEnterpriseIsNeverAnothers(t *testing.T) {
	t.Parallel()
	h := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		number := []string{"0206731645", "0212148896"}[i%2]
		wg.Go(func() {
			for range 5 {
				resp, err := h.http.Get(h.base + "/enterprises/" + number + "/ebox/messages?pageSize=10")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || strings.Count(string(body), "onderneming "+number) != 10 ||
					strings.Count(string(body), "onderneming ") != 10 {
					t.Errorf("%s: %d %s", number, resp.StatusCode, body)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestInboxPollThatFindsNothingNewCostsAProviderNoBody(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.list(t, inboxPath)
	h.sim.ResetRequests()
	second := h.list(t, inboxPath)
	if fmt.Sprint(first.keys()) != fmt.Sprint(second.keys()) {
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
	a := h.get(inboxPath, "X-Actor: clerk").want(t, 200)
	id := a.header.Get("X-Request-Id")
	eventually(t, "the caller's line", func() bool { return strings.Contains(h.access.String(), `"requestId":"`+id+`"`) })
	log := h.access.String()
	if n := strings.Count(log, `"parent":"`+id+`"`); n != 2 {
		t.Errorf("%d calls have the request as parent, want 2:\n%s", n, log)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"parent":"`+id+`"`) && (!strings.Contains(line, `"actor":"clerk"`) ||
			!strings.Contains(line, `"tokenHash":"`) || !strings.Contains(line, `"enterprise":"0206731645"`)) {
			t.Errorf("%s", line)
		}
	}
}

func TestInboxIsExplained(t *testing.T) {
	t.Parallel()
	h := open(t)
	x, err := explain.Explain(t.Context(), h.gw.View(), explain.Request{Method: "GET", Target: inboxPath,
		From: netip.MustParseAddr("127.0.0.1")})
	if err != nil || x.Route != "ebox-inbox" || x.Inbox != "nsso, regional; not asked: utilities (maintenance)" ||
		x.Enterprise != "0206731645" {
		t.Errorf("%+v %v", x, err)
	}
	if n := len(h.sim.RequestsTo("provider:nsso")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
