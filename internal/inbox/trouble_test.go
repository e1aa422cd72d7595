package inbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
)

func TestAProviderInTroubleIsNamedWithItsReason(t *testing.T) {
	const item, jsonType, problemType = `{"messageId":"1","receiptDate":"2026-11-20T12:00:00Z"}`, "application/json",
		"application/problem+json"
	for _, c := range []struct {
		name              string
		status            int
		contentType, body string
		reason            string
		problem           float64 // its status
	}{
		{"refusing with a problem", 403, problemType, `{"type":"urn:problem-type:belgif:missingPermission","status":403}`,
			"refused", 403},
		{"refusing in version 2", 401, jsonType, `{"id":"1","code":"NO_MANDATE","message":"no mandate"}`, "refused", 401},
		{"refusing with a page", 404, "text/html", "<h1>Not here</h1>", "refused", 404},
		{"failing", 500, "text/plain", "out of memory", "failed", 500},
		{"under construction", 503, problemType, `{"type":"x","status":503}`, "failed", 503},
		{"leading elsewhere", 302, "text/html", "<a href=/login>Log in</a>", "malformed", 502},
		{"showing a page", 200, "text/html", "<h1>Welcome</h1>", "malformed", 502},
		{"answering nothing", 200, jsonType, "", "malformed", 502},
		{"answering no JSON", 200, jsonType, "Welcome", "malformed", 502},
		{"answering JSON that is no list", 200, jsonType, `{"hello":"world"}`, "malformed", 502},
		{"answering a list of nothing known", 200, jsonType, `{"items":[1,2]}`, "malformed", 502},
		{"leaving out an id", 200, jsonType, `{"items":[` + item + `,{"receiptDate":"2026-11-20T11:00:00Z"}]}`, "malformed",
			502},
		{"ending within its list", 200, jsonType, `{"items":[` + item + `,`, "malformed", 502},
		{"writing bytes that are no text", 200, jsonType, "{\"items\":[{\"messageId\":\"\xff\"}]}", "malformed", 502},
		{"giving the same page for ever", 200, jsonType, `{"items":[` + item + `],"totalItems":1000}`, "malformed", 502},
	} {
		r, l := list(t, answers{"a": says(honest), "b": answering(c.status, c.contentType, c.body)}, "pageSize=100")
		if inbox.HeaderOf(r.Missing) != "b;reason="+c.reason || l.Items[0].ID != "H" || l.Total != nil {
			t.Errorf("%s: missing %q, total %v, %v", c.name, inbox.HeaderOf(r.Missing), l.Total, l.Items)
			continue
		}
		var doc map[string]any
		if err := json.Unmarshal(r.Missing[0].Problem, &doc); err != nil || doc["status"] != c.problem {
			t.Errorf("%s: the problem is %s", c.name, r.Missing[0].Problem)
		}
	}
}

// unanswered has no answer of any provider.
type unanswered struct{ why error }

func (u unanswered) Ask(context.Context, *inbox.Request) (*inbox.Answer, error) { return nil, u.why }

func TestAProviderThatSendsNoHeaderIsNamedWithWhatIsTrue(t *testing.T) {
	for want, why := range map[string]*problem.Problem{
		inbox.ReasonTimeout:     problem.Timeout("too slow", problem.ProxyResponseTimeout),
		inbox.ReasonRefused:     problem.Forbidden("no"),
		inbox.ReasonUnavailable: problem.Internal(errors.New("fault")),
	} {
		round := roundOf(unanswered{why}, "a")
		r, err := round.List(t.Context(), queryOf(t, ""), "list")
		if inbox.HeaderOf(r.Missing) != "a;reason="+want || err == nil {
			t.Errorf("%s: list lacks %q, %v", want, inbox.HeaderOf(r.Missing), err)
		}
		r, err = round.Summary(t.Context(), queryOf(t, ""), "self", "list")
		if inbox.HeaderOf(r.Missing) != "a;reason="+want {
			t.Errorf("%s: summary lacks %q, %v", want, inbox.HeaderOf(r.Missing), err)
		}
	}
}

// A message whose date cannot be read stands where its provider gives it.
func TestMessagesWithoutADateStayInTheirPlace(t *testing.T) {
	dated := func(dates ...string) func() *inbox.Answer {
		var items []string
		for i, date := range dates {
			items = append(items, fmt.Sprintf(`{"messageId":"%d","receiptDate":%s}`, i, date))
		}
		return says(`{"items":[` + strings.Join(items, ",") + `],"totalItems":` + fmt.Sprint(len(dates)) + `}`)
	}
	_, l := list(t, answers{
		"a": dated(`"2026-11-20T12:00:30Z"`, `null`, `"soon"`, `1795176030000`, `"2026-11-20T13:00:00+0100"`,
			`"2026-11-20T11:58:30"`),
		"b": dated(`"2026-11-20T12:00:00Z"`, `"2026-11-20T11:59:00Z"`, `"2026-11-20T11:58:00Z"`, `"2026-11-20T11:57:00Z"`),
	}, "")
	var got []string
	for _, item := range l.Items {
		got = append(got, item.Provider+fmt.Sprint(item.ID))
	}
	if want := "a0 a1 a2 a3 a4 b0 b1 a5 b2 b3"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
