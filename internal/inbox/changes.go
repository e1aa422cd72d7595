package inbox

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// MaxChanges is the most that the body of a PATCH may have, in bytes: 1 MB.
const MaxChanges = 1e6

// mostIssues is how many issues of a PATCH are named: nobody reads more.
const mostIssues = 100

// Changes are the changes of a PATCH, by provider.
type Changes struct {
	contentType []string
	parts       []part
}

// part is what one provider gets.
type part struct {
	provider string
	items    []object // without their providerId
	body     []byte
}

// CheckChanges refuses a PATCH with a condition, which need not be read to know that it cannot be
// split: 400. Who cannot judge a condition must not write (RFC 9110, section 13.1).
func CheckChanges(h http.Header) error {
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Unmodified-Since", "If-Modified-Since"} {
		if len(h[name]) > 0 {
			return badChanges("header", name, problem.IssueInvalidInput,
				"no condition is true of all Document Providers: send it to the one that it is about, at "+
					"/ebox/providers/{providerId}/ebox/messages")
		}
	}
	return nil
}

func badChanges(in, name, kind, detail string) error {
	return problem.BadRequest("The changes cannot be shared out among the Document Providers. Nothing was sent to any "+
		"of them; correct the request and send it again.",
		problem.Issue{Type: kind, In: in, Name: name, Detail: detail})
}

// ParseChanges takes a body apart by the providerId of its items. It is none that two readers
// could read in two ways (jsonscan.Read). known are the ids of the active providers. The error is
// a *problem.Problem, 400 with the issues, and nothing of such a body may be sent; 503 if there is
// no memory for the parts.
func ParseChanges(body []byte, contentType []string, known []Provider, held *memory.Account) (*Changes, error) {
	var whole object
	if json.Unmarshal(body, &whole) != nil || whole == nil {
		return nil, badChanges("body", "", problem.IssueSchemaViolation, "an object with items is expected")
	}
	var items []json.RawMessage
	if json.Unmarshal(whole["items"], &items) != nil || len(items) == 0 {
		return nil, badChanges("body", "/items", problem.IssueRequiredInput, "an array with at least one item is expected")
	}
	c := &Changes{contentType: contentType}
	var issues []problem.Issue
	for i, item := range items {
		if issue := c.add(item, known); issue != nil {
			issue.In, issue.Name = "body", "/items/"+strconv.Itoa(i)+issue.Name
			issues = append(issues, *issue)
		}
		if len(issues) == mostIssues {
			break
		}
	}
	if len(issues) > 0 {
		return nil, problem.BadRequest("The changes cannot be shared out among the Document Providers. Nothing was sent to "+
			"any of them; give each item the providerId that the list shows for the message.", issues...)
	}
	// The items are held twice, taken apart and in the bodies; all else goes to each provider.
	others := len(body) - len(whole["items"])
	if !held.Hold(int64(2*len(whole["items"]) + others*(1+len(c.parts)))) {
		return nil, memory.Full()
	}
	_, counted := whole["totalItems"]
	for i := range c.parts {
		p := &c.parts[i]
		whole["items"] = jsonscan.Encoded(p.items)
		if counted {
			whole["totalItems"] = jsonscan.Encoded(len(p.items))
		}
		p.body = jsonscan.Encoded(whole)
	}
	return c, nil
}

// object is a JSON object by its members' names.
type object map[string]json.RawMessage

// add puts an item to those of its provider.
func (c *Changes) add(text json.RawMessage, known []Provider) *problem.Issue {
	var item object
	if json.Unmarshal(text, &item) != nil || item == nil {
		return &problem.Issue{Type: problem.IssueSchemaViolation, Detail: "an object is expected"}
	}
	var id string
	if json.Unmarshal(item["providerId"], &id) != nil || id == "" {
		return &problem.Issue{Type: problem.IssueRequiredInput, Name: "/providerId",
			Detail: "the id of the Document Provider that has the message is expected, as a text"}
	}
	if !slices.ContainsFunc(known, func(p Provider) bool { return p.ID == id }) {
		return &problem.Issue{Type: problem.IssueInvalidInput, Name: "/providerId", Value: problem.Clip(id),
			Detail: "no Document Provider that is active has this id: GET /ebox/providers lists them"}
	}
	i := slices.IndexFunc(c.parts, func(p part) bool { return p.provider == id })
	if i < 0 {
		i = len(c.parts)
		c.parts = append(c.parts, part{provider: id})
	}
	delete(item, "providerId")
	c.parts[i].items = append(c.parts[i].items, item)
	return nil
}

// outcome is what became of one provider's part, as callers are told it.
type outcome struct {
	Provider string          `json:"providerId"`
	Status   int             `json:"status"`
	Items    int             `json:"items"`
	Problem  json.RawMessage `json:"problem,omitempty"` // of what is no success

	missing *Missing
}

// Change sends each provider its own changes, all at once, and says what became of
// each: with status 200 if all of them succeeded, 207 if some did. If none did, the error is a
// *problem.Problem: most clients look at the status alone, and would take a 207 for done.
// Its status is that of all providers if they agree; else 400 if each of them refused (a
// 4xx, and no use in sending it again), and 502 if not. A provider that cannot be called
// now has not got its changes. Writes have no time limit but their own: how they ended
// would not be known. If the caller has gone, the error is that of ctx.
func (r *Round) Change(ctx context.Context, c *Changes) (*Result, error) {
	result := &Result{Status: http.StatusOK, Asked: len(c.parts)}
	outcomes := make([]outcome, len(c.parts))
	each(len(c.parts), func(i int) { outcomes[i] = r.change(ctx, c, &c.parts[i]) })
	if isGone(ctx) {
		return result, ctx.Err()
	}
	for _, o := range outcomes {
		if o.missing != nil {
			result.Status, result.Missing = http.StatusMultiStatus, append(result.Missing, o.missing)
		}
	}
	if len(result.Missing) == len(c.parts) {
		return result, r.refusalOfAll(result.Missing, outcomes)
	}
	result.Body = append(jsonscan.Encoded(map[string][]outcome{"providers": outcomes}), '\n')
	return result, nil
}

// refusalOfAll is the problem of changes that no provider has accepted.
func (r *Round) refusalOfAll(missing []*Missing, outcomes []outcome) *problem.Problem {
	status, refused := missing[0].Status, true
	for _, m := range missing {
		if m.Status != status {
			status = 0
		}
		refused = refused && m.Status < http.StatusInternalServerError
	}
	switch {
	case status != 0:
	case refused:
		status = http.StatusBadRequest
	default:
		status = http.StatusBadGateway
	}
	author := problem.ProxyDestinationUnavail
	if refused {
		author = problem.ProxyRequestDenied
	}
	p := &problem.Problem{
		Type: "urn:problem-type:ebox-gateway:changesRefused", Title: "Changes Refused", Status: status,
		Detail: "No Document Provider has accepted its changes. The member providers has the status and the problem of " +
			"each; where it says requestSent, the changes may have taken effect all the same.",
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		if d := r.wait(missing, true); d > 0 {
			p.Header = http.Header{"Retry-After": {strconv.FormatInt(problem.WholeSeconds(d), 10)}}
		}
	}
	return p.With("providers", outcomes).Proxy(author)
}

func (r *Round) change(ctx context.Context, c *Changes, p *part) outcome {
	without := func(m *Missing) outcome { return outcome{p.provider, m.Status, len(p.items), m.Problem, m} }
	for _, known := range r.Providers {
		if known.ID == p.provider && known.Refusal != nil {
			return without(r.notAsked(known))
		}
	}
	a, err := r.Asker.Ask(ctx, &Request{
		Provider: p.provider, Method: http.MethodPatch, Path: MessagesPath, ContentType: c.contentType, Body: p.body,
	})
	if err != nil {
		return without(r.failed(p.provider, err))
	}
	defer a.Body.Close()
	// How the write ended is known. What is said of it besides must not hold the others'
	// answers back, however slowly it comes.
	defer time.AfterFunc(r.Timeout, func() { _ = a.Body.Close() }).Stop()
	if a.Reason == "" && a.Status >= 200 && a.Status < 300 {
		_, _ = io.CopyN(io.Discard, a.Body, maxProblem) // so that its connection can be used again
		return outcome{Provider: p.provider, Status: a.Status, Items: len(p.items)}
	}
	return without(r.refused(p.provider, a))
}
