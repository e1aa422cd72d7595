package evidence_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// announced is what a layer recorded and sent.
type announced struct {
	intents int
	refuse  error
	sent    bool
}

func (a *announced) Intent(context.Context, *call.Record) error {
	a.intents++
	if a.sent {
		panic("the intent came after the write")
	}
	return a.refuse
}

func (a *announced) Send(context.Context, *call.Call, *http.Request) (*http.Response, error) {
	a.sent = true
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

func TestAWriteIsAnnouncedBeforeItIsSent(t *testing.T) {
	for _, c := range []struct {
		name, method string
		action       ebox.Action
		log          announced
		intents      int
		status       int // of the problem
		err          error
	}{
		{"a change of messages", "PATCH", ebox.Change, announced{}, 1, 0, nil},
		{"a mandate", "DELETE", ebox.Mandates, announced{}, 1, 0, nil},
		{"a read", "GET", ebox.List, announced{}, 0, 0, nil},
		{"a search", "POST", ebox.List, announced{}, 0, 0, nil},
		{"an intent that cannot be recorded", "PATCH", ebox.Change, announced{refuse: audit.ErrNotRecorded}, 1, 503,
			audit.ErrNotRecorded},
		{"a caller that went away", "DELETE", ebox.Mandates, announced{refuse: context.Canceled}, 1, 0, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, decided := &c.log, call.New()
			decided.Method, decided.Action = c.method, c.action
			r, err := http.NewRequestWithContext(t.Context(), c.method, "http://upstream/x", strings.NewReader("{}"))
			testkit.Must(t, err)
			_, err = evidence.NewLayer(a, a.Intent).Send(t.Context(), decided, r)
			if !errors.Is(err, c.err) || a.sent != (c.err == nil) || a.intents != c.intents {
				t.Errorf("%v, sent %v, %d intents", err, a.sent, a.intents)
			}
			if p, ok := errors.AsType[*problem.Problem](err); ok != (c.status != 0) || ok && p.Status != c.status {
				t.Errorf("the problem: %v", err)
			}
		})
	}
}
