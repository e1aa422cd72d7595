package mandates

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// checkPace is how long one ask waits at most for a rate or a place.
const checkPace = time.Minute

// ask asks one upstream for one enterprise, once. wait is how long to wait before it
// is asked again, 0 if nobody said, negative if asking again is of no use.
func (c *Check) ask(ctx context.Context, t *mandateTarget, e *config.Enterprise) (f Finding, wait time.Duration) {
	f = Finding{
		Enterprise: e.Number, Name: e.Name, Mandate: t.mandate, Provider: t.provider, Result: NotTested,
		At: c.v.Now().UTC().Truncate(time.Second),
	}
	what, req, err := c.request(t, e)
	if err != nil {
		f.Reason = legible(err.Error())
		return f, -1
	}
	resp, err := what.To.Stack.Send(ctx, what, req)
	if err != nil {
		f.Reason, wait = whyUnanswered(err, c.v.Now())
		return f, wait
	}
	defer resp.Body.Close()
	const most = 64 << 10
	f.Status = resp.StatusCode
	switch {
	case resp.StatusCode/100 == 2:
		// The body is other people's data, which nobody looks at; it is let through so
		// that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, most)
		f.Result = Usable
		return f, 0
	case resp.StatusCode/100 == 3:
		f.Reason = "the upstream sends the call elsewhere, where it is not followed"
		return f, -1
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		f.Reason = "the answer broke off"
		return f, 0
	}
	f.Problem, f.Reason = whatTheySay(body)
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		f.Reason = "the token is refused: " + f.Reason
		return f, -1
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests,
		status >= 500:
		return f, wire.RetryAfter(resp.Header, c.v.Now())
	}
	f.Result = Refused
	return f, 0
}

// request makes the call, as one of a caller of class batch, and its request.
func (c *Check) request(t *mandateTarget, e *config.Enterprise) (*call.Call, *http.Request, error) {
	what := call.New()
	what.ID, what.Start, what.Caller, what.Batch, what.Pace = call.NewID(), c.v.Now(), "enterprises check", true, checkPace
	what.Method, what.Route, what.Provider, what.Action = http.MethodGet, t.route, t.provider, ebox.List
	what.Enterprise, what.Client = e.Number, e.Client
	what.Target, what.Segments = t.path, ebox.Segments(t.path)
	to, err := t.target(what)
	if err != nil {
		return nil, nil, err
	}
	what.Query = t.query
	if strings.HasSuffix(t.query, "=") {
		what.Query += e.Number.String()
	}
	what.To, what.Credential = to.Upstream, to.Credential
	u, err := what.URL()
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ebox-gateway")
	req.Header.Set(call.RepresentedField, e.Number.String())
	return what, req, nil
}

// whyUnanswered says why there is no answer of the upstream. It is for the platform
// team, so it may name hosts.
func whyUnanswered(err error, now time.Time) (reason string, wait time.Duration) {
	var known problem.Reporter
	if refused := authn.Refusal(err); refused != nil {
		return legible(refused.Error() + ". " + refused.Problem().Detail), -1
	}
	if errors.As(err, &known) {
		p := known.Problem()
		return legible(p.Detail), wire.RetryAfter(p.Header, now)
	}
	return legible(egress.Classify(err).Kind + ": " + err.Error()), 0
}

// whatTheySay reads the type and the words of a problem document, or the code and
// the words of a version 2 registry's StatusMessage.
func whatTheySay(body []byte) (kind, words string) {
	var said struct{ Type, Title, Detail, Code, Message string }
	var other *json.UnmarshalTypeError // one member of another type spoils no other
	if err := json.Unmarshal(body, &said); err != nil && !errors.As(err, &other) {
		return "", "the answer is no problem document"
	}
	return legible(cmp.Or(said.Type, said.Code)), legible(cmp.Or(said.Detail, said.Title, said.Message))
}

// legible is a text of somebody else's, fit for one line of a terminal or a table.
func legible(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		return printable.Text(s, most) + "…"
	}
	return printable.Text(s, 3*most) // what is replaced becomes longer
}
