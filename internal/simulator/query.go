package simulator

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// queryReader reads parameters and collects what is wrong with them.
type queryReader struct {
	query     url.Values
	dateTimes bool // whether a date may have a time
	issues    []problem.Issue
}

func (r *queryReader) wrong(name, kind, detail string) {
	r.issues = append(r.issues, problem.Issue{Type: kind, In: "query", Name: name,
		Value: r.query.Get(name), Detail: detail})
}

// refuseQuery answers what is wrong with the query, if anything is.
func (c *call) refuseQuery(r *queryReader) response {
	if len(r.issues) == 0 {
		return nil
	}
	return c.fail(problem.BadRequest("The query is not valid.", r.issues...))
}

func (r *queryReader) number(name string, otherwise, most int) int {
	if !r.query.Has(name) {
		return otherwise
	}
	n, err := strconv.Atoi(r.query.Get(name))
	if err != nil || n < 1 || n > most {
		r.wrong(name, problem.IssueSchemaViolation, "a whole number from 1 to "+strconv.Itoa(most)+" is expected")
		return otherwise
	}
	return n
}

// date reads a day, or a moment where the API takes one. "After" a day begins
// with the end of that day.
func (r *queryReader) date(name string, after bool) time.Time {
	text, expected := r.query.Get(name), "a date is expected, as in 2026-01-31"
	day, err := time.Parse(time.DateOnly, text)
	switch {
	case !r.query.Has(name):
		return time.Time{}
	case err == nil && after:
		return day.AddDate(0, 0, 1).Add(-1)
	case err == nil:
		return day
	case r.dateTimes:
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return at
		}
		expected = "a date or date-time of RFC 3339 is expected"
	}
	r.wrong(name, problem.IssueSchemaViolation, expected)
	return time.Time{}
}

// filter reads what a list of messages is to have. Parameters that the API does not have
// are ignored.
func (r *queryReader) filter() func(*message) bool {
	var all []func(*message) bool
	named := func(name string, of func(*message) string) {
		if want := r.query.Get(name); want != "" {
			all = append(all, func(msg *message) bool { return of(msg) == want })
		}
	}
	flag := func(name string, of func(*message) bool) {
		if want := r.query.Get(name); r.query.Has(name) && want != "true" && want != "false" {
			r.wrong(name, problem.IssueSchemaViolation, "true or false is expected")
		}
		named(name, func(msg *message) string { return strconv.FormatBool(of(msg)) })
	}
	dated := func(name string, of func(*message) time.Time) {
		if before := r.date(name+"Before", false); !before.IsZero() {
			all = append(all, func(msg *message) bool { return of(msg).Before(before) })
		}
		if after := r.date(name+"After", true); !after.IsZero() {
			all = append(all, func(msg *message) bool { return of(msg).After(after) })
		}
	}
	flag("readStatus", func(msg *message) bool { return msg.Read })
	flag("visible", func(msg *message) bool { return msg.Visible })
	flag("registeredMail", func(msg *message) bool { return msg.Registered })
	named("messageTypeId", func(msg *message) string { return msg.TypeID })
	named("senderOrganizationId", func(msg *message) string { return msg.OrgID })
	named("senderApplicationId", func(msg *message) string { return msg.AppID })
	dated("received", func(msg *message) time.Time { return msg.Published })
	dated("expired", func(msg *message) time.Time { return msg.Expires })
	text, language := strings.ToLower(r.query.Get("q")), r.query.Get("qlang")
	if r.query.Has("q") && !slices.Contains([]string{"nl", "fr", "de"}, language) {
		r.wrong("qlang", problem.IssueInvalidInput, "one of nl, fr, de is required with q")
	}
	all = append(all, func(msg *message) bool { return strings.Contains(strings.ToLower(msg.Subject[language]), text) })
	return func(msg *message) bool {
		return !slices.ContainsFunc(all, func(accepts func(*message) bool) bool { return !accepts(msg) })
	}
}
