package inbox_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
)

func TestQueryThatIsNotValidNamesEachParameter(t *testing.T) {
	for query, want := range map[string]string{
		"page=0":                             "page:schemaViolation",
		"page=x&pageSize=101":                "page:schemaViolation pageSize:schemaViolation",
		"page=11&pageSize=100":               "page:invalidInput",
		"page=41":                            "page:invalidInput",
		"page=1&page=2":                      "page:invalidInput",
		"pageSize=0":                         "pageSize:schemaViolation",
		"skip=-1":                            "skip:schemaViolation",
		"partial=no":                         "partial:schemaViolation",
		"readStatus=":                        "readStatus:schemaViolation",
		"visible=1&registeredMail=TRUE":      "visible:schemaViolation registeredMail:schemaViolation",
		"receivedBefore=yesterday":           "receivedBefore:schemaViolation",
		"receivedAfter=2026-02-30":           "receivedAfter:schemaViolation",
		"expiredBefore=2026-01-01T00:00":     "expiredBefore:schemaViolation",
		"expiredAfter=&q=x":                  "expiredAfter:schemaViolation qlang:requiredInput",
		"q=x&qlang=en":                       "qlang:invalidInput",
		"q=a&q=b&qlang=nl":                   "q:invalidInput",
		"page=1000&pageSize=1":               "",
		"page=40":                            "",
		"q=x&qlang=nl":                       "",
		"anything=1&anything=2&&x":           "",
		"receivedAfter=2026-01-01T00:00:00Z": "",
	} {
		_, err := inbox.ParseQuery(query)
		var p *problem.Problem
		var got []string
		if errors.As(err, &p) {
			if p.Status != 400 {
				t.Errorf("%s: status %d", query, p.Status)
			}
			for _, i := range p.Issues {
				got = append(got, i.Name+":"+i.Type)
				if i.In != "query" || i.Detail == "" {
					t.Errorf("%s: %+v", query, i)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
}

func TestWhatOfAQueryGoesOn(t *testing.T) {
	for query, want := range map[string]struct {
		sent  string
		whole bool
	}{
		"": {}, "partial=false": {"", true}, "p%61rtial=false&&x=1": {"x=1", true},
		"a=%2f&partial=true&page=2": {"a=%2f", false},
		// A moment is sent as a day that includes it, wherever the provider is.
		"receivedBefore=2026-11-20T23:30:00%2B01:00": {"receivedBefore=2026-11-22", false},
		"receivedBefore=9999-12-31T23:59:59Z":        {"receivedBefore=9999-12-31", false},
		"receivedAfter=0000-01-01T00:00:00Z":         {"receivedAfter=0000-01-01", false},
	} {
		if sent, whole := sentFor(t, query), queryOf(t, query).Whole; sent != want.sent || whole != want.whole {
			t.Errorf("%s: %q, whole %t", query, sent, whole)
		}
	}
}

// What the day that is sent for a moment admits beyond it is left out here.
func TestAMomentBoundsTheList(t *testing.T) {
	inTurn := func(id, at string) string {
		return `{"messageId":"` + id + `","publicationDate":"2026-11-` + at + `Z","expirationDate":"2027-11-` + at + `Z"}`
	}
	a := answers{"a": says(`{"items":[` + inTurn("3", "20T13:00:00") + `,` + inTurn("2", "20T12:00:00") + `,` +
		inTurn("1", "20T11:00:00") + `],"totalItems":3}`)}
	for query, want := range map[string]struct {
		ids   string
		total int64 // 0 for one that is not given
	}{
		"receivedBefore=2026-11-20T12:00:00Z": {"1", 1}, "receivedAfter=2026-11-20T12:00:00Z": {"3", 1},
		"expiredBefore=2027-11-20T12:00:00Z": {"1", 1}, "expiredAfter=2027-11-20T11:30:00Z": {"3 2", 2},
		"receivedAfter=2026-11-20T11:30:00Z&expiredBefore=2027-11-20T12:30:00Z": {"2", 1},
		"receivedBefore=2026-11-20T12:30:00Z&pageSize=1":                        {"2", 2},
		"receivedAfter=2026-11-20T10:30:00Z&pageSize=1":                         {"3", 0},
	} {
		_, l := list(t, a, query)
		if l.Total == nil {
			l.Total = new(int64)
		}
		if ids := strings.Join(l.ids(), " "); ids != want.ids || *l.Total != want.total {
			t.Errorf("%s: %q, total %d", query, ids, *l.Total)
		}
	}
}

// The day that is sent for a moment has to include all that the moment admits, whether
// the provider's days begin at midnight in UTC or in Brussels.
func FuzzDayOfAMoment(f *testing.F) {
	brussels, err := time.LoadLocation("Europe/Brussels")
	if err != nil {
		f.Skip("there are no time zones on this machine")
	}
	for _, s := range []string{"2026-11-22T23:30:00Z", "2026-07-01T21:59:59.999Z", "2026-07-01T22:00:00Z",
		"2026-03-29T00:59:59Z", "2026-10-25T01:00:00Z"} {
		at, _ := time.Parse(time.RFC3339, s)
		f.Add(at.Unix())
	}
	f.Fuzz(func(t *testing.T, seconds int64) {
		at := time.Unix(seconds, 0)
		if at.Year() < 1980 || at.Year() > 9000 {
			return
		}
		dayFor := func(filter string) time.Time {
			_, day, _ := strings.Cut(sentFor(t, filter+"="+at.UTC().Format(time.RFC3339)), "=")
			return dayOf(day)
		}
		for _, zone := range []*time.Location{time.UTC, brussels} {
			begins := func(day time.Time, plus int) time.Time {
				y, m, d := day.Date()
				return time.Date(y, m, d+plus, 0, 0, 0, 0, zone)
			}
			if b := begins(dayFor("receivedBefore"), 0); b.Before(at) {
				t.Errorf("before %s: the day begins at %s", at, b)
			}
			if e := begins(dayFor("receivedAfter"), 1); e.After(at) {
				t.Errorf("after %s: the day ends at %s", at, e)
			}
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"", "page=2&pageSize=10", "q=%26&qlang=nl&x", "receivedBefore=2026-01-01T00:00:00%2B01:00",
		"receivedBefore=2026-01-01T00:00:00+01:00&partial=false&skip=3", "%zz=1", "page=%31"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := inbox.ParseQuery(raw)
		if err != nil {
			return
		}
		if q.Page < 1 || q.PageSize < 1 || q.Page*q.PageSize > inbox.Deepest {
			t.Fatalf("%q: page %d of %d", raw, q.Page, q.PageSize)
		}
		goesOn := sentFor(t, raw)
		sent, err := url.ParseQuery(goesOn)
		if err != nil && !strings.Contains(raw, ";") {
			t.Fatalf("%q is sent as %q: %v", raw, goesOn, err)
		}
		for _, own := range []string{"page", "pageSize", "skip", "partial"} {
			if sent.Has(own) {
				t.Fatalf("%q is sent as %q", raw, goesOn)
			}
		}
	})
}
