package activity

import (
	"strings"
	"time"

	"ebox-gateway/internal/call"
)

// Problem is one request that did not get what it asked for.
type Problem struct {
	Kind
	Time time.Time `json:"time"`
	// RequestID is the X-Request-Id that the caller got, ParentID that of the request
	// that this one was a part of.
	RequestID string `json:"requestId"`
	ParentID  string `json:"parentId,omitempty"`
	// Detail is there if the problem is the gateway's.
	Detail string `json:"detail,omitempty"`
	// Cut is true if the answer was cut short.
	Cut bool `json:"cut,omitempty"`

	Method string `json:"method"`
	// Path is without its query, with the numbers of citizens masked, and cut at 200
	// bytes.
	Path   string `json:"path"`
	Caller string `json:"caller,omitempty"`
	Source string `json:"source,omitempty"`
	Actor  string `json:"actor,omitempty"`
	// Enterprise is whom the request was for; Claimed what it said of that, if it was not
	// granted: a number that is not listed, or none at all.
	Enterprise string `json:"enterprise,omitempty"`
	Claimed    string `json:"claimed,omitempty"`

	Upstream       string `json:"upstream,omitempty"`
	UpstreamHost   string `json:"upstreamHost,omitempty"`
	UpstreamStatus int    `json:"upstreamStatus,omitempty"`
	// MissingScopes are the scopes that the upstream's refusal asked for, parted by blanks.
	MissingScopes string `json:"missingScopes,omitempty"`
	Tries         int    `json:"tries,omitempty"`
	// TraceID is the BelGov-Trace-Id of the last try, AnswerTraceID the upstream's own.
	TraceID       string `json:"traceId,omitempty"`
	AnswerTraceID string `json:"answerTraceId,omitempty"`
	// Milliseconds is how long it took.
	Milliseconds float64 `json:"milliseconds"`
}

const maxText = 200 // bytes of a text that the caller chose

// problemOf copies what a problem needs of a record, and not a byte that shares
// memory with the request.
func (a *Recent) problemOf(r *call.Record, at time.Time, out outcome, provider string) Problem {
	p := Problem{
		Kind: Kind{Route: strings.Clone(r.Route), Provider: strings.Clone(provider), Status: r.Status, By: out.by(),
			Type: r.ProblemType, ProxyError: r.ProxyError},
		Time: at.UTC(), RequestID: r.ID, ParentID: r.Parent, Detail: a.text(r.Detail, 4*maxText), Cut: r.Cut,
		Method: a.text(r.Method, 20), Path: a.text(r.Path, maxText), Caller: r.Caller, Actor: a.text(r.Actor, maxText),
		Upstream: r.Upstream, UpstreamHost: r.UpstreamHost, UpstreamStatus: r.UpstreamStatus,
		MissingScopes: strings.Join(r.MissingScopes, " "), Tries: r.Tries,
		TraceID: r.TraceID, AnswerTraceID: a.text(r.AnswerTraceID, maxText),
		Milliseconds: rounded(milliseconds(r.Phases.Total)),
	}
	if r.Source.IsValid() {
		p.Source = r.Source.String()
	}
	switch {
	case r.Own:
		p.Enterprise = "own"
	case r.Enterprise != 0:
		p.Enterprise = r.Enterprise.String()
	default:
		p.Claimed = a.text(r.Claimed, maxText)
	}
	return p
}

// text masks a text and cuts it to so many bytes. It is masked first: the half of a
// number would pass for something else.
func (a *Recent) text(s string, most int) string {
	if s == "" {
		return ""
	}
	s = strings.Clone(a.o.Mask(s))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
