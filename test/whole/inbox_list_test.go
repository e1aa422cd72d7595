package whole_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/operate/explain"
	"ebox-gateway/internal/simulator"
)

const inboxPath = "/enterprises/0206731645/ebox/messages"

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

func TestInboxIsTheMergedListOfAllProviders(t *testing.T) {
	t.Parallel()
	providers := habits()
	h := open(t, startRegistries(t, providers...),
		edit("routes:", "inbox: {timeout: 1m}\nroutes:")) // a busy machine is slow
	newestOfAll := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		for _, p := range providers {
			n := rapid.IntRange(0, 30).Draw(t, p.id)
			mails := make([]mail, n)
			for i := range mails {
				// Few moments, so that many messages share one, over two days.
				age := time.Duration(rapid.IntRange(0, 40).Draw(t, "age")) * time.Hour
				mails[i] = mail{id: fmt.Sprintf("%d", i), received: newestOfAll.Add(-age)}
			}
			p.put(mails)
		}
		want := merged(providers)
		size := rapid.IntRange(4, 40).Draw(t, "pageSize")
		var got []string
		arrivals := 0
		for path := fmt.Sprintf("%s?pageSize=%d", inboxPath, size); path != ""; {
			l := h.list(t, path)
			if len(l.Incomplete) > 0 {
				t.Fatalf("%s is missing", l.missing())
			}
			if len(l.Items) > size {
				t.Fatalf("%d messages on a page of %d", len(l.Items), size)
			}
			got = append(got, l.keys()...)
			if path = l.link(t, h, "next"); path != "" && len(l.Items) == 0 {
				t.Fatalf("an empty page leads on to %s", path)
			}
			if rapid.Bool().Draw(t, "arrival") {
				// Messages that come in while somebody pages shift nothing.
				arrivals++
				p := providers[arrivals%len(providers)]
				p.put(append([]mail{{id: fmt.Sprintf("new %d", arrivals),
					received: newestOfAll.Add(time.Duration(arrivals) * time.Second)}}, p.mails...))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("by pages of %d\ngot  %v\nwant %v", size, got, want)
		}
	})
}

func TestInboxPageStandsForItself(t *testing.T) {
	t.Parallel()
	providers := habits()
	h := open(t, startRegistries(t, providers...))
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i, p := range providers {
		var mails []mail
		for n := range 50 {
			mails = append(mails, mail{id: fmt.Sprint(n), received: base.Add(-time.Duration(n*4+i) * time.Minute)})
		}
		p.put(mails)
	}
	all := merged(providers)
	for _, c := range []struct{ page, size int }{{1, 25}, {2, 25}, {3, 10}, {8, 25}, {9, 25}, {1, 100}, {2, 100},
		{200, 1}, {10, 100}} {
		l := h.list(t, fmt.Sprintf("%s?page=%d&pageSize=%d", inboxPath, c.page, c.size))
		from := min((c.page-1)*c.size, len(all))
		want := all[from:min(from+c.size, len(all))]
		if !slices.Equal(l.keys(), want) {
			t.Errorf("page %d of %d: got %v, want %v", c.page, c.size, l.keys(), want)
		}
		// Where the page ends with the list, a provider that does not count leaves it open
		// whether there is more.
		more := from+c.size < len(all)
		if _, ok := l.Links["next"]; ok != more && from+c.size != len(all) {
			t.Errorf("page %d of %d: a link to the next page: %t", c.page, c.size, ok)
		}
		if prev := l.link(t, h, "prev"); (prev != "") != (c.page > 1) {
			t.Errorf("page %d of %d: the link to the page before is %q", c.page, c.size, prev)
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
		for n := range 1100 {
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
	if want := merged(providers); !slices.Equal(got, want) || pages != 22 {
		t.Errorf("%d messages on %d pages, want %d on 22", len(got), pages, len(want))
	}
}

func TestInboxCountsWhatIsTrue(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	counting, other := &registryOfMail{id: "nsso", counts: true}, &registryOfMail{id: "other", counts: true}
	h := open(t, startRegistries(t, counting, other))
	for _, p := range []*registryOfMail{counting, other} {
		var mails []mail
		for n := range 60 {
			mails = append(mails, mail{id: fmt.Sprint(n), received: base.Add(-time.Duration(n) * time.Minute), read: n%3 == 0})
		}
		p.put(mails)
	}
	total := func(path string) string {
		if n := h.list(t, path).Total; n != nil {
			return fmt.Sprint(*n)
		}
		return "none"
	}
	for _, c := range []struct{ name, query, want string }{
		{"all", "", "120"},
		{"a later page", "?page=3", "120"},
		{"beyond the end", "?page=10", "120"},
		{"with a filter", "?readStatus=true", "40"},
		{"before a moment, which is cut out here", "?receivedBefore=2026-11-20T11:30:00.500Z", "60"},
		{"after a moment, where nobody has counted", "?receivedAfter=2026-11-20T11:29:59Z&pageSize=10", "none"},
		{"after a moment, where all have been read", "?receivedAfter=2026-11-20T11:29:59Z&pageSize=100&page=2", "62"},
	} {
		if got := total(inboxPath + c.query); got != c.want {
			t.Errorf("%s: totalItems %s, want %s", c.name, got, c.want)
		}
	}
	other.counts = false
	if got := total(inboxPath); got != "none" {
		t.Errorf("one provider does not count: totalItems %s", got)
	}
	if got := total(inboxPath + "?page=2&pageSize=80"); got != "120" {
		t.Errorf("all were read: totalItems %s, want 120", got)
	}
}

func TestInboxAsksForNoMoreThanThePageTakes(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	many, few := &registryOfMail{id: "nsso", counts: true}, &registryOfMail{id: "few", counts: true, v2: true}
	h := open(t, startRegistries(t, many, few))
	var mails []mail
	for n := range 500 {
		mails = append(mails, mail{id: fmt.Sprint(n), received: base.Add(-time.Duration(n) * time.Minute)})
	}
	many.put(mails)
	few.put([]mail{{id: "old", received: base.AddDate(0, -6, 0)}})
	for _, c := range []struct {
		query string
		many  []string
	}{
		{"", []string{"1/25"}},
		{"?pageSize=10&page=3", []string{"1/30"}},
		{"?pageSize=100", []string{"1/100"}},
		{"?pageSize=100&page=3", []string{"1/100", "2/100", "3/100"}},
	} {
		many.seen()
		few.seen()
		h.list(t, inboxPath+c.query)
		var pages []string
		for _, r := range many.seen() {
			pages = append(pages, r.query.Get("page")+"/"+r.query.Get("pageSize"))
		}
		if !slices.Equal(pages, c.many) {
			t.Errorf("%s: asked for %v, want %v", c.query, pages, c.many)
		}
		if n := len(few.seen()); n != 1 {
			t.Errorf("%s: the provider with one message was asked %d times", c.query, n)
		}
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
	forms := map[string]func(answer, *listed) string{
		"plain": func(_ answer, l *listed) string { return l.Next },
		"HAL":   func(_ answer, l *listed) string { return l.Links["next"].Href },
		"header": func(a answer, _ *listed) string {
			return strings.TrimSuffix(strings.TrimPrefix(a.header.Get("Link"), "<"), `>; rel="next"`)
		},
	}
	want := 0
	for name, next := range forms {
		t.Run(name, func(t *testing.T) {
			seen, target := make(map[string]bool), inboxPath+"?pageSize=10"
			for pages := 0; target != ""; pages++ {
				if pages > 10 {
					t.Fatal("the list does not end")
				}
				a := h.get(target).want(t, 200)
				var l listed
				if err := json.Unmarshal([]byte(a.body), &l); err != nil {
					t.Fatal(err)
				}
				for _, key := range l.keys() {
					if seen[key] {
						t.Fatalf("%s comes twice", key)
					}
					seen[key] = true
				}
				if target = next(a, &l); target != "" {
					path, ours := strings.CutPrefix(target, h.base)
					if !ours {
						t.Fatalf("next leads elsewhere: %s", target)
					}
					target = path
				}
			}
			if want == 0 {
				want = len(seen)
			}
			if len(seen) != want || want < 50 {
				t.Errorf("%d messages, %d in another form", len(seen), want)
			}
		})
	}
}

func TestInboxRowCountsIncompleteAnswers(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(inboxPath).want(t, 200) // the simulator's utilities is in maintenance
	h.get(inboxPath+"?partial=false").want(t, 503)
	row := func() (requests, incomplete, failed int) {
		resp, err := h.http.Get(h.adm + "/activity")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var doc struct {
			Routes []struct {
				Name   string
				Window struct{ Requests, Incomplete, GatewayErrors int }
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		for _, r := range doc.Routes {
			if r.Name == "ebox-inbox" {
				return r.Window.Requests, r.Window.Incomplete, r.Window.GatewayErrors
			}
		}
		return 0, 0, 0
	}
	eventually(t, "both are counted", func() bool { n, _, _ := row(); return n == 2 })
	if _, incomplete, failed := row(); incomplete != 1 || failed != 1 {
		t.Errorf("%d incomplete, %d failed", incomplete, failed)
	}
}

func TestInboxLinksLeadBackInTheFormTheCallerUsed(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, c := range []struct {
		name, prefix string
		fields       []string
	}{
		{"path", "/enterprises/0206731645", nil},
		{"header", "", []string{"On-Behalf-Of-Enterprise-Number: 0206731645"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := make(map[string]bool)
			for queue := []string{c.prefix + "/ebox", c.prefix + "/ebox/messages?pageSize=20&page=2"}; len(queue) > 0 &&
				len(seen) < 60; queue = queue[1:] {
				if seen[queue[0]] {
					continue
				}
				seen[queue[0]] = true
				got := h.get(queue[0], c.fields...)
				if got.status != 200 {
					t.Errorf("%s leads to %d %s", queue[0], got.status, got.body)
					continue
				}
				for _, link := range linksIn(t, got) {
					if strings.HasPrefix(link, "https://www.belgif.be/") { // about a problem
						continue
					}
					path := strings.TrimPrefix(link, h.base)
					if !strings.HasPrefix(path, c.prefix+"/ebox") {
						t.Errorf("%s holds %s", queue[0], link)
						continue
					}
					if !strings.HasSuffix(path, "/content") { // these are for opening
						queue = append(queue, path)
					}
				}
			}
			if len(seen) < 60 {
				t.Errorf("only %d links were followed", len(seen))
			}
		})
	}
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
		"/enterprises/0206731645/ebox": "GET, HEAD, OPTIONS"} {
		if got := h.send("OPTIONS", path, nil).want(t, 204).header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow: %s", path, got)
		}
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if got := h.send(method, path, nil).want(t, 405).header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow: %s", method, path, got)
			}
		}
	}
	h.send("PATCH", "/enterprises/0206731645/ebox", strings.NewReader("{}"), mergePatch).want(t, 405)
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
			for range 10 {
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

func TestInboxTakesTheSameMemoryForALargeMailbox(t *testing.T) {
	const large = 100_000
	// One provider has pages, the other gives all that it has, whatever it is asked for.
	paged, careless := &registryOfMail{id: "nsso", counts: true}, &registryOfMail{id: "b"}
	h := open(t, startRegistries(t, paged, careless))
	paged.put(some(2000))
	filler := strings.Repeat("x", 600)
	wrote := make(chan int, 16) // how many messages of its mailbox the provider was rid of, for each call
	careless.breakDown(func(w http.ResponseWriter, _ *http.Request) bool {
		written := 0
		defer func() { wrote <- written }()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[`)
		at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		for written = range large {
			if written > 0 {
				_, _ = io.WriteString(w, ",")
			}
			if _, err := fmt.Fprintf(w, `{"messageId":"%d","receiptDate":"%s","subject":{"nl":"%s"}}`, written,
				at.Add(-time.Duration(written)*time.Second).Format(time.RFC3339), filler); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, `]}`)
		return true
	})
	read := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l := h.list(t, inboxPath+"?pageSize=100&page=10")
		if len(l.Items) != 100 || l.missing() != "" {
			t.Fatalf("%d messages, missing %q", len(l.Items), l.missing())
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	read()
	// All that is allocated, the writing of both providers included, is a fraction of the
	// seventy megabytes that the mailbox has.
	if got := read(); got > 24<<20 {
		t.Errorf("%d MB were allocated", got>>20)
	}
	for range 2 {
		if <-wrote == large-1 {
			t.Errorf("the whole mailbox was read")
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
