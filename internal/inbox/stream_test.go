package inbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// scripted answers with one text after the other, and notes the queries.
type scripted struct {
	mu      sync.Mutex
	answers []string
	queries []string
}

func (s *scripted) Ask(_ context.Context, r *inbox.Request) (*inbox.Answer, error) {
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
	return &inbox.Answer{Status: status, ContentType: "application/json", Body: io.NopCloser(strings.NewReader(text))}, nil
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
		{"no messages at all", []string{"404"}, []string{first}, 0, "p;reason=refused"},
		{"an empty box", []string{`{"totalItems":0}`}, []string{first}, 0, ""},
		{"a next page that fails", []string{page(`,"totalItems":5`, 1)}, []string{first, second}, 1, "p;reason=unavailable"},
		{"a count that is a text", []string{page(`,"totalItems":"1"`, 1), page("")}, []string{first, second}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			asker := &scripted{answers: c.answers}
			r, _ := roundOf(asker, "p").List(t.Context(), queryOf(t, ""), "list") // of one that refuses it is a problem
			n, missing := strings.Count(string(r.Body), `"messageId"`), inbox.HeaderOf(r.Missing)
			if n != c.count || missing != c.missing || !slices.Equal(asker.queries, c.queries) {
				t.Errorf("%d messages, missing %q, asked for %q", n, missing, asker.queries)
			}
		})
	}
}

// noting notes what each provider is asked.
type noting struct {
	inbox.Asker
	mu       sync.Mutex
	requests map[string][]*inbox.Request
}

func (n *noting) Ask(ctx context.Context, r *inbox.Request) (*inbox.Answer, error) {
	n.mu.Lock()
	n.requests[r.Provider] = append(n.requests[r.Provider], r)
	n.mu.Unlock()
	return n.Asker.Ask(ctx, r)
}

func TestNoMoreIsAskedForThanThePageTakes(t *testing.T) {
	for query, many := range map[string]string{
		"":                    "page=1&pageSize=25 ",
		"pageSize=10&page=3":  "page=1&pageSize=30 ",
		"pageSize=100&page=3": "page=1&pageSize=100 page=2&pageSize=100 page=3&pageSize=100 ",
	} {
		boxes := mailboxes{"many": {limit: 100, counts: true}, "few": {limit: 100, counts: true, v2: true}}
		for n := range 500 {
			boxes["many"].letters = append(boxes["many"].letters, &letter{id: strconv.Itoa(n),
				received: noon.Add(-time.Duration(n) * time.Minute)})
		}
		boxes["few"].letters = []*letter{{id: "1", received: noon.AddDate(0, -6, 0)}}
		asked := &noting{Asker: boxes, requests: make(map[string][]*inbox.Request)}
		listOf(t, roundOf(asked, "many", "few"), query)
		got := ""
		for _, r := range asked.requests["many"] {
			got += r.Query + " "
		}
		if got != many || len(asked.requests["few"]) != 1 {
			t.Errorf("%s: asked for %q", query, got)
		}
	}
}

// flood is the answer of a provider that gives all that it has, whatever it is asked for.
type flood struct {
	messages, given int
	read            int64
	next            bytes.Buffer
}

func (f *flood) Read(p []byte) (int, error) {
	if f.next.Len() == 0 && f.given <= f.messages {
		switch {
		case f.given == f.messages:
			f.next.WriteString(`]}`)
		case f.given > 0:
			f.next.WriteByte(',')
		default:
			f.next.WriteString(`{"items":[`)
		}
		if f.given < f.messages {
			fmt.Fprintf(&f.next, `{"messageId":"%d","receiptDate":%q,"subject":"%s"}`, f.given,
				noon.Add(-time.Duration(f.given)*time.Second).Format(time.RFC3339), strings.Repeat("x", 600))
		}
		f.given++
	}
	n, err := f.next.Read(p)
	f.read += int64(n)
	return n, err
}

func (*flood) Close() error { return nil }

// A caller has two megabytes here, and the mailbox seventy.
func TestALargeMailboxTakesNoMoreMemoryThanThePage(t *testing.T) {
	all := &flood{messages: 100_000}
	round := answers{"a": says(honest), "b": func() *inbox.Answer {
		return &inbox.Answer{ID: "x", Status: http.StatusOK, ContentType: "application/json", Body: all}
	}}.round()
	budget := memory.NewBudget(4 << 20)
	round.Memory = new(memory.Account)
	round.Memory.Open(budget, memory.Party{Caller: "hr"})
	r, l := listOf(t, round, "pageSize=100&page=10")
	if len(l.Items) != 100 || inbox.HeaderOf(r.Missing) != "" || all.read > 8<<20 {
		t.Errorf("%d messages after %d bytes, missing %q", len(l.Items), all.read, inbox.HeaderOf(r.Missing))
	}
	if held := budget.State().Held; held > 1<<20 {
		t.Errorf("%d bytes are held for a page", held)
	}
}

func TestHeaderOfWhatIsMissing(t *testing.T) {
	got := inbox.HeaderOf([]*inbox.Missing{{Provider: "nsso", Reason: "timeout"}, {Provider: "é 1", Reason: "busy"},
		{Provider: "7", Reason: "x"}, {Provider: "*", Reason: "registry"}})
	if want := `nsso;reason=timeout, "%C3%A9%201";reason=busy, "7";reason=x, *;reason=registry`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhoHasToWaitHowLong(t *testing.T) {
	const never = "Fri, 31 Dec 9999 23:59:59 GMT"
	busy := func(retryAfter string) func() *inbox.Answer {
		return func() *inbox.Answer {
			a := refuses(503)()
			a.RetryAfter = retryAfter
			return a
		}
	}
	for _, c := range []struct {
		name string
		answers
		want string
	}{
		{"for all of them, until the last is back", answers{"a": busy("10"), "b": busy("60"), "c": says(honest)}, "60"},
		{"for all of them, one of which does not say", answers{"a": busy("10"), "b": busy(""), "c": says(honest)}, ""},
		{"for any of them, until the first is back", answers{"a": busy("60"), "b": busy(""), "c": busy("10")}, "10"},
		{"for nobody in particular", answers{"a": busy("")}, ""},
		{"for longer than durations last", answers{"a": busy(never)}, "9223372037"},
	} {
		round := c.round()
		round.Now = func() time.Time { return noon }
		_, err := round.List(t.Context(), queryOf(t, "partial=false"), "list")
		if got := problem.From(err).Header.Get("Retry-After"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	round := answers{"a": busy(never)}.round()
	changes, err := inbox.ParseChanges([]byte(`{"items":[{"providerId":"a"}]}`), nil, round.Providers, nil)
	testkit.Must(t, err)
	_, err = round.Change(t.Context(), changes)
	if got := problem.From(err).Header.Get("Retry-After"); got != "9223372037" {
		t.Errorf("changes that nobody takes before the end of time: %q", got)
	}
}

func TestAPanicEndsTheCallersGoroutine(t *testing.T) {
	defer func() {
		if recover() != "fault" {
			t.Error("the panic was lost")
		}
	}()
	_, _ = answers{"a": says(honest), "b": func() *inbox.Answer { panic("fault") }, "c": says(honest)}.round().
		List(t.Context(), queryOf(t, ""), "list")
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
			ids, missing := l.ids(), inbox.HeaderOf(r.Missing)
			if strings.Join(ids, " ") != c.want || missing != c.missing || !strings.Contains(string(r.Body), c.total) ||
				(c.total == "") == strings.Contains(string(r.Body), `"total`) {
				t.Errorf("%v, missing %q, %s", ids, missing, r.Body)
			}
		})
	}
}
