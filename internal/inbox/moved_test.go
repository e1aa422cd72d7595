package inbox

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// moving gives a list of one provider that is read while it moves: its ids, what it says
// beside them, and what is missing.
func moving(t *testing.T, m *mailbox, letters int, query string) (ids []string, l listed, missing string) {
	t.Helper()
	m.id, m.counts = "p", true
	for n := range letters {
		m.letters = append(m.letters, &letter{provider: "p", id: strconv.Itoa(n),
			received: noon.Add(-time.Duration(n) * time.Second)})
	}
	r, l := listOf(t, roundOf(mailboxes{"p": m}, "p"), query)
	return l.ids(), l, HeaderOf(r.Missing)
}

func TestAListThatMovesIsReadAsItWas(t *testing.T) {
	for _, c := range []struct {
		name    string
		mailbox mailbox
		letters int
		whole   int // so many of them, from the newest on, are the list
	}{
		// The second page has one of them, which is newer than all that was given.
		{"two more come in than a page has", mailbox{limit: 3, changes: []change{{ask: 2, arrive: 4}}}, 9, 9},
		{"one goes away as well, so that the first page is read again",
			mailbox{limit: 3, changes: []change{{ask: 2, arrive: 1, leave: []int{1, 1}}}}, 9, 9},
		// There is no third page any more, and the last three have slipped into the second.
		{"three of nine go away", mailbox{limit: 3, changes: []change{{ask: 3, leave: []int{0, 0, 0}}}}, 9, 9},
		{"three of nine go away, which a 404 says",
			mailbox{limit: 3, gone: true, changes: []change{{ask: 3, leave: []int{0, 0, 0}}}}, 9, 9},
		// The pages in front of it bring nothing new when they are read again.
		{"one goes away behind many pages", mailbox{limit: 10, changes: []change{{ask: 5, leave: []int{0}}}}, 60, 60},
		// The second time is noticed on a page that is read again.
		{"it becomes shorter twice",
			mailbox{limit: 1, changes: []change{{ask: 6, leave: []int{7}}, {ask: 8, leave: []int{7}}}}, 9, 7},
	} {
		ids, l, missing := moving(t, &c.mailbox, c.letters, "pageSize="+strconv.Itoa(c.letters))
		var want []string
		for i := range c.whole {
			want = append(want, strconv.Itoa(i))
		}
		if !slices.Equal(ids, want) || missing != "" {
			t.Errorf("%s: %q, missing %q", c.name, ids, missing)
		}
		if first := l.Links["first"].Href; !strings.Contains(first, "?receivedBefore=2026-11-20T12:00:00.001Z&") {
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
		counted bool
	}{
		{"pageSize=4", 3, change{ask: 2, arrive: 1}, false},
		{"pageSize=4" + cut + "9Z", 3, change{ask: 2, arrive: 3}, false},
		{"pageSize=3", 2, change{ask: 2, leave: []int{0}}, false},
		// One that is cut out goes away for one that comes in, so that the count stays.
		{"pageSize=1" + cut + "8Z", 2, change{ask: 2, arrive: 1, leave: []int{2}}, false},
		{"pageSize=9", 3, change{ask: 2, arrive: 1}, true}, // all nine were read
	} {
		m := &mailbox{limit: c.limit, changes: []change{c.change}}
		ids, l, missing := moving(t, m, 9, c.query)
		if missing != "" || (l.Total != nil) != c.counted || c.counted && *l.Total != 9 {
			t.Errorf("%s: %q and a count, or missing: %q", c.query, ids, missing)
		}
	}
}

func TestAProviderThatCountsTooManyIsReadToItsEnd(t *testing.T) {
	page := `{"items":[{"messageId":"0","receiptDate":"2026-11-20T12:00:00Z"}],"totalItems":5}`
	asker := &scripted{answers: []string{page, "404", page, "404"}}
	s := asker.stream(t, "")
	s.head(t.Context())
	s.take()
	if m := s.head(t.Context()); m != nil || s.missing != nil || len(asker.answers) > 0 {
		t.Errorf("%v, missing %v, %d answers left", m, s.missing, len(asker.answers))
	}
	if n, known := s.sum(); n != 1 || !known {
		t.Errorf("%d, known %t", n, known)
	}
}
