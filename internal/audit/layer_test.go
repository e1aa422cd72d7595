package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// announced is what a layer was told and sent.
type announced struct {
	off     bool
	intents int
	ids     []string
	more    bool
	refuse  error
	sent    bool
	body    string
	again   string
}

func (a *announced) Kept() bool { return !a.off }

func (a *announced) Intent(_ context.Context, r *call.Record) error {
	a.intents++
	a.ids, a.more = r.Messages, r.MoreMessages
	if a.sent {
		panic("the intent came after the write")
	}
	return a.refuse
}

func (a *announced) Send(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
	a.sent = true
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		a.body = string(b)
	}
	if r.GetBody != nil {
		again, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		b, _ := io.ReadAll(again)
		a.again = string(b)
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

func send(t *testing.T, a *announced, method, path, body string, action ebox.Action) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://upstream"+path, strings.NewReader(body))
	must(t, err)
	_, err = NewLayer(a, a).Send(t.Context(), callOf(method, path, action), r)
	return err
}

// callOf is a call that is about to be sent.
func callOf(method, path string, action ebox.Action) *call.Call {
	c := call.New()
	c.Route, c.Method, c.Action, c.Segments = "r", method, action, ebox.Segments(path)
	return c
}

func TestAWriteIsAnnouncedAndItsBodySentUnchanged(t *testing.T) {
	long := `{"items":[` + strings.Repeat(" ", maxAhead) + `{"messageId":"late"}]}`
	many := `{"items":[`
	for i := range maxIDs + 1 {
		many += fmt.Sprintf(`{"messageId":"%d"},`, i)
	}
	for _, c := range []struct {
		name, method, path, body string
		action                   ebox.Action
		intents                  int
		ids                      []string
		more                     bool
	}{
		{"a change of messages", "PATCH", "/v3/ebox/messages",
			`{"items":[{"messageId":"M1","visible":true},{"visible":false,"messageId":"M2"}]}`, ebox.Change, 1,
			[]string{"M1", "M2"}, false},
		{"a message linked into other e-Boxes", "POST", "/v3/linkEboxMessage",
			`{"messageId":"M1","recipients":[{"eboxType":"messageId"}]}`, ebox.Publish, 1, []string{"M1"}, false},
		{"a value that looks like the name", "PATCH", "/v3/ebox/messages",
			`{"items":[{"a":"messageId","b":"x"},["messageId","y"]]}`, ebox.Change, 1, nil, false},
		{"no JSON", "PATCH", "/v3/ebox/messages", `{"items":[{"messageId":"M1"`, ebox.Change, 1, []string{"M1"}, true},
		{"more than is read", "PATCH", "/v3/ebox/messages", long, ebox.Change, 1, nil, true},
		{"more than is recorded", "PATCH", "/v3/ebox/messages", many, ebox.Change, 1, nil, true},
		{"a publication", "POST", "/v3/ebox/messages", `{"messageId":"M1"}`, ebox.Publish, 1, nil, false},
		{"a mandate", "DELETE", "/mandates/5", ``, ebox.Mandates, 1, nil, false},
		{"a read", "GET", "/v3/ebox/messages", ``, ebox.List, 0, nil, false},
		{"a search", "POST", "/v3/eboxPreferences/search", `{}`, ebox.List, 0, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &announced{}
			must(t, send(t, a, c.method, c.path, c.body, c.action))
			if c.name == "more than is recorded" {
				if len(a.ids) != maxIDs {
					t.Errorf("%d ids", len(a.ids))
				}
			} else if !slices.Equal(a.ids, c.ids) {
				t.Errorf("ids %v", a.ids)
			}
			if a.intents != c.intents || a.more != c.more || !a.sent || a.body != c.body || a.again != c.body {
				t.Errorf("intents %d, more %v, sent %v, body %t, again %t", a.intents, a.more, a.sent, a.body == c.body,
					a.again == c.body)
			}
		})
	}
}

func TestAWriteWithoutItsIntentIsNotSent(t *testing.T) {
	a := &announced{refuse: ErrNotRecorded}
	err := send(t, a, "PATCH", "/ebox/messages", "{}", ebox.Change)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != 503 || a.sent {
		t.Errorf("%v, sent %v", err, a.sent)
	}
	a = &announced{refuse: context.Canceled}
	if err := send(t, a, "DELETE", "/mandates/5", "", ebox.Mandates); !errors.Is(err, context.Canceled) || a.sent {
		t.Errorf("%v, sent %v", err, a.sent)
	}
}

func TestABodyThatBreaksOffIsNotSent(t *testing.T) {
	a := &announced{}
	r, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://upstream/ebox/messages",
		io.MultiReader(strings.NewReader(`{"items":`), brokenReader{}))
	must(t, err)
	if _, err := NewLayer(a, a).Send(t.Context(), callOf("PATCH", "/ebox/messages", ebox.Change), r); !errors.Is(err,
		io.ErrUnexpectedEOF) || a.sent || a.intents > 0 {
		t.Errorf("%v, sent %v, intents %d", err, a.sent, a.intents)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzMessageIDs(f *testing.F) {
	f.Add([]byte(`{"items":[{"messageId":"M1"}]}`))
	f.Add([]byte(`}]{`))
	f.Add([]byte(`["messageId",{"messageid":["x"]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ids, _ := messageIDs(text); len(ids) > maxIDs {
			t.Errorf("%d ids", len(ids))
		}
	})
}

// A caller that waits for a 100 gets the upstream's: nothing of its body is read before
// that, and the messages are known when it has passed.
func TestABodyThatIsWaitedForIsReadInPassing(t *testing.T) {
	const text = `{"items":[{"messageId":"M1"}]}`
	a := &announced{}
	c := callOf("PATCH", "/ebox/messages", ebox.Change)
	r, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://upstream/ebox/messages", strings.NewReader(text))
	must(t, err)
	r.Header.Set("Expect", "100-continue")
	if _, err := NewLayer(a, a).Send(t.Context(), c, r); err != nil {
		t.Fatal(err)
	}
	if a.intents != 1 || len(a.ids) != 0 || !a.more {
		t.Errorf("the intent: %d, %v, %v", a.intents, a.ids, a.more)
	}
	rec := c.Record
	if !slices.Equal(rec.Messages, []string{"M1"}) || rec.MoreMessages || a.body != text || a.again != text {
		t.Errorf("the outcome: %v, %v; sent %q, again %q", rec.Messages, rec.MoreMessages, a.body, a.again)
	}
}

func TestWithoutEvidenceNoBodyIsReadAhead(t *testing.T) {
	a := &announced{off: true}
	if err := send(t, a, "PATCH", "/ebox/messages", `{"messageId":"M1"}`, ebox.Change); err != nil ||
		a.intents != 0 || !a.sent {
		t.Errorf("%v, %d intents, sent %v", err, a.intents, a.sent)
	}
}
