package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// messageView is a message as the API shows it, in the names of version 3; those of which
// nothing is public are as before.
type messageView struct {
	ID         string     `json:"messageId"`
	Original   string     `json:"originalMessageId,omitempty"`
	Subject    translated `json:"subject"`
	Published  time.Time  `json:"publicationDate"`
	Expires    time.Time  `json:"expirationDate"`
	Read       bool       `json:"readStatus"`
	Visible    bool       `json:"visible"`
	Registered bool       `json:"registeredMail"`
	Attention  *attention `json:"forTheAttentionOf,omitempty"`
	TypeID     string     `json:"messageTypeId"`
	OrgID      string     `json:"senderOrganizationId,omitempty"`
	Sender     *party     `json:"sender,omitempty"`
	AppID      string     `json:"senderApplicationId"`
	Partition  string     `json:"partition,omitempty"`

	Documents any      `json:"attachments,omitempty"`
	BodyMain  bool     `json:"isBodyMainContent"`
	Payment   *payment `json:"paymentData,omitempty"`
	Replies   bool     `json:"isReplyAuthorized"`
	Links     links    `json:"_links"`
}

// view shows a message; whole adds the digests of its attachments, which a list
// leaves out because they cost reading the documents.
func (m *messageRegistry) view(msg *message, whole bool) messageView {
	self := m.api.base() + "/ebox/messages/" + msg.id
	v := messageView{
		ID: msg.id, Original: msg.original, Subject: msg.subject, Expires: msg.expires.In(m.zone),
		Read: msg.read, Visible: !msg.hidden, Registered: msg.registered, Attention: msg.attention,
		TypeID: msg.typeID, AppID: msg.appID, Payment: msg.payment, BodyMain: msg.bodyMain, Replies: msg.replies,
		Published: msg.received.In(m.zone),
		Links:     links{"self": {self}, "attachments": {self + "/attachments"}},
	}
	if m.old {
		v.OrgID = msg.orgID
	} else {
		v.Sender = &party{Type: "enterprise", Number: msg.orgID, Partition: partitions[0].ID}
		v.Partition = msg.partition
		v.Links["structuredData"] = link{self + structuredData}
	}
	if len(msg.attachments) > 0 {
		v.Documents = m.attachmentViews(msg, whole)
	}
	if msg.body != nil {
		v.Links["body"] = link{self + "/body"}
	}
	return v
}

// list serves GET /ebox/messages.
func (m *messageRegistry) list(c *call) response {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return c.fail(problem.BadRequest("The query cannot be read."))
	}
	r := queryReader{query: query, dateTimes: !m.old}
	p, accepts := r.page(), r.filter()
	if refusal := c.refuseQuery(&r); refusal != nil {
		return refusal
	}
	var all []*message
	for _, msg := range m.box(c.enterprise).messages {
		if accepts(msg) {
			all = append(all, msg)
		}
	}
	return c.send(http.StatusOK, pageOf(c, p, all, m.listed))
}

// listed shows a message in a list.
func (m *messageRegistry) listed(msg *message) messageView { return m.view(msg, false) }

// filter reads what a list of messages is to have. Parameters that the API does not have
// are ignored.
func (r *queryReader) filter() func(*message) bool {
	var all []func(*message) bool
	flag := func(name string, of func(*message) bool) {
		switch want := r.query.Get(name); {
		case want == "true" || want == "false":
			all = append(all, func(msg *message) bool { return of(msg) == (want == "true") })
		case r.query.Has(name):
			r.wrong(name, problem.IssueSchemaViolation, "true or false is expected")
		}
	}
	flag("readStatus", func(msg *message) bool { return msg.read })
	flag("visible", func(msg *message) bool { return !msg.hidden })
	flag("registeredMail", func(msg *message) bool { return msg.registered })
	named := func(name string, of func(*message) string) {
		if want := r.query.Get(name); want != "" {
			all = append(all, func(msg *message) bool { return of(msg) == want })
		}
	}
	named("messageTypeId", func(msg *message) string { return msg.typeID })
	named("senderOrganizationId", func(msg *message) string { return msg.orgID })
	named("senderApplicationId", func(msg *message) string { return msg.appID })
	dated := func(name string, of func(*message) time.Time) {
		if before := r.date(name+"Before", false); !before.IsZero() {
			all = append(all, func(msg *message) bool { return of(msg).Before(before) })
		}
		if after := r.date(name+"After", true); !after.IsZero() {
			all = append(all, func(msg *message) bool { return of(msg).After(after) })
		}
	}
	dated("received", func(msg *message) time.Time { return msg.received })
	dated("expired", func(msg *message) time.Time { return msg.expires })
	text, language := strings.ToLower(r.query.Get("q")), r.query.Get("qlang")
	switch {
	case language == "" && r.query.Has("q"):
		r.wrong("qlang", problem.IssueRequiredInput, "is required with q")
	case language != "" && language != "nl" && language != "fr" && language != "de":
		r.wrong("qlang", problem.IssueInvalidInput, "one of nl, fr, de is expected")
	case text != "":
		all = append(all, func(msg *message) bool { return strings.Contains(strings.ToLower(msg.subject[language]), text) })
	}
	return func(msg *message) bool {
		return !slices.ContainsFunc(all, func(accepts func(*message) bool) bool { return !accepts(msg) })
	}
}

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
