package inbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestChangesGoToTheirProviders(t *testing.T) {
	const body = `{"totalItems": 3, "items": [{"messageId": "1", "providerId": "b", "visible": false},
		{"providerId":"a","messageId":"1","visible":true,"partitionId":null},
		{"messageId":"2","visible":false,"providerId":"b"}], "reason": {"x": 1}}`
	sent := map[string]string{
		"a": `{"items":[{"messageId":"1","partitionId":null,"visible":true}],"reason":{"x":1},"totalItems":1}`,
		"b": `{"items":[{"messageId":"1","visible":false},{"messageId":"2","visible":false}],"reason":{"x":1},` +
			`"totalItems":2}`,
	}
	media := []string{"application/merge-patch+json"}
	c, err := inbox.ParseChanges([]byte(body), media, []inbox.Provider{{ID: "a"}, {ID: "b"}, {ID: "c"}}, nil)
	testkit.Must(t, err)
	for _, s := range []struct{ a, b, together int }{
		{200, 204, 200}, {404, 200, 207}, {200, 403, 207}, {503, 400, 502}, {403, 404, 400}, {404, 404, 404}, {503, 503, 503},
	} {
		asked := &noting{Asker: answers{"a": refuses(s.a), "b": refuses(s.b)}, requests: make(map[string][]*inbox.Request)}
		r, err := roundOf(asked, "a", "b", "c").Change(t.Context(), c)
		text, status := r.Body, r.Status
		if err != nil {
			p := problem.From(err)
			status, text = p.Status, p.Append(nil, "x")
		}
		var got struct {
			Providers []struct {
				Provider string `json:"providerId"`
				Status   int
				Items    int
				Problem  *struct{ Status int }
			}
		}
		if err := json.Unmarshal(text, &got); err != nil || status != s.together {
			t.Errorf("%+v: %d, %v in %s", s, status, err, text)
		}
		outcome := ""
		for _, p := range got.Providers {
			outcome += fmt.Sprintf("%s %d×%d ", p.Provider, p.Items, p.Status)
			if (p.Status >= 300) != (p.Problem != nil) || p.Problem != nil && p.Problem.Status != p.Status {
				t.Errorf("%+v: %s", s, text)
			}
		}
		if want := fmt.Sprintf("b 2×%d a 1×%d ", s.b, s.a); outcome != want {
			t.Errorf("%q, want %q", outcome, want)
		}
		for provider, want := range sent {
			q := asked.requests[provider]
			if len(q) != 1 || q[0].Method != "PATCH" || q[0].Path != inbox.MessagesPath || string(q[0].Body) != want ||
				!reflect.DeepEqual(q[0].ContentType, media) {
				t.Errorf("%s was sent %+v", provider, q)
			}
		}
		if len(asked.requests) != 2 {
			t.Errorf("asked were %v", asked.requests)
		}
	}
	round := roundOf(answers{"a": refuses(200)}, "a", "b")
	round.Providers[1].Reason, round.Providers[1].Refusal = "maintenance", problem.Unavailable("Later.", time.Minute)
	if r, err := round.Change(t.Context(), c); r.Status != 207 || inbox.HeaderOf(r.Missing) != "b;reason=maintenance" {
		t.Errorf("one that cannot be called now: %d, %v, %s", r.Status, err, r.Body)
	}
}

func TestChangesUnderAConditionAreRefused(t *testing.T) {
	for field, ok := range map[string]bool{"If-Match": false, "If-None-Match": false, "If-Modified-Since": false,
		"If-Unmodified-Since": false, "If-Range": true} {
		if err := inbox.CheckChanges(http.Header{field: {`"1"`}}); (err == nil) != ok {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestChangesThatCannotBeSharedOut(t *testing.T) {
	const good = `{"providerId":"a","messageId":"1","visible":false}`
	for body, issue := range map[string]string{
		`{"items":[` + good + `,{"messageId":"1"}]}`:                               "/items/1/providerId",
		`{"items":[` + good + `,` + good + `,{"providerId":"x","messageId":"1"}]}`: "/items/2/providerId",
		`{"items":[{"providerId":1}]}`:                                             "/items/0/providerId",
		`{}`:                                                                       "/items",
		`{"items":[ ]}`:                                                            "/items",
		`{"items":{}}`:                                                             "/items",
		`{"items":[` + good + `,[]]}`:                                              "/items/1",
		`{"items":[`:                                                               "",
		``:                                                                         "",
	} {
		_, err := inbox.ParseChanges([]byte(body), nil, []inbox.Provider{{ID: "a"}, {ID: "b"}}, nil)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 400 || len(p.Issues) == 0 || p.Issues[0].Name != issue {
			t.Errorf("%s: %v %+v, want an issue with %q", body, err, p, issue)
		}
	}
}

// How the write ended is in the header, for which the other providers' changes wait.
func TestAnAnswerThatDripsHoldsNoChangeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drips := func(status int) func() *inbox.Answer {
			return func() *inbox.Answer {
				r, w := io.Pipe()
				go func() {
					for {
						if _, err := w.Write([]byte(" ")); err != nil {
							return
						}
						time.Sleep(10 * time.Second)
					}
				}()
				return &inbox.Answer{ID: "x", Status: status, ContentType: "application/json", Body: r}
			}
		}
		a := answers{"a": says("{}"), "b": drips(200), "c": drips(403)}
		c, err := inbox.ParseChanges([]byte(`{"items":[{"providerId":"a","messageId":"1"},{"providerId":"b","messageId":"1"},
			{"providerId":"c","messageId":"1"}]}`), nil, a.round().Providers, nil)
		testkit.Must(t, err)
		began := time.Now()
		round := a.round()
		round.Timeout = 15 * time.Second
		r, err := round.Change(t.Context(), c)
		if err != nil || r.Status != http.StatusMultiStatus || inbox.HeaderOf(r.Missing) != "c;reason=refused" ||
			time.Since(began) > 15*time.Second {
			t.Errorf("%d after %s, %v: %s", r.Status, time.Since(began), err, r.Body)
		}
		time.Sleep(time.Minute) // both drips end
	})
}
