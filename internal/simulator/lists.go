package simulator

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// PageForm is how a provider writes the pages of its lists.
type PageForm string

// The forms of a page. Which one the version 3 registries use is not public.
const (
	// PagePlain is that of the Belgif REST guide: total, page and pageSize, and the links
	// self, first, prev, next and last as plain strings. Version 3 begins with it.
	PagePlain PageForm = "plain"
	// PageHAL has totalItems and the links in _links, each an object with href, and one to the
	// next page in a Link header (RFC 8288), which the guide advises against. Version 2 begins
	// with it.
	PageHAL PageForm = "hal"
)

// SetPageForm changes how a provider writes pages from now on.
func (s *Simulator) SetPageForm(provider string, form PageForm) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.registries[provider]
	switch {
	case m == nil:
		return fmt.Errorf("setting the form of pages: the simulator serves no provider %q", provider)
	case form != PagePlain && form != PageHAL:
		return fmt.Errorf("setting the form of pages: %q is neither %s nor %s", form, PagePlain, PageHAL)
	}
	m.plainPages = form == PagePlain
	return nil
}

// links are HAL links by relation.
type links map[string]link

type link struct {
	Href string `json:"href"`
}

// onePage gives the page that a query asks for of a list of which all items are at hand, each
// as view shows it. Links to other pages keep the filters of the query.
func onePage[T, V any](r *queryReader, all []T, view func(T) V) (any, error) {
	c := r.call
	number, size := r.number("page", 1, 1<<31-1), r.number("pageSize", 25, 100)
	if err := r.refusal(); err != nil {
		return nil, err
	}
	at := func(page int) link {
		r.query.Set("page", strconv.Itoa(page))
		r.query.Set("pageSize", strconv.Itoa(size))
		return link{c.base() + c.below + "?" + r.query.Encode()}
	}
	from := min((number-1)*size, len(all))
	items := []V{}
	for _, one := range all[from:min(from+size, len(all))] {
		items = append(items, view(one))
	}
	last := max(1, (len(all)+size-1)/size)
	to := links{"self": at(number), "first": at(1), "last": at(last)}
	if number > 1 {
		to["prev"] = at(min(number-1, last))
	}
	if number < last {
		to["next"] = at(number + 1)
	}
	if c.plainPages {
		page := map[string]any{"items": items, "page": number, "pageSize": size, "total": len(all)}
		for relation, l := range to {
			page[relation] = l.Href
		}
		return page, nil
	}
	if next, more := to["next"]; more {
		c.w.Header().Set("Link", "<"+next.Href+`>; rel="next"`)
	}
	return map[string]any{"items": items, "totalItems": len(all), "_links": to}, nil
}

// asIs shows an item as it is.
func asIs[T any](item T) T { return item }

// queryReader reads parameters and collects what is wrong with them.
type queryReader struct {
	call   *call
	query  url.Values
	issues []problem.Issue
}

func queryOf(c *call) *queryReader { return &queryReader{call: c, query: c.r.URL.Query()} }

func (r *queryReader) wrong(name, kind, detail string) {
	r.issues = append(r.issues, problem.Issue{Type: kind, In: "query", Name: name,
		Value: r.query.Get(name), Detail: detail})
}

// refusal is what is wrong with the query, nil if nothing is.
func (r *queryReader) refusal() error {
	if len(r.issues) == 0 {
		return nil
	}
	return problem.BadRequest("The query is not valid.", r.issues...)
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

// date reads a day or, since version 3, a moment. "After" a day begins with the end of that
// day.
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
	case !r.call.old:
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
	for _, name := range []string{"readStatus", "visible", "registeredMail"} {
		if want := r.query.Get(name); r.query.Has(name) && want != "true" && want != "false" {
			r.wrong(name, problem.IssueSchemaViolation, "true or false is expected")
		}
	}
	receivedBefore, receivedAfter := r.date("receivedBefore", false), r.date("receivedAfter", true)
	expiredBefore, expiredAfter := r.date("expiredBefore", false), r.date("expiredAfter", true)
	text, language := strings.ToLower(r.query.Get("q")), r.query.Get("qlang")
	if r.query.Has("q") && !slices.Contains([]string{"nl", "fr", "de"}, language) {
		r.wrong("qlang", problem.IssueInvalidInput, "one of nl, fr, de is required with q")
	}
	is := func(name, value string) bool { return r.query.Get(name) == "" || r.query.Get(name) == value }
	flag := func(name string, value bool) bool { return is(name, strconv.FormatBool(value)) }
	within := func(at, before, after time.Time) bool {
		return (before.IsZero() || at.Before(before)) && (after.IsZero() || at.After(after))
	}
	return func(msg *message) bool {
		return flag("readStatus", msg.Read) && flag("visible", msg.Visible) && flag("registeredMail", msg.Registered) &&
			is("messageTypeId", msg.TypeID) && is("senderOrganizationId", msg.OrgID) &&
			is("senderApplicationId", msg.AppID) &&
			within(msg.Published, receivedBefore, receivedAfter) && within(msg.Expires, expiredBefore, expiredAfter) &&
			strings.Contains(strings.ToLower(msg.Subject[language]), text)
	}
}
