package inbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// Header names what an answer lacks: a list of providers, each with its reason.
const Header = "X-EBox-Incomplete"

// Reasons that this package gives. Those of an Answer or a Provider join them.
const (
	// ReasonRefused is an answer of the provider that is no success, below 500, and
	// ReasonFailed one from there on.
	ReasonRefused = "refused"
	ReasonFailed  = "failed"
	// ReasonMalformed is an answer that cannot be used, ReasonCut one that broke off.
	ReasonMalformed = "malformed"
	ReasonCut       = "cut-short"
	// ReasonTimeout is a provider that was too slow.
	ReasonTimeout = "timeout"
	// ReasonUnavailable is any other way of not being there.
	ReasonUnavailable = "unavailable"
)

// maxProblem is the most of a provider's problem that is repeated, in bytes.
const maxProblem = 64 << 10

// Missing is a provider of which an answer lacks something, or everything.
type Missing struct {
	Provider string `json:"providerId"`
	// Reason is a token, Status what the provider's own route would have answered.
	Reason string `json:"reason"`
	Status int    `json:"-"`
	// Problem is the problem document, as JSON.
	Problem json.RawMessage `json:"problem"`

	retry time.Time // when to try again, zero if that is not known
}

// own is a problem of the gateway's own making. id names the call that it is about.
func (r *Round) own(provider, reason string, p *problem.Problem, id string) *Missing {
	return &Missing{
		Provider: provider, Reason: reason, Status: p.Status, Problem: bytes.TrimSpace(p.Append(nil, id)),
		retry: wire.RetryTime(p.Header.Get("Retry-After"), r.Now()),
	}
}

// notAsked is a provider that cannot be called now.
func (r *Round) notAsked(p Provider) *Missing { return r.own(p.ID, p.Reason, p.Refusal, r.ID) }

// failed is a provider that could not be asked: err is a problem.Reporter.
func (r *Round) failed(provider string, err error) *Missing {
	p := problem.From(err)
	reason := ReasonUnavailable
	switch {
	case p.Status < http.StatusInternalServerError:
		reason = ReasonRefused
	case p.Status == http.StatusGatewayTimeout:
		reason = ReasonTimeout
	}
	return r.own(provider, reason, p, r.ID)
}

// refused makes of an answer that is no success what it means for the whole. It reads
// the answer's body.
func (r *Round) refused(provider string, a *Answer) *Missing {
	m := &Missing{Provider: provider, Reason: a.Reason, Status: a.Status, retry: wire.RetryTime(a.RetryAfter, r.Now())}
	if m.Reason == "" {
		m.Reason = ReasonRefused
		if a.Status >= http.StatusInternalServerError {
			m.Reason = ReasonFailed
		}
	}
	if a.Status < http.StatusBadRequest { // a redirect, which is never followed, or a success without content
		m.Reason, m.Status = ReasonMalformed, http.StatusBadGateway
		m.Problem = bytes.TrimSpace(problem.BadGateway("The Document Provider answered with status "+strconv.Itoa(a.Status)+
			", which is no answer to this request.",
			problem.ProxyProtocolError).Append(nil, a.ID))
		return m
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, maxProblem+1))
	// A whole object of JSON goes on: a problem document as it is, a StatusMessage of
	// version 2 within a problem that says so. Anything else says nothing to a program.
	if err == nil && len(body) <= maxProblem && saysJSON(a.ContentType) && usable(body) == nil {
		if body = bytes.TrimSpace(body); body[0] == '{' {
			m.Problem = body
			if !strings.HasPrefix(a.ContentType, problem.ContentType) {
				p := plain(a.Status, "The Document Provider answered in the form of an older version of the API, "+
					"which is in statusMessage.")
				m.Problem = bytes.TrimSpace(p.With("statusMessage", json.RawMessage(body)).Append(nil, a.ID))
			}
			return m
		}
	}
	m.Problem = bytes.TrimSpace(plain(a.Status, "The Document Provider answered with status "+strconv.Itoa(a.Status)+
		" and without a problem document.").Append(nil, a.ID))
	return m
}

// plain is a problem that says no more than its status (RFC 9457, section 4.2.1).
func plain(status int, detail string) *problem.Problem {
	title := http.StatusText(status)
	if title == "" {
		title = "Status " + strconv.Itoa(status)
	}
	return &problem.Problem{Type: "about:blank", Title: title, Status: status, Detail: detail}
}

// broken is an answer that began well and could not be read to its end.
func (r *Round) broken(ctx context.Context, provider string, a *Answer, err error) *Missing {
	var why unusable
	switch {
	case errors.As(err, &why):
		return r.own(provider, ReasonMalformed, problem.BadGateway(
			"The answer of the Document Provider cannot be used: it "+why.Error()+
				". Call the provider itself to see it, and tell its help desk.",
			problem.ProxyProtocolError).Because(err), a.ID)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return r.own(provider, ReasonTimeout, problem.Timeout(
			"The Document Provider had not answered to the end when the time for the whole list was over. Try again later.",
			problem.ProxyConnectionReadTimeout).Because(err), a.ID)
	}
	return r.own(provider, ReasonCut, problem.BadGateway(
		"The answer of the Document Provider was cut short. Try again later.",
		problem.ProxyResponseIncomplete).Because(err), a.ID)
}

// HeaderOf is the value of Header for an answer that lacks these (RFC 9651).
func HeaderOf(missing []*Missing) string {
	var b strings.Builder
	for i, m := range missing {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(item(m.Provider))
		b.WriteString(";reason=")
		b.WriteString(m.Reason)
	}
	return b.String()
}

// token is what may stand in the header without quotes (RFC 9651, section 3.3.4).
var token = regexp.MustCompile("^[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*$")

// item writes an id as a token, or as a string if it cannot be one.
func item(id string) string {
	if token.MatchString(id) {
		return id
	}
	return `"` + url.PathEscape(id) + `"`
}

// refusal is the problem of an answer that may not, or cannot, be given without these.
// some reports whether others did answer.
func (r *Round) refusal(missing []*Missing, some bool) *problem.Problem {
	names := make([]string, len(missing))
	for i, m := range missing {
		names[i] = m.Provider + " (" + m.Reason + ")"
	}
	detail := "No Document Provider could be asked: there is none in the gateway's list that is active."
	switch {
	case some:
		detail = "These Document Providers did not answer, and the answer was to be whole: " + strings.Join(names, ", ") +
			". Leave out partial=false to get what the others have, if the caller's rule allows it, or try again later."
	case len(missing) > 0:
		detail = "No Document Provider has answered: " + strings.Join(names, ", ") +
			". The member incomplete has the problem of each."
	}
	p := problem.Unavailable(detail, r.wait(missing, some))
	if len(missing) > 0 {
		p.With("incomplete", missing)
		if p.Header == nil {
			p.Header = make(http.Header, 1)
		}
		p.Header[Header] = []string{HeaderOf(missing)}
	}
	return p
}

// wait is how long to wait before the whole can be had (all), or something of it; zero
// if nobody knows.
func (r *Round) wait(missing []*Missing, all bool) time.Duration {
	var until time.Time
	for _, m := range missing {
		switch {
		case m.retry.IsZero() && all:
			return 0
		case m.retry.IsZero():
		case until.IsZero(), all == m.retry.After(until):
			until = m.retry
		}
	}
	if until.IsZero() {
		return 0
	}
	return max(until.Sub(r.Now()), time.Second)
}
