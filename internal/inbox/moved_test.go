package inbox_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/inbox"
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
