package inbox

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/problem"
)

// scripted answers with one text after the other, and notes the queries.
type scripted struct {
	mu      sync.Mutex
	answers []string
	queries []string
}

func (s *scripted) Ask(_ context.Context, r *Request) (*Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, r.Query)
	if len(s.answers) == 0 {
		return nil, problem.Unavailable("nothing is left", 7*time.Second)
	}
	text := s.answers[0]
	s.answers = s.answers[1:]
	status := http.StatusOK
	if text == "404" {
		status = http.StatusNotFound
	}
	return &Answer{Status: status, ContentType: "application/json", Body: io.NopCloser(strings.NewReader(text))}, nil
}

// stream is the list that it answers with.
func (s *scripted) stream(t *testing.T, query string) *stream {
	return inbox.newStream(&Round{ID: "r", Asker: s}, "p", queryOf(t, query))
}

func TestStreamFollowsItsProvider(t *testing.T) {
	page := func(rest string, ids ...int) string {
		items := make([]string, len(ids))
		for i, id := range ids {
			items[i] = fmt.Sprintf(`{"messageId":"%d","receiptDate":"2026-11-20T12:00:%02dZ"}`, id, 59-id)
		}
		return `{"items":[` + strings.Join(items, ",") + `]` + rest + `}`
	}
	next := func(href string) string { return `,"_links":{"next":{"href":"` + href + `"}}` }
	const first, second = "page=1&pageSize=25", "page=2&pageSize=25"
	for _, c := range []struct {
		name    string
		answers []string
		queries []string
		count   int
		missing string
	}{
		{"a count that is reached", []string{page(`,"totalItems":2`, 1, 2)}, []string{first}, 2, ""},
		{"a count that is not", []string{page(`,"totalItems":3`, 1, 2), page(`,"totalItems":3`, 3)},
			[]string{first, second}, 3, ""},
		{"links, and none to a next page", []string{page(`,"_links":{"first":{"href":"x"}}`, 1)}, []string{first}, 1, ""},
		{"a link of its own", []string{page(next("https://x/ebox/messages?cursor=a%26b"), 1), page(`,"totalItems":2`, 2)},
			[]string{first, "cursor=a%26b"}, 2, ""},
		{"a link that fits no request line", []string{page(next("/x?a=1 HTTP/1.1"), 1), page("", 2), page("")},
			[]string{first, second, "page=3&pageSize=25"}, 2, ""},
		{"neither count nor links", []string{page("", 1), page("", 2), page("")},
			[]string{first, second, "page=3&pageSize=25"}, 2, ""},
		{"the API's word for no messages on a page", []string{page("", 1), "404"}, []string{first, second}, 1, ""},
		{"no messages at all", []string{"404"}, []string{first}, 0, ReasonRefused},
		{"an empty box", []string{`{"totalItems":0}`}, []string{first}, 0, ""},
		{"a next page that fails", []string{page(`,"totalItems":5`, 1)}, []string{first, second}, 1, ReasonUnavailable},
		{"a count that is a text", []string{page(`,"totalItems":"1"`, 1), page("")}, []string{first, second}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			asker := &scripted{answers: c.answers}
			s := asker.stream(t, "")
			n := 0
			for s.head(t.Context()) != nil {
				s.take()
				n++
			}
			missing := ""
			if s.missing != nil {
				missing = s.missing.Reason
			}
			if n != c.count || missing != c.missing || !slices.Equal(asker.queries, c.queries) {
				t.Errorf("%d messages, missing %q, asked for %q", n, missing, asker.queries)
			}
		})
	}
}

func TestHeaderOfWhatIsMissing(t *testing.T) {
	got := HeaderOf([]*Missing{{Provider: "nsso", Reason: "timeout"}, {Provider: "é 1", Reason: "busy"},
		{Provider: "7", Reason: "x"}, {Provider: "*", Reason: "registry"}})
	if want := `nsso;reason=timeout, "%C3%A9%201";reason=busy, "7";reason=x, *;reason=registry`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhoHasToWaitHowLong(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	soon, late, unknown := &Missing{Provider: "a", Reason: "x", retry: now.Add(10 * time.Second)},
		&Missing{Provider: "b", Reason: "x", retry: now.Add(time.Minute)}, &Missing{Provider: "c", Reason: "x"}
	never := &Missing{Provider: "d", Reason: "x", retry: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	for _, m := range []*Missing{soon, late, unknown, never} {
		m.Problem, m.Status = []byte("{}"), 503
	}
	for _, c := range []struct {
		name    string
		missing []*Missing
		some    bool
		want    string
	}{
		{"for all of them, until the last is back", []*Missing{soon, late}, true, "60"},
		{"for all of them, one of which does not say", []*Missing{soon, unknown}, true, ""},
		{"for any of them, until the first is back", []*Missing{late, unknown, soon}, false, "10"},
		{"for nobody in particular", []*Missing{unknown}, false, ""},
		{"for longer than durations last", []*Missing{never}, false, "9223372037"},
	} {
		if got := Refusal(c.missing, c.some, now).Header.Get("Retry-After"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := refusalOfAll([]*Missing{never}, []byte("[]"), now).Header.Get("Retry-After"); got != "9223372037" {
		t.Errorf("changes that nobody takes before the end of time: %q", got)
	}
}

func TestAPanicEndsTheCallersGoroutine(t *testing.T) {
	defer func() {
		if recover() != "fault" {
			t.Error("the panic was lost")
		}
	}()
	each(3, func(i int) {
		if i == 1 {
			panic("fault")
		}
	})
}

func TestAListIsReadInEitherVersion(t *testing.T) {
	for _, c := range []struct {
		name, items, behind string
		want                string // the order, with a second provider's message of 12:00
		total               string
		missing             string
	}{
		{"version 2", `{"messageId":"1","receiptDate":"2026-11-20T13:00:00Z"}`, `,"totalItems":1`, "1 b",
			`"totalItems":2`, ""},
		{"version 3", `{"messageId":"1","publicationDate":"2026-11-20T13:30:00+02:00"}`, `,"total":1`,
			"b 1", `"total":2`, ""},
		{"both dates", `{"messageId":"1","receiptDate":"2026-11-20T11:00:00Z","publicationDate":"2026-11-20T13:00:00Z"}`,
			`,"total":1`, "1 b", `"total":2`, ""},
		{"a publication date that is none", `{"messageId":"1","publicationDate":"soon","receiptDate":"2026-11-20T13:00:00Z"}`,
			`,"total":1`, "1 b", `"total":2`, ""},
		{"Java's dates", `{"messageId":"1","publicationDate":[2026,11,20,13,0]}`, `,"total":1`, "1 b", `"total":2`, ""},
		{"seconds", `{"messageId":"1","publicationDate":1795179600.000000000}`, `,"total":1`, "1 b", `"total":2`, ""},
		{"Java's zones", `{"messageId":"1","publicationDate":"2026-11-20T12:30:00+01:00[Europe/Brussels]"}`, `,"total":1`,
			"b 1", `"total":2`, ""},
		{"one of two without a date", `{"messageId":"1"},{"messageId":"2","publicationDate":"2026-11-20T11:00:00Z"}`,
			`,"total":2`, "b 1 2", `"total":3`, ""},
		{"no date that is known", `{"messageId":"1","date":"2026-11-20T13:00:00Z"}`, `,"total":1`, "b", "",
			"a;reason=malformed"},
		{"dates that cannot be read",
			`{"messageId":"1","receiptDate":"20 november"},{"messageId":"2","publicationDate":null}`, `,"total":2`, "b", "",
			"a;reason=malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, l := list(t, answers{
				"a": says(`{"items":[` + c.items + `]` + c.behind + `}`),
				"b": says(`{"items":[{"messageId":"b","receiptDate":"2026-11-20T12:00:00Z"}],"totalItems":1}`),
			}, "")
			ids, missing := l.ids(), HeaderOf(r.Missing)
			if strings.Join(ids, " ") != c.want || missing != c.missing || !strings.Contains(string(r.Body), c.total) ||
				(c.total == "") == strings.Contains(string(r.Body), `"total`) {
				t.Errorf("%v, missing %q, %s", ids, missing, r.Body)
			}
		})
	}
}
