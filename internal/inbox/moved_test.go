package inbox

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// moving gives a list of one provider that is read while it moves: its ids, what it says
// beside them, and what is missing.
func moving(t *testing.T, m *mailbox, letters int, query string) (ids []string, l listed, missing string) {
	t.Helper()
	m.id = "p"
	for n := range letters {
		m.letters = append(m.letters, &letter{provider: "p", id: strconv.Itoa(n),
			received: noon.Add(-time.Duration(n) * time.Second)})
	}
	r, l := listOf(t, roundOf(mailboxes{"p": m}, "p"), query)
	return l.ids(), l, HeaderOf(r.Missing)
}

// upTo are the ids of the first messages.
func upTo(n int) (ids []string) {
	for i := range n {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

// Two more come in than a page has, so that the second page has one of them, which is
// newer than all that was given. Or one goes away as well, and the first page has it when
// it is read again.
func TestWhatComesInWhileAListIsReadIsNotInTheMiddleOfIt(t *testing.T) {
	for _, c := range []change{{ask: 2, arrive: 4}, {ask: 2, arrive: 1, leave: []int{1, 1}}} {
		m := &mailbox{limit: 3, counts: true, changes: []change{c}}
		ids, l, missing := moving(t, m, 9, "pageSize=9")
		if !slices.Equal(ids, upTo(9)) || missing != "" {
			t.Errorf("%+v: %q, missing %q", c, ids, missing)
		}
		const want = "http://localhost/ebox/messages?receivedBefore=2026-11-20T12:00:00.001Z&page=1&pageSize=9"
		if first := l.Links["first"].Href; first != want {
			t.Errorf("%+v: the list is held to %s", c, first)
		}
	}
}

// What a provider counts on its second page is one more than the list has that was begun
// with the first; and with a moment to cut at, what came in cannot be told from the rest.
func TestACountOfAListThatMovedIsNotGiven(t *testing.T) {
	for query, m := range map[string]*mailbox{
		"pageSize=4": {limit: 3, counts: true, changes: []change{{ask: 2, arrive: 1}}},
		"pageSize=4&receivedBefore=2026-11-20T11:59:59Z": {limit: 3, counts: true, changes: []change{{ask: 2, arrive: 3}}},
		"pageSize=3": {limit: 2, counts: true, changes: []change{{ask: 2, leave: []int{0}}}},
	} {
		if ids, l, missing := moving(t, m, 9, query); l.Total != nil || missing != "" {
			t.Errorf("%s: a count of %q is given, or missing: %q", query, ids, missing)
		}
	}
	// One that is cut out goes away for one that comes in, so that the count stays.
	m := &mailbox{limit: 2, counts: true, changes: []change{{ask: 2, arrive: 1, leave: []int{2}}}}
	if _, l, _ := moving(t, m, 9, "pageSize=1&receivedBefore=2026-11-20T11:59:58Z"); l.Total != nil {
		t.Errorf("%d of six messages before a moment", *l.Total)
	}
	_, l, _ := moving(t, &mailbox{limit: 3, counts: true, changes: []change{{ask: 2, arrive: 1}}}, 9, "pageSize=9")
	if l.Total == nil || *l.Total != 9 {
		t.Errorf("all were read, and totalItems is %v", l.Total)
	}
}

// Three of nine go away, so that there is no third page of three any more, which a
// provider may say with a 404. The last three have slipped into the second.
func TestAPageThatIsGoneTooEarlyIsAListThatBecameShorter(t *testing.T) {
	for _, gone := range []bool{true, false} {
		m := &mailbox{limit: 3, counts: true, gone: gone, changes: []change{{ask: 3, leave: []int{0, 0, 0}}}}
		if ids, _, missing := moving(t, m, 9, "pageSize=9"); !slices.Equal(ids, upTo(9)) || missing != "" {
			t.Errorf("404 is %t: %q, missing %q", gone, ids, missing)
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

// The second time is noticed on a page that is read again, in front of others that bring
// nothing new.
func TestAListThatBecomesShorterTwiceIsNoListWithoutAnEnd(t *testing.T) {
	m := &mailbox{limit: 1, counts: true, changes: []change{{ask: 6, leave: []int{7}}, {ask: 8, leave: []int{7}}}}
	if ids, _, missing := moving(t, m, 9, "pageSize=9"); !slices.Equal(ids, upTo(7)) || missing != "" {
		t.Errorf("%q, missing %q", ids, missing)
	}
}
