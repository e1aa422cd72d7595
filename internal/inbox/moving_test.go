package inbox_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/testkit"
)

// What docs/inbox.md and the API say, and how many pages in a row may bring nothing new.
const largestPage, mostRestarts, mostRepeats = 100, 2, 3

// noon is the latest date of a message that is there from the beginning.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// letter is a message of a mailbox.
type letter struct {
	provider, id string
	received     time.Time
	late         bool // it came in after the first page was given
}

// before is the order of the list over all providers.
func (a *letter) before(b *letter) int {
	return cmp.Or(b.received.Compare(a.received), strings.Compare(a.provider, b.provider))
}

// change is what happens to a mailbox before it is asked for the nth time.
type change struct {
	ask    int
	arrive int   // so many come in
	leave  []int // these go away, by their place
}

// mailbox is a provider whose messages move while its list is read.
type mailbox struct {
	id     string
	limit  int  // the most messages of a page
	counts bool // gives totalItems
	links  bool // gives links from page to page
	v2     bool // has no problems, other dates, and ids that are numbers
	gone   bool // a page without messages is a 404

	letters []*letter // newest first
	began   []*letter // those that there were when its first page was given last
	changes []change
	asks    int
	arrived int
	clock   *atomic.Int64 // dates what comes in, at whichever of them
	shrunk  int           // how often the list became shorter
	moved   bool
}

// drawMailbox draws one with as much of everything as the properties can bear: a
// provider that neither counts nor links cannot be told from one that gives the same
// page for ever if mostRepeats pages of messages come in.
func drawMailbox(t *rapid.T, id string, moves bool) *mailbox {
	m := &mailbox{
		id: id, limit: rapid.IntRange(1, 12).Draw(t, "limit"), counts: rapid.Bool().Draw(t, "counts"),
		links: rapid.Bool().Draw(t, "links"),
		v2:    rapid.Bool().Draw(t, "v2"), gone: rapid.Bool().Draw(t, "gone"),
	}
	at := noon
	for n := range rapid.IntRange(0, 30).Draw(t, "letters") {
		at = at.Add(-time.Duration(rapid.SampledFrom([]int{0, 1, 1, 7200}).Draw(t, "gap")) * time.Second)
		m.letters = append(m.letters, &letter{provider: id, id: strconv.Itoa(1000 + n), received: at})
	}
	spare := mostRepeats - 1 // on pages of one
	if m.counts || m.links {
		spare *= m.limit
	}
	places := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 4)
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		c := change{ask: rapid.IntRange(2, 12).Draw(t, "ask"), arrive: rapid.IntRange(0, min(spare, 6)).Draw(t, "arrive")}
		spare -= c.arrive
		if moves {
			c.leave = places.Draw(t, "leave")
		}
		m.changes = append(m.changes, c)
	}
	return m
}

// listed gives what a query selects.
func (m *mailbox) listed(q url.Values) []*letter { return listedOf(m.letters, q) }

func listedOf(letters []*letter, q url.Values) (list []*letter) {
	for _, l := range letters {
		if !q.Has("receivedBefore") || l.received.Before(dayOf(q.Get("receivedBefore"))) {
			list = append(list, l)
		}
	}
	return list
}

// dayOf reads a date as providers do, and a moment as the gateway does.
func dayOf(s string) time.Time {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// move makes the changes that are due.
func (m *mailbox) move(q url.Values) {
	for _, c := range m.changes {
		if c.ask != m.asks {
			continue
		}
		before := len(m.listed(q))
		for _, place := range c.leave {
			if place < len(m.letters) {
				m.letters = slices.Concat(m.letters[:place], m.letters[place+1:])
			}
		}
		if len(m.listed(q)) < before {
			m.shrunk++
		}
		for range c.arrive {
			m.arrived++
			m.letters = slices.Concat([]*letter{{provider: m.id, id: strconv.Itoa(5000 + m.arrived),
				received: noon.Add(time.Duration(m.clock.Add(1)) * time.Second), late: true}}, m.letters)
		}
		m.moved = true
	}
}

func (m *mailbox) answer(raw string) *inbox.Answer {
	q, err := url.ParseQuery(raw)
	if err != nil {
		panic(err)
	}
	m.asks++
	m.move(q)
	page, _ := strconv.Atoi(q.Get("page"))
	if page == 1 {
		m.began = m.letters
	}
	size, _ := strconv.Atoi(q.Get("pageSize"))
	size = min(size, m.limit)
	all := m.listed(q)
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	if m.gone && page > 1 && from == to {
		body, kind := `{"type":"about:blank","title":"Not Found","status":404}`, "application/problem+json"
		if m.v2 {
			body, kind = `{"id":"1","code":"NOT_FOUND"}`, "application/json"
		}
		return answering(http.StatusNotFound, kind, body)()
	}
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i, l := range all[from:to] {
		if i > 0 {
			b.WriteByte(',')
		}
		if m.v2 {
			fmt.Fprintf(&b, `{"messageId":%s,"receiptDate":%q}`, l.id,
				l.received.In(time.FixedZone("", 3600)).Format("2006-01-02T15:04:05.000Z0700"))
		} else {
			fmt.Fprintf(&b, `{"messageId":%q,"receiptDate":%q}`, l.id, l.received.Format(time.RFC3339))
		}
	}
	b.WriteByte(']')
	if m.counts {
		fmt.Fprintf(&b, `,"totalItems":%d`, len(all))
	}
	if m.links {
		b.WriteString(`,"_links":{"first":{"href":"x"}`)
		if to < len(all) {
			q.Set("page", strconv.Itoa(page+1))
			q.Set("pageSize", strconv.Itoa(size))
			fmt.Fprintf(&b, `,"next":{"href":"https://p.example/ebox/messages?%s"}`, q.Encode())
		}
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return says(b.String())()
}

// mailboxes are the providers of one enterprise. Each is asked by one goroutine.
type mailboxes map[string]*mailbox

func (a mailboxes) Ask(_ context.Context, r *inbox.Request) (*inbox.Answer, error) {
	return a[r.Provider].answer(r.Query), nil
}

// drawn draws up to three of them, with a round that asks them.
func drawn(t *rapid.T, moves bool) (mailboxes, *inbox.Round) {
	boxes := make(mailboxes)
	ids := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "providers")]
	clock := new(atomic.Int64)
	for _, id := range ids {
		boxes[id] = drawMailbox(t, id, moves)
		boxes[id].clock = clock
	}
	return boxes, roundOf(boxes, ids...)
}

// shown is one page that the gateway gave, with what there was to give.
type shown struct {
	listed
	letters []*letter
	full    bool
	missing map[string]bool
	// was and is are what the query selects, in order, when the reading was begun last and after it.
	was, is []*letter
}

// look asks for a page and holds it against all that is true of one page.
func (a mailboxes) look(t *rapid.T, round *inbox.Round, query string) *shown {
	values, err := url.ParseQuery(query)
	testkit.Must(t, err)
	q := queryOf(t, query)
	skip, _ := strconv.Atoi(values.Get("skip"))
	last := skip + q.Page*q.PageSize // the position of the page's last message
	s := &shown{missing: make(map[string]bool)}
	asks, arrived := make(map[string]int), make(map[string]int)
	for id, m := range a {
		asks[id], arrived[id] = m.asks, m.arrived
		m.moved, m.shrunk = false, 0
	}
	result, err := round.List(t.Context(), q, "http://localhost/ebox/messages")
	switch {
	case err != nil && len(result.Missing) == len(a): // nobody has anything to give
	case err != nil:
		t.Fatal(err)
	default:
		if err := json.Unmarshal(result.Body, &s.listed); err != nil {
			t.Fatalf("%v in %s", err, result.Body)
		}
	}
	s.full = len(s.Items) == q.PageSize
	for _, m := range result.Missing {
		s.missing[m.Provider] = true
	}
	shrunk := 0
	for _, m := range a {
		s.was, s.is = append(s.was, listedOf(m.began, values)...), append(s.is, m.listed(values)...)
		shrunk += m.shrunk
	}
	slices.SortStableFunc(s.was, (*letter).before)
	for id, m := range a {
		size := min(last, largestPage, m.limit)
		most := (mostRestarts + 1) * ((last+m.arrived+len(m.letters))/size + mostRepeats)
		if n := m.asks - asks[id]; n < 1 || n > most {
			t.Fatalf("%s was asked %d times for %d messages, %d a page", id, n, last, size)
		}
		if shrunk <= mostRestarts && m.arrived-arrived[id] < mostRepeats*size && s.missing[id] {
			t.Fatalf("%s is named for a list that became shorter %d times: %s", id, m.shrunk, result.Body)
		}
	}
	for _, item := range s.Items {
		i := slices.IndexFunc(s.was, func(w *letter) bool {
			return w.provider == item.Provider && w.id == fmt.Sprint(item.ID)
		})
		if i < 0 {
			t.Fatalf("%v of %s was not there when the list was begun: %s", item.ID, item.Provider, result.Body)
		}
		if slices.Contains(s.letters, s.was[i]) {
			t.Fatalf("%v of %s is there twice: %s", item.ID, item.Provider, result.Body)
		}
		s.letters = append(s.letters, s.was[i])
	}
	certain := slices.DeleteFunc(slices.Clone(s.letters), func(l *letter) bool {
		return a[l.provider].shrunk > 0 && !a[l.provider].counts
	})
	if !slices.IsSortedFunc(certain, (*letter).before) {
		t.Fatalf("not newest first: %s", result.Body)
	}
	a.checkTotal(t, s)
	return s
}

// stays reports whether a letter is there after the reading as well.
func (s *shown) stays(w *letter) bool {
	return slices.ContainsFunc(s.is, func(l *letter) bool { return l.provider == w.provider && l.id == w.id })
}

func (a mailboxes) checkTotal(t *rapid.T, s *shown) {
	if s.Total == nil {
		return
	}
	moved, least := false, 0 // the fewest that there always were
	for _, m := range a {
		moved = moved || m.moved
	}
	for _, w := range s.was {
		if m := a[w.provider]; s.stays(w) && (m.counts || m.shrunk == 0) {
			least++
		}
	}
	if !moved {
		least = len(s.was)
	}
	if n := int(*s.Total); len(s.missing) > 0 || n < least || n > len(s.was) {
		t.Fatalf("totalItems %d of %d to %d, and %v missing", n, least, len(s.was), s.missing)
	}
}

// beginsTheList checks that a first page lacks nothing in silence.
func (s *shown) beginsTheList(t *rapid.T, boxes mailboxes) {
	for _, w := range s.was {
		if s.full && w.before(s.letters[len(s.letters)-1]) >= 0 {
			continue // behind the page, or beside its last message
		}
		if m := boxes[w.provider]; !slices.Contains(s.letters, w) && s.stays(w) && !s.missing[w.provider] &&
			(m.counts || m.shrunk == 0) {
			t.Fatalf("%s of %s was there all along and is not on the page", w.id, w.provider)
		}
	}
}

// next is the query of the link next, empty at the end.
func (s *shown) next() string {
	_, query, _ := strings.Cut(s.Links["next"].Href, "?")
	return query
}

// What is on the first page is the beginning of the list, whatever goes away while it is read;
// and whoever follows the link next to its end has every message once, in order. Positions
// count from the newest message over all providers, so those that go away make the pages
// pass over as many at most; and after a page that lacks something all is open. Of a provider
// that does not count nobody can know what has slipped.
func TestThePagesOfAListThatMovesGiveEachMessageOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		boxes, round := drawn(t, rapid.Bool().Draw(t, "shrinks"))
		size := rapid.IntRange(1, 40).Draw(t, "pageSize")
		var first, all []*letter
		open := false
		pages := 0
		for query := fmt.Sprintf("pageSize=%d", size); query != ""; pages++ {
			s := boxes.look(t, round, query)
			if pages == 0 {
				first = s.was
				for _, w := range first {
					w.late = false // it was there when the reading was begun
				}
				s.beginsTheList(t, boxes)
			}
			all = append(all, s.letters...)
			open = open || len(s.missing) > 0
			for _, m := range boxes {
				open = open || m.shrunk > 0 && !m.counts
			}
			query = s.next()
			if pages > len(first)/size+1 {
				t.Fatalf("after %d pages it goes on with %s", pages, query)
			}
		}
		if open {
			return
		}
		for i, l := range all {
			if i > 0 && all[i-1].before(l) > 0 ||
				slices.ContainsFunc(all[:i], func(o *letter) bool { return o.provider == l.provider && o.id == l.id }) {
				t.Fatalf("%s of %s, at %d, is out of order or there again", l.id, l.provider, i)
			}
			if l.late {
				t.Fatalf("%s of %s, at %d, came in after the first page", l.id, l.provider, i)
			}
		}
		left := 0
		for _, m := range boxes {
			for _, l := range m.letters {
				if !l.late {
					left++
				}
			}
		}
		if gone := len(first) - left; len(all) < len(first)-gone-gone {
			t.Fatalf("%d of %d messages on %d pages, and %d went away", len(all), len(first), pages, gone)
		}
	})
}

// moving gives a list of one provider that is read while it moves: its ids, what it says
// beside them, and what is missing.
func moving(t *testing.T, m *mailbox, letters int, query string) (ids []string, l listed, missing string) {
	t.Helper()
	m.id, m.counts, m.clock = "p", true, new(atomic.Int64)
	for n := range letters {
		m.letters = append(m.letters, &letter{provider: "p", id: strconv.Itoa(n),
			received: noon.Add(-time.Duration(n) * time.Second)})
	}
	r, l := listOf(t, roundOf(mailboxes{"p": m}, "p"), query)
	return l.ids(), l, inbox.HeaderOf(r.Missing)
}

// What a provider counts on its second page is one more than the list has that was begun
// with the first; and with a moment to cut at, what came in cannot be told from the rest.
func TestACountOfAListThatMovedIsNotGiven(t *testing.T) {
	const cut = "&receivedBefore=2026-11-20T11:59:5"
	for _, c := range []struct {
		query string
		limit int
		change
		counted int // -1 for no count
	}{
		{"pageSize=4", 3, change{ask: 2, arrive: 1}, -1},
		{"pageSize=4" + cut + "9Z", 3, change{ask: 2, arrive: 3}, -1},
		{"pageSize=3", 2, change{ask: 2, leave: []int{0}}, 8}, // the list is begun anew
		// One that is cut out goes away for one that comes in, so that the count stays.
		{"pageSize=1" + cut + "8Z", 2, change{ask: 2, arrive: 1, leave: []int{2}}, -1},
		{"pageSize=9", 3, change{ask: 2, arrive: 1}, 9}, // all nine were read
	} {
		m := &mailbox{limit: c.limit, changes: []change{c.change}}
		ids, l, missing := moving(t, m, 9, c.query)
		counted := -1
		if l.Total != nil {
			counted = int(*l.Total)
		}
		if counted != c.counted || missing != "" {
			t.Errorf("%s: %q and a count of %d, missing %q", c.query, ids, counted, missing)
		}
	}
}

func TestAProviderThatCountsTooManyIsReadToItsEnd(t *testing.T) {
	page := `{"items":[{"messageId":"0","receiptDate":"2026-11-20T12:00:00Z"}],"totalItems":5}`
	asker := &scripted{answers: []string{page, "404", page, "404"}}
	if r, l := listOf(t, roundOf(asker, "p"), ""); len(r.Missing) > 0 || len(asker.answers) > 0 || len(l.Items) != 1 ||
		l.Total == nil || *l.Total != 1 {
		t.Errorf("%s, %d answers left", r.Body, len(asker.answers))
	}
}
