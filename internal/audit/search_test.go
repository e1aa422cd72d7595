package audit_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/testkit"
)

func find(t *testing.T, dir string, q audit.Query) (all []*audit.Found, s audit.Searched) {
	t.Helper()
	s, err := audit.Search(dir+"/r1", q, func(f *audit.Found) error { all = append(all, f); return nil })
	testkit.Must(t, err)
	return all, s
}

func ids(all []*audit.Found) string {
	var words []string
	for _, f := range all {
		words = append(words, f.RequestID)
	}
	return strings.Join(words, " ")
}

func TestSearchAnswersWhoWhenForWhom(t *testing.T) {
	dir, l := opened(t)
	l.Done(finished("r1"))
	r := finished("r2")
	r.Path, r.Caller, r.Actor, r.Enterprise, r.Provider =
		"/ebox/providers/regional/ebox/messages/M2/attachments/A2/content", "legal", "jan", 212148896, "regional"
	r.Action, r.Opening = ebox.Open, true
	l.Done(r)
	child := finished("r3")
	child.Parent, child.Path = "r9", "/ebox/providers/nsso/ebox/messages"
	l.Done(child)
	w := write("w1")
	w.Messages = []string{"M1", "M5"}
	testkit.Must(t, l.Intent(t.Context(), w))
	l.Done(w)
	lost := write("w2")
	lost.Messages, lost.MoreMessages = []string{"M5"}, true
	testkit.Must(t, l.Intent(t.Context(), lost))
	named := finished("n1")
	named.Caller, named.Path, named.Named = "named", "/ebox/federation", []string{"0400000015", "0202239951"}
	l.Done(named)
	named = write("n2")
	named.Caller, named.Path, named.Named = "named", "/ebox/federation/eboxPreferences", []string{"0202239951"}
	testkit.Must(t, l.Intent(t.Context(), named))
	named.Status = 403
	l.Done(named)
	l.Event(audit.KindConfiguration, map[string]string{"result": "taken"})
	testkit.Must(t, l.Close())

	for _, c := range []struct {
		name string
		q    audit.Query
		want string
	}{
		{"everything", audit.Query{}, "r1 r2 r3 w1 n1 n2 w2"},
		{"a message that was read and written", audit.Query{Message: "M1"}, "r1 w1"},
		{"a message that was written alone", audit.Query{Message: "M5"}, "w1 w2"},
		{"an attachment", audit.Query{Attachment: "A2"}, "r2"},
		{"an enterprise", audit.Query{Enterprise: "0212148896"}, "r2"},
		{"an enterprise that a call only named", audit.Query{Enterprise: "0202239951"}, "n1 n2"},
		{"the first of those that a call named", audit.Query{Enterprise: "0400000015"}, "n1"},
		{"a number of which the enterprise is a part", audit.Query{Enterprise: "020223995"}, ""},
		{"a named enterprise and a caller that did not name it", audit.Query{Enterprise: "0202239951", Caller: "hr"}, ""},
		{"a caller", audit.Query{Caller: "legal"}, "r2"},
		{"an actor", audit.Query{Actor: "jan"}, "r2"},
		{"a provider", audit.Query{Provider: "regional"}, "r2"},
		{"a request", audit.Query{RequestID: "r1"}, "r1"},
		{"the request of a caller that was sent in parts", audit.Query{RequestID: "r9"}, "r3"},
		{"a message and a caller that did not read it", audit.Query{Message: "M1", Caller: "legal"}, ""},
		{"a message of which the id is a part", audit.Query{Message: "M"}, ""},
		{"a time before", audit.Query{To: time.Now().Add(-time.Hour)}, ""},
		{"a time after", audit.Query{From: time.Now().Add(time.Hour)}, ""},
		{"a time around", audit.Query{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour), Caller: "hr"},
			"r1 r3 w1 w2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, s := find(t, dir, c.q)
			if got := ids(all); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if len(s.Findings) > 0 {
				t.Error(s.Findings)
			}
		})
	}
	all, _ := find(t, dir, audit.Query{Message: "M5"})
	if w := all[0]; !w.Outcome || w.Intent == 0 || w.Status != 200 || len(w.Messages) != 2 || w.Actor != "an.peeters" ||
		w.Enterprise != "0206731645" {
		t.Errorf("%+v", w)
	}
	if w := all[1]; w.Outcome || !w.MoreMessages {
		t.Errorf("a write without an outcome: %+v", w)
	}
	if all, _ = find(t, dir, audit.Query{Events: true}); len(all) != 11 { // with segment, start, stop
		t.Errorf("%d with events", len(all))
	}
}

// What day a file is of, its first record says: one that was renamed is found by verifying, and
// searching does not pass over it.
func TestSearchSkipsTheDaysThatWereNotAskedFor(t *testing.T) {
	dir := t.TempDir()
	for i := range 9 {
		at(t, dir, fmt.Sprintf("2026-03-%02d", i+1), fmt.Sprintf("d%d", i+1))
	}
	q := audit.Query{From: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC)}
	all, s := find(t, dir, q)
	if got := ids(all); got != "d4 d5" || s.Skipped < 3 || s.Segments+s.Skipped != 9 || len(s.Findings) > 0 {
		t.Errorf("%q, %+v", got, s)
	}
	path := segmentsOf(t, dir)[3]
	testkit.Must(t, os.Rename(path, strings.Replace(path, "20260304", "20310101", 1)))
	if got := findings(t, dir, audit.VerifyOptions{}); !strings.Contains(got, "its name says 2031-01-01: it was renamed") {
		t.Errorf("verifying: %s", got)
	}
	if all, s = find(t, dir, q); ids(all) != "d4 d5" || len(s.Findings) == 0 {
		t.Errorf("searching: %q, %+v", ids(all), s)
	}
}

// The first record of a file says of what day the oldest one in it is.
func TestSearchFindsWhatWaitedForDays(t *testing.T) {
	dir, l := opened(t, func(o *audit.Options) { o.SegmentSize = 1 })
	r := finished("late")
	r.Start = time.Now().Add(-72 * time.Hour)
	l.Done(r)
	testkit.Must(t, l.Close())
	if all, _ := find(t, dir, audit.Query{To: time.Now().Add(-71 * time.Hour)}); ids(all) != "late" {
		t.Errorf("found: %q", ids(all))
	}
}

func TestSearchEndsWhenItsReaderDoes(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, "r1", 5, 64e6)
	enough, n := errors.New("enough"), 0
	_, err := audit.Search(dir+"/r1", audit.Query{}, func(*audit.Found) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}
