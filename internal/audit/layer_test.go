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
	"testing/iotest"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/memory"
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

// send sends a request through a layer; fields are the name of a header field and its value. It
// gives the record that the layer wrote to.
func send(t *testing.T, a *announced, method, path string, body io.Reader, action ebox.Action,
	fields ...string) (*call.Record, error) {
	t.Helper()
	c := call.New()
	c.Route, c.Method, c.Action, c.Segments = "r", method, action, ebox.Segments(path)
	r, err := http.NewRequestWithContext(t.Context(), method, "http://upstream"+path, body)
	must(t, err)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	_, err = NewLayer(a, a).Send(t.Context(), c, r)
	return c.Record, err
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
			_, err := send(t, a, c.method, c.path, strings.NewReader(c.body), c.action)
			must(t, err)
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
	_, err := send(t, a, "PATCH", "/ebox/messages", strings.NewReader("{}"), ebox.Change)
	if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Status != 503 || a.sent {
		t.Errorf("%v, sent %v", err, a.sent)
	}
	a = &announced{refuse: context.Canceled}
	if _, err := send(t, a, "DELETE", "/mandates/5", nil, ebox.Mandates); !errors.Is(err, context.Canceled) || a.sent {
		t.Errorf("%v, sent %v", err, a.sent)
	}
}

func TestABodyThatBreaksOffIsNotSent(t *testing.T) {
	a := &announced{}
	broken := io.MultiReader(strings.NewReader(`{"items":`), iotest.ErrReader(io.ErrUnexpectedEOF))
	_, err := send(t, a, "PATCH", "/ebox/messages", broken, ebox.Change)
	if !errors.Is(err, io.ErrUnexpectedEOF) || a.sent || a.intents > 0 {
		t.Errorf("%v, sent %v, intents %d", err, a.sent, a.intents)
	}
}

const oneMessage = `{"items":[{"messageId":"M1"}]}`

// A caller that waits for a 100 gets the upstream's: nothing of its body is read before
// that, and the messages are known when it has passed.
func TestABodyThatIsWaitedForIsReadInPassing(t *testing.T) {
	a := &announced{}
	rec, err := send(t, a, "PATCH", "/ebox/messages", strings.NewReader(oneMessage), ebox.Change, "Expect", "100-continue")
	must(t, err)
	if a.intents != 1 || len(a.ids) != 0 || !a.more {
		t.Errorf("the intent: %d, %v, %v", a.intents, a.ids, a.more)
	}
	if !slices.Equal(rec.Messages, []string{"M1"}) || rec.MoreMessages || a.body != oneMessage || a.again != oneMessage {
		t.Errorf("the outcome: %v, %v; sent %q, again %q", rec.Messages, rec.MoreMessages, a.body, a.again)
	}
}

// What is held of bodies for the sake of the record counts like all else that is held for callers.
func TestNoMoreOfABodyIsHeldThanThereIsMemoryFor(t *testing.T) {
	long := `{"items":[` + strings.Repeat(" ", memory.Free) + `{"messageId":"M1"}]}`
	for _, expect := range []string{"", "100-continue"} {
		a, c, budget := new(announced), call.New(), memory.NewBudget(4)
		c.Method, c.Action, c.Segments, c.Memory = "PATCH", ebox.Change, []string{"messages"}, new(memory.Account)
		c.Memory.Open(budget, memory.Party{Caller: "hr"})
		r, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://upstream/messages", strings.NewReader(long))
		must(t, err)
		if expect != "" {
			r.Header.Set("Expect", expect)
		}
		_, err = NewLayer(a, a).Send(t.Context(), c, r)
		if expect != "" { // it passes all the same
			if err != nil || a.body != long || len(c.Record.Messages) > 0 || !c.Record.MoreMessages {
				t.Errorf("%v; %d bytes sent, messages %v, more %v", err, len(a.body), c.Record.Messages, c.Record.MoreMessages)
			}
		} else if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Status != 503 || a.sent {
			t.Errorf("%v, sent %v", err, a.sent)
		}
	}
}

func TestWithoutEvidenceNoBodyIsReadAhead(t *testing.T) {
	a := &announced{off: true}
	_, err := send(t, a, "PATCH", "/ebox/messages", strings.NewReader(oneMessage), ebox.Change)
	if err != nil || a.intents != 0 || !a.sent {
		t.Errorf("%v, %d intents, sent %v", err, a.intents, a.sent)
	}
}

func TestNoFormOfAPathOrBodyHidesWhichMessagesAreChanged(t *testing.T) {
	for _, path := range []string{"/ebox/messages", "/ebox/messages/", "/ebox/messages;v=1", "/ebox/%6dessages",
		"/ebox/Messages%20", "/ebox/messages/;x", "/ebox/messages.json"} {
		a := new(announced)
		_, err := send(t, a, "PATCH", path, strings.NewReader(oneMessage), ebox.Change)
		if err != nil || !slices.Equal(a.ids, []string{"M1"}) || a.more {
			t.Errorf("%s: %q, more: %v, %v", path, a.ids, a.more, err)
		}
	}
	for coding, want := range map[string]bool{"gzip": true, "Identity": false} {
		a := new(announced)
		_, err := send(t, a, "PATCH", "/ebox/messages", strings.NewReader(oneMessage), ebox.Change, "Content-Encoding", coding)
		if err != nil || a.more != want || a.body != oneMessage {
			t.Errorf("%s: the record says that it names all: %v; %v", coding, !a.more, err)
		}
	}
}

// Whoever may change messages writes what stands in the record of it. A line that no
// reader takes for a record would look like tampering, and be cut off at the next start.
func TestNoCallerWritesARecordThatDoesNotVerify(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	for name, body := range map[string]string{
		"one id of a megabyte": `{"items":[{"messageId":"é` + strings.Repeat("<", 1<<20-100) + `"}]}`,
		"a thousand of a kilobyte": `{"items":[` + strings.Repeat(`{"messageId":"`+strings.Repeat("é<&", 250)+
			`"},`, 1000) + `{}]}`,
	} {
		r := write(name)
		r.Messages, r.MoreMessages = messageIDs([]byte(body))
		if !r.MoreMessages {
			t.Errorf("%s: the record does not say that there are more", name)
		}
		must(t, l.Intent(t.Context(), r))
		l.Done(r)
	}
	must(t, l.Close())
	sound(t, dir)
}

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
