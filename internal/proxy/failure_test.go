package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// failing is a stack that always fails.
func failing(err error) call.Sender {
	return call.SenderFunc(func(context.Context, *call.Call, *http.Request) (*http.Response, error) { return nil, err })
}

func TestFailuresOfTheUpstream(t *testing.T) {
	const secret = "10.20.30.40"
	refused := &net.OpError{Op: "dial", Err: errors.New(secret)}
	reset := &net.OpError{Op: "read", Err: errors.New(secret)}
	slow := &net.OpError{Op: "read", Err: context.DeadlineExceeded}
	cases := []struct {
		name, method string
		opening      bool
		err          error
		status       int
		proxyError   string
		sent         any
		says         string
	}{
		{"a read, connection refused", "GET", false, refused, 502, "connection_refused", nil, "Try again later."},
		{"a read, connection reset", "GET", false, reset, 502, "connection_terminated", nil, "ended the connection"},
		{"a read, too slow", "GET", false, slow, 504, "http_response_timeout", nil, "in time"},
		{"a write that was not sent", "POST", false, refused, 502, "connection_refused", false, "had no effect"},
		{"a write that may have been sent", "POST", false, reset, 502, "connection_terminated", true,
			"may have taken effect"},
		{"a write, too slow", "PATCH", false, slow, 504, "http_response_timeout", true, "may have taken effect"},
		{"an opening that was sent", "GET", true, reset, 502, "connection_terminated", nil, "marked as read"},
		{"a problem of the stack's own", "POST", false, fmt.Errorf("waiting: %w", problem.Unavailable("The circuit is open.",
			3*time.Second)), 503, "destination_unavailable", nil, "The circuit is open."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, "http://127.0.0.1:1/REST/registry/v3")
			g.up.Stack = counted(failing(c.err))
			g.call = func(_ *http.Request, made *call.Call) { made.Opening = c.opening }
			a := g.get(c.method, "/x", nil, strings.NewReader(""))
			var doc map[string]any
			if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
				t.Fatalf("%v: %s", err, a.body)
			}
			if a.StatusCode != c.status || a.header("Proxy-Status") != "ebox-gateway; error="+c.proxyError+"; tries=1" ||
				doc["requestSent"] != c.sent ||
				!strings.Contains(doc["detail"].(string), c.says) ||
				doc["instance"] != "urn:uuid:5f1d7a3e-0000-4000-8000-000000000001" {
				t.Errorf("%d %v\n%s", a.StatusCode, a.Response.Header, a.body)
			}
			if strings.Contains(a.body, secret) {
				t.Error("an address was shown to the caller")
			}
			if rec := g.record(); rec.Status != c.status || rec.ProxyError != c.proxyError || rec.Tries != 1 ||
				rec.UpstreamStatus != 0 {
				t.Errorf("%+v", rec)
			}
		})
	}
}

func TestATryThatWasSentStaysSent(t *testing.T) {
	// The first try reaches the upstream and fails, the second cannot connect: the
	// write may have taken effect all the same.
	var tries []http.Header
	stack := counted(call.SenderFunc(func(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
		if tries = append(tries, r.Header); len(tries) == 1 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}))
	g := newRig(t, "http://127.0.0.1:1")
	g.up.Stack = call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		_, _ = stack.Send(ctx, c, r)
		return stack.Send(ctx, c, r)
	})
	a := g.get("DELETE", "/x", nil, nil)
	if !strings.Contains(a.body, `"requestSent":true`) ||
		a.header("Proxy-Status") != "ebox-gateway; error=connection_refused; tries=2" {
		t.Fatalf("%s %s", a.header("Proxy-Status"), a.body)
	}
	// The transport may still read the first try's header: it keeps its id.
	ids := [2]string{tries[0].Get("BelGov-Trace-Id"), tries[1].Get("BelGov-Trace-Id")}
	if rec := g.record(); ids[0] == ids[1] || ids[0] == "" || rec.TraceID != ids[1] || rec.Tries != 2 || !rec.Sent {
		t.Fatalf("trace ids %q, record %+v", ids, rec)
	}
}
