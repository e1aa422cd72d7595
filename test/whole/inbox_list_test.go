package whole_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
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
	providers := habits()
	h := open(t, startRegistries(t, providers...))
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
	a, b := &registryOfMail{id: "nsso"}, &registryOfMail{id: "other", v2: true}
	h := open(t, startRegistries(t, a, b))
	h.list(t, inboxPath+
		"?q=loon%26x&qlang=nl&messageTypeId=t1&senderOrganizationId=o&senderApplicationId=a&readStatus=false&visible=true&registeredMail=false"+
		"&receivedBefore=2026-11-20T23:30:00%2B01:00&receivedAfter=2026-01-01&expiredBefore=2030-01-01&expiredAfter=2026-11-20T10:00:00Z&future=1&future=2&partial=true")
	const want = "expiredAfter=2026-11-19&expiredBefore=2030-01-01&future=1&future=2&messageTypeId=t1&page=1&pageSize=25&q=loon%26x&qlang=nl&readStatus=false" +
		"&receivedAfter=2026-01-01&receivedBefore=2026-11-22&registeredMail=false&senderApplicationId=a&senderOrganizationId=o&visible=true"
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
