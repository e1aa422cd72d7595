package inbox

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

const (
	// Deepest is the last position in the list that a page may reach to. Every provider
	// has to be read from its newest message up to there, since any of them could have
	// all that comes before.
	Deepest = 1000
	// defaultPageSize and maxPageSize are the API's.
	defaultPageSize = 25
	maxPageSize     = 100
)

// Query is what a caller asks of the list, or of the summary, read and checked.
type Query struct {
	// Page counts from 1; PageSize is the most messages of one.
	Page, PageSize int
	// Whole refuses an answer that lacks a provider: ?partial=false.
	Whole bool

	// skip is how many messages in front of the first page were given already: those of
	// the very moment at which the list was taken up again.
	skip int
	// filters are the raw parameters that are sent on and that links repeat, but for
	// receivedBefore, which links replace; sent is what providers get of all.
	filters, before string
	sent            string
	// partial is the raw parameter of that name, for links.
	partial string
	// window holds what the moments among the filters mean.
	window window
}

// window is the part of the filters that is applied here, by their names. The API's description
// has days in its date filters, while some providers know moments too. So a moment is sent
// as the day that surely includes it, the same to all providers, and the rest is left
// out here.
type window map[string]time.Time

// admits reports whether a message is within. What has no date is not held against it.
func (w window) admits(m *message) bool {
	for name, bound := range w {
		t := m.received
		if strings.HasPrefix(name, "expired") {
			t = m.expires
		}
		if !t.IsZero() && (t.Equal(bound) || t.Before(bound) != strings.HasSuffix(name, "Before")) {
			return false
		}
	}
	return true
}

// countable reports whether what is left out here all stands at the list's beginning, so
// that a provider's own count can be put right.
func (w window) countable() bool {
	_, first := w["receivedBefore"]
	return len(w) == 0 || len(w) == 1 && first
}

// last is the position of the page's last message, counted from 1.
func (q *Query) last() int { return q.skip + q.Page*q.PageSize }

// ParseQuery reads the query of a list, or of a summary, which has no pages. Parameters that the
// API does not have are sent on. The error is a *problem.Problem, 400 with the issues.
func ParseQuery(raw string) (*Query, error) {
	r := queryReader{q: Query{Page: 1, PageSize: defaultPageSize, window: make(window)}, seen: make(map[string]string)}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair != "" {
			r.parameter(pair)
		}
	}
	q := &r.q
	if _, ok := r.seen["q"]; ok && r.seen["qlang"] == "" {
		r.wrong("qlang", problem.IssueRequiredInput, "", "is required with q: one of nl, fr, de")
	}
	if len(r.issues) == 0 && q.Page*q.PageSize > Deepest {
		r.wrong("page", problem.IssueInvalidInput, strconv.Itoa(q.Page), "page × pageSize is at most "+strconv.Itoa(Deepest)+
			" over all Document Providers: follow the link next, or narrow the list with receivedBefore")
	}
	if len(r.issues) > 0 {
		return nil, problem.BadRequest("The query is not valid. Nothing was asked of any Document Provider.",
			r.issues...)
	}
	return q, nil
}

// queryReader reads parameters one by one and collects what is wrong with them.
type queryReader struct {
	q      Query
	seen   map[string]string
	issues []problem.Issue
}

func (r *queryReader) wrong(name, kind, value, detail string) {
	r.issues = append(r.issues, problem.Issue{Type: kind, In: "query", Name: name, Value: value, Detail: detail})
}

// parameter reads one name=value, as it was written.
func (r *queryReader) parameter(pair string) {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, errName := url.QueryUnescape(rawName)
	value, errValue := url.QueryUnescape(rawValue)
	if errName != nil || errValue != nil {
		r.wrong(rawName, problem.IssueSchemaViolation, "", "holds an escape that is not one")
		return
	}
	q := &r.q
	known := true
	switch name {
	case "page":
		q.Page = r.number(name, value, 1, Deepest)
	case "pageSize":
		q.PageSize = r.number(name, value, 1, maxPageSize)
	case "skip":
		q.skip = r.number(name, value, 0, Deepest)
	case "partial":
		q.Whole, q.partial = !r.flag(name, value), pair
	case "receivedBefore":
		q.before = pair
		q.sent = join(q.sent, r.date(pair, name, value, later))
	case "expiredBefore":
		q.filters, q.sent = join(q.filters, pair), join(q.sent, r.date(pair, name, value, later))
	case "receivedAfter", "expiredAfter":
		q.filters, q.sent = join(q.filters, pair), join(q.sent, r.date(pair, name, value, earlier))
	case "readStatus", "visible", "registeredMail":
		r.flag(name, value)
		q.filters, q.sent = join(q.filters, pair), join(q.sent, pair)
	case "qlang":
		if value != "nl" && value != "fr" && value != "de" {
			r.wrong(name, problem.IssueInvalidInput, problem.Clip(value), "one of nl, fr, de is expected")
		}
		q.filters, q.sent = join(q.filters, pair), join(q.sent, pair)
	default:
		known = name == "q" || name == "messageTypeId" || name == "senderOrganizationId" || name == "senderApplicationId"
		q.filters, q.sent = join(q.filters, pair), join(q.sent, pair)
	}
	if !known { // another API version may have it, and more than once
		return
	}
	if _, twice := r.seen[name]; twice {
		r.wrong(name, problem.IssueInvalidInput, problem.Clip(value), "is given more than once")
	}
	r.seen[name] = value
}

func (r *queryReader) number(name, value string, least, most int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		r.wrong(name, problem.IssueSchemaViolation, problem.Clip(value), "a whole number from "+strconv.Itoa(least)+" to "+
			strconv.Itoa(most)+" is expected")
		return least
	}
	return n
}

func (r *queryReader) flag(name, value string) bool {
	if value != "true" && value != "false" {
		r.wrong(name, problem.IssueSchemaViolation, problem.Clip(value), "true or false is expected")
	}
	return value == "true"
}

// date reads a filter by date. A day goes on as it stands, for the provider to say what
// it means; a moment is noted and goes on as a day.
func (r *queryReader) date(pair, name, value string, day func(time.Time) time.Time) string {
	if _, err := time.Parse(time.DateOnly, value); err == nil {
		return pair
	}
	// A plus that nobody escaped has become a space by now.
	at, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(value, " ", "+"))
	if err != nil {
		r.wrong(name, problem.IssueSchemaViolation, problem.Clip(value),
			"a date, as in 2026-01-31, or a date-time of RFC 3339 is expected")
		return ""
	}
	r.q.window[name] = at
	return name + "=" + day(at.UTC()).Format(time.DateOnly)
}

// later gives a day that begins after t, and earlier one that is over before t,
// whether a provider's days begin at midnight in UTC or in Brussels, which is one or
// two hours ahead.
// The first and the last day that can be written stand for those beyond them.
func later(t time.Time) time.Time {
	if day := t.Add(26 * time.Hour); day.Year() <= 9999 {
		return day
	}
	return distant
}

func earlier(t time.Time) time.Time {
	if day := t.Add(-24 * time.Hour); day.Year() >= 0 {
		return day
	}
	return t
}

func join(query, pair string) string {
	if query == "" || pair == "" {
		return query + pair
	}
	return query + "&" + pair
}
