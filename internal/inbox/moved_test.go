package inbox

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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
	return l.ids(), l, HeaderOf(r.Missing)
}

func TestAListThatMovesIsReadAsItWasWhenItWasBegun(t *testing.T) {
	for _, c := range []struct {
		name     string
		mailbox  mailbox
		letters  int
		from, to int // these of them are the list
		newest   string
	}{
		// The second page has one of them, which is newer than all that was given.
		{"two more come in than a page has", mailbox{limit: 3, changes: []change{{ask: 2, arrive: 4}}}, 9, 0, 9, "12:00:00"},
		// In these it is begun anew.
		{"one comes in and two go away",
			mailbox{limit: 3, changes: []change{{ask: 2, arrive: 1, leave: []int{0, 0}}}}, 9, 2, 9, "12:00:01"},
		// There is no third page any more, and the last three have slipped into the second.
		{"three of nine go away", mailbox{limit: 3, changes: []change{{ask: 3, leave: []int{0, 0, 0}}}}, 9, 3, 9, "11:59:57"},
		{"three of nine go away, which a 404 says",
			mailbox{limit: 3, gone: true, changes: []change{{ask: 3, leave: []int{0, 0, 0}}}}, 9, 3, 9, "11:59:57"},
		{"one goes away behind many pages", mailbox{limit: 10, changes: []change{{ask: 5, leave: []int{0}}}}, 60, 1, 60,
			"11:59:59"},
		{"it becomes shorter twice",
			mailbox{limit: 1, changes: []change{{ask: 6, leave: []int{7}}, {ask: 8, leave: []int{7}}}}, 9, 0, 7, "12:00:00"},
	} {
		ids, l, missing := moving(t, &c.mailbox, c.letters, "pageSize="+strconv.Itoa(c.letters))
		var want []string
		if c.newest > "12:00:00" {
			want = []string{"5001"} // the one that came in
		}
		for i := c.from; i < c.to; i++ {
			want = append(want, strconv.Itoa(i))
		}
		if !slices.Equal(ids, want) || missing != "" {
			t.Errorf("%s: %q, missing %q", c.name, ids, missing)
		}
		if first := l.Links["first"].Href; !strings.Contains(first, "?receivedBefore=2026-11-20T"+c.newest+".001Z&") {
			t.Errorf("%s: the list is held to %s", c.name, first)
		}
	}
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
