package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/testkit"
)

// answers are what each provider says, whatever it is asked.
type answers map[string]func() *inbox.Answer

func (a answers) Ask(_ context.Context, r *inbox.Request) (*inbox.Answer, error) {
	return a[r.Provider](), nil
}

func (a answers) round() *inbox.Round {
	return roundOf(a, slices.Collect(maps.Keys(a))...)
}

// roundOf asks the providers of these ids, and has a minute for it.
func roundOf(a inbox.Asker, ids ...string) *inbox.Round {
	round := &inbox.Round{ID: "r", Asker: a, Timeout: time.Minute, Now: time.Now}
	for _, id := range ids {
		round.Providers = append(round.Providers, inbox.Provider{ID: id})
	}
	return round
}

func says(body string) func() *inbox.Answer {
	return answering(http.StatusOK, "application/json", body)
}

// refuses is an answer whose status says all.
func refuses(status int) func() *inbox.Answer { return answering(status, "text/plain", "") }

func answering(status int, contentType, body string) func() *inbox.Answer {
	return func() *inbox.Answer {
		return &inbox.Answer{ID: "x", Status: status, ContentType: contentType, Body: io.NopCloser(strings.NewReader(body))}
	}
}

const (
	honest      = `{"items":[{"messageId":"H","receiptDate":"2026-11-20T12:00:00Z"}],"totalItems":1}`
	honestCount = `{"numberOfMessages":1,"eboxSize":2}`
)

// listed is the list as readers take it that do not look at the case of names.
type listed struct {
	Items []struct {
		ID       any    `json:"messageId"` // a number at version 2
		Provider string `json:"providerId"`
	} `json:"items"`
	Total *int64                           `json:"totalItems"`
	Links map[string]struct{ Href string } `json:"_links"`
}

// listOf asks for a list, and reads it.
func listOf(t *testing.T, round *inbox.Round, query string) (*inbox.Result, listed) {
	t.Helper()
	r, err := round.List(t.Context(), queryOf(t, query), "http://localhost/ebox/messages")
	testkit.Must(t, err)
	var l listed
	if err := json.Unmarshal(r.Body, &l); err != nil {
		t.Fatalf("%v in %.300s", err, r.Body)
	}
	return r, l
}

func list(t *testing.T, a answers, query string) (*inbox.Result, listed) {
	t.Helper()
	return listOf(t, a.round(), query)
}

// ids are those of the messages, in order.
func (l *listed) ids() (ids []string) {
	for _, item := range l.Items {
		ids = append(ids, fmt.Sprint(item.ID))
	}
	return ids
}

// summaryOf asks for a summary.
func summaryOf(t *testing.T, a answers) *inbox.Result {
	t.Helper()
	r, err := a.round().Summary(t.Context(), queryOf(t, ""), "self", "list")
	if err != nil || !json.Valid(r.Body) {
		t.Fatalf("%v: %.300s", err, r.Body)
	}
	return r
}

// sentFor is what of a query goes on to a provider, which is asked for a summary.
func sentFor(t testkit.T, query string) string {
	asked := &noting{Asker: answers{"a": says(honestCount)}, requests: make(map[string][]*inbox.Request)}
	_, err := roundOf(asked, "a").Summary(context.Background(), queryOf(t, query), "self", "list")
	testkit.Must(t, err)
	return asked.requests["a"][0].Query
}

func queryOf(t testkit.T, query string) *inbox.Query {
	q, err := inbox.ParseQuery(query)
	testkit.Must(t, err)
	return q
}

func TestNoProviderGivesItsMessagesAsAnothers(t *testing.T) {
	for _, key := range []string{"providerId", "ProviderId", "PROVIDERID", `provider\u0049d`, `\u0050roviderId`} {
		_, l := list(t, answers{"a": says(honest), "b": says(`{"items":[{"messageId":"B","` + key +
			`":"a","receiptDate":"2026-11-20T11:00:00Z"}]}`)}, "")
		if len(l.Items) != 2 || l.Items[1].ID != "B" || l.Items[1].Provider != "b" {
			t.Errorf("%s: %v", key, l.Items)
		}
	}
}

func TestNoDateOfAProviderBreaksTheLinks(t *testing.T) {
	for _, date := range []string{`"9999-12-31T23:59:59.9999Z"`, `"9999-12-31T23:59:59-10:00"`, `"9999-12-30"`,
		`"9998-12-31T23:59:59-12:00"`, `9223372036854775807`, `253402300799999`, `"0000-01-01T00:00:00Z"`, `-1`} {
		_, l := list(t, answers{"a": says(honest), "b": says(`{"items":[{"messageId":"B","receiptDate":` + date +
			`}],"totalItems":3}`)}, "pageSize=1")
		for name, link := range l.Links {
			_, query, _ := strings.Cut(link.Href, "?")
			if sent := sentFor(t, query); name != "self" && sent != "receivedBefore=2026-11-21" {
				t.Errorf("%s: %s asks for %s", date, name, sent)
			}
		}
	}
}

func TestNoCountOfAProviderBreaksTheSum(t *testing.T) {
	for _, n := range []string{"9223372036854775807", "1000000000000001", "-1", "1e308"} {
		if _, l := list(t, answers{"a": says(honest), "b": says(`{"items":[{"messageId":"B"}],"totalItems":` + n + `}`)},
			"pageSize=1"); l.Total != nil {
			t.Errorf("totalItems of %s gives %d", n, *l.Total)
		}
		a := answers{"a": says(honestCount), "b": says(`{"numberOfMessages":1,"eboxSize":` + n + `}`),
			"c": says(`{"numberOfMessages":1,"eboxSize":1.7e308}`), "d": says(`{"numberOfMessages":` + n + `}`)}
		if r := summaryOf(t, a); inbox.HeaderOf(r.Missing) != "d;reason=malformed" {
			t.Errorf("%s: missing %v, %.300s", n, inbox.HeaderOf(r.Missing), r.Body)
		}
	}
}

// What a caller's reader refuses would cost it the messages of all.
func TestNothingThatAReaderMayRefuseIsPassedOn(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for value, whole := range map[string]bool{
		deep(jsonscan.Deepest - 1): true, deep(jsonscan.Deepest): false, deep(9000): false,
		`"\ud83d\ude00 \\ud800 \u00e9 \n"`: true, `"\ud800"`: false, `"\udc00"`: false, `"\uD83D\u0041"`: false,
		`"\uDE00\uD83D"`: false, `{"\ud800":1}`: false,
		`["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]`: true,
	} {
		missing := ""
		if !whole {
			missing = "b;reason=malformed"
		}
		if r, l := list(t, answers{"a": says(honest), "b": says(`{"items":[{"messageId":"B","receiptDate":"2026-11-19","x":` +
			value + `}]}`)}, ""); inbox.HeaderOf(r.Missing) != missing || l.Items[0].ID != "H" {
			t.Errorf("a message with %.40s: missing %q", value, inbox.HeaderOf(r.Missing))
		}
		a := answers{"a": says(honestCount), "b": says(`{"numberOfMessages":1,"x":` + value + `}`)}
		if r := summaryOf(t, a); inbox.HeaderOf(r.Missing) != missing {
			t.Errorf("a summary with %.40s: missing %q", value, inbox.HeaderOf(r.Missing))
		}
		a["a"], a["b"] = says(honest), answering(403, "application/problem+json", `{"status":403,"x":`+value+`}`)
		if r, _ := list(t, a, ""); strings.Contains(string(r.Body), value) != whole || inbox.HeaderOf(r.Missing) == "" {
			t.Errorf("a problem with %.40s is passed on: %v", value, !whole)
		}
	}
}

func TestAnAnswerThatIsTooLargeIsCalledWhatItIs(t *testing.T) {
	long := `{"numberOfMessages":1,"x":"` + strings.Repeat("x", 64<<10) + `"}`
	r := summaryOf(t, answers{"a": says(honestCount), "b": says(long)})
	if len(r.Missing) != 1 || !strings.Contains(string(r.Missing[0].Problem), "larger than a summary") {
		t.Errorf("%s", r.Body)
	}
	r, _ = list(t, answers{"a": says(honest), "b": says(`{"items":[{"messageId":"B","x":"` + strings.Repeat("x",
		256<<10) + `"}]}`)}, "")
	if len(r.Missing) != 1 || !strings.Contains(string(r.Missing[0].Problem), "larger than a list") {
		t.Errorf("%.500s", r.Body)
	}
}

// endless is an answer that begins as a list, and goes on with one sign for ever.
type endless struct {
	begins io.Reader
	sign   string
	read   int
}

func (e *endless) Read(p []byte) (int, error) {
	n, err := e.begins.Read(p)
	if err != nil {
		n = copy(p, strings.Repeat(e.sign, len(p)))
	}
	e.read += n
	return n, nil
}

func (*endless) Close() error { return nil }

func TestOfAMessageWithoutAnEndNoMoreIsReadThanOneMayHave(t *testing.T) {
	for begins, sign := range map[string]string{
		`{"items":[{"messageId":"`: "x", `{"items":[`: " ", `{"`: "x", `{"x":`: "[",
	} {
		flood := &endless{begins: strings.NewReader(begins), sign: sign}
		r, _ := list(t, answers{"a": says(honest), "b": func() *inbox.Answer {
			return &inbox.Answer{ID: "x", Status: 200, ContentType: "application/json", Body: flood}
		}}, "")
		if inbox.HeaderOf(r.Missing) != "b;reason=malformed" || flood.read > 1<<20 {
			t.Errorf("%s%s…: %d bytes are read, missing %q", begins, sign, flood.read, inbox.HeaderOf(r.Missing))
		}
	}
}

// A provider that takes no notice of the window has all its messages left out, and none
// of them counts as read.
func TestAListWithoutAnEndIsNotRemembered(t *testing.T) {
	asked, n := 0, 0
	a := answers{"b": func() *inbox.Answer {
		asked++
		var b strings.Builder
		b.WriteString(`{"items":[{"messageId":"x"}`)
		for range 50_000 {
			n++
			fmt.Fprintf(&b, `,{"messageId":"%030d","receiptDate":"2027-01-01"}`, n)
		}
		b.WriteString(`]}`)
		return says(b.String())()
	}}
	r, _ := list(t, answers{"a": says(honest), "b": a["b"]}, "receivedBefore=2026-12-01T00:00:00Z")
	if inbox.HeaderOf(r.Missing) != "b;reason=malformed" || asked > 3 {
		t.Errorf("missing %q after %d pages", inbox.HeaderOf(r.Missing), asked)
	}
}
