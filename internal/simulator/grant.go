package simulator

import (
	"bytes"
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// citizenMandates is REST/grant/citizen: mandates that citizens give to
// enterprises. The guide prints no resource paths; ours are
//
//	POST   /mandates                 creates one
//	GET    /mandates                 lists those of one mandatary, newest first, in pages
//	GET    /mandates/{id}            reads one
//	POST   /mandates/{id}/stop       stops one
//
// A call for a customer names it in representedEnterpriseNumber, in the body or in
// the query; the on-behalf-of header is not read. The customer is then the
// mandatary, and later calls about the mandate have to name it again.
type citizenMandates struct {
	down   bool
	nextID int64
	list   []*citizenMandate // by ascending id
}

// citizenMandate is one mandate. Dates are days, the first and the last included.
type citizenMandate struct {
	ID             int64             `json:"mandateId"`
	SSIN           string            `json:"mandatorSsin"`
	Mandatary      enterprise.Number `json:"mandataryEnterpriseNumber"`
	Representative enterprise.Number `json:"representativeEnterpriseNumber,omitempty"` // zero if the mandatary acts itself
	With           bool              `json:"createMandateWithRepresentative,omitempty"`
	Scopes         []string          `json:"scopes"`
	Start          string            `json:"startDate"`
	End            string            `json:"endDate"`
	Stopped        string            `json:"stopDate,omitempty"`
	// Status and Links are only there as it is shown.
	Status string `json:"status"`
	Links  links  `json:"_links"`
}

const (
	statusActive  = "ACTIVE"
	statusStopped = "STOPPED"
	statusEnded   = "ENDED"
)

var (
	citizenScopes = []string{"precontractualDataFlexiJob", "precontractualDataStudentJob"}
	cbePattern    = regexp.MustCompile(`^[0-1]\d{9}$`)
	ssinPattern   = regexp.MustCompile(`^\d{11}$`)
)

// SetGrantHealth says whether grant/citizen's /health answers UP or DOWN.
func (s *Simulator) SetGrantHealth(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.citizen.down = !up
}

func (s *Simulator) mountGrant() {
	scope := []string{ScopeCitizenMandates}
	s.main.mount(grantPath, &api{
		upstream: UpstreamGrant, site: s.main, path: grantPath, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/health", nil, s.grantHealth},
			{"POST", "/mandates", scope, s.createMandate},
			{"GET", "/mandates", scope, s.listMandates},
			{"GET", "/mandates/{}", scope, s.readMandate},
			{"POST", "/mandates/{}/stop", scope, s.stopMandate},
		},
	})
}

// grantHealth asks for no token and minds none.
func (s *Simulator) grantHealth(c *call) (any, error) {
	if s.citizen.down {
		c.status = http.StatusServiceUnavailable
		return map[string]string{"status": "DOWN"}, nil
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return map[string]string{"status": "UP"}, nil
}

// createMandate serves POST /mandates.
func (s *Simulator) createMandate(c *call) (any, error) {
	body, err := c.grantBody()
	if err != nil {
		return nil, err
	}
	m, err := readOrder(body)
	if err != nil {
		return nil, err
	}
	if m.Mandatary, err = c.acting(body); err != nil {
		return nil, err
	}
	if m.With && !s.hasRepresentative(m.Mandatary, mandateDmfa) {
		return nil, guideError("representativeNotFound", nil)
	}
	m.ID = s.citizen.nextID
	m.Start = cmp.Or(m.Start, s.today())
	m.End = cmp.Or(m.End, s.now().UTC().AddDate(1, 0, 0).Format(time.DateOnly))
	if own := c.token.client.Enterprise; own != m.Mandatary {
		m.Representative = own
	}
	s.citizen.nextID++
	s.citizen.list = append(s.citizen.list, m)
	s.citizen.list = s.citizen.list[max(0, len(s.citizen.list)-mostKept):]
	view := m.view(c)
	c.w.Header().Set("Location", view.Links["self"].Href)
	c.status = http.StatusCreated
	return view, nil
}

// listMandates serves GET /mandates: those of one mandatary.
func (s *Simulator) listMandates(c *call) (any, error) {
	mandatary, err := c.acting(nil)
	if err != nil {
		return nil, err
	}
	var all []*citizenMandate
	for _, m := range slices.Backward(s.citizen.list) {
		if m.Mandatary == mandatary {
			all = append(all, m)
		}
	}
	c.w.Header().Set("Cache-Control", "no-store")
	page, err := onePage(queryOf(c), all, func(m *citizenMandate) citizenMandate { return m.view(c) })
	if err != nil {
		issue := problem.From(err).Issues[0]
		return nil, badInput(grantIssue{issue.In, issue.Detail, issue.Name, issue.Value})
	}
	return page, nil
}

// readMandate serves GET /mandates/{id}.
func (s *Simulator) readMandate(c *call) (any, error) {
	m, err := c.mandate(nil)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return m.view(c), nil
}

// stopMandate serves POST /mandates/{id}/stop, which needs no body.
func (s *Simulator) stopMandate(c *call) (any, error) {
	body, err := c.grantBody()
	if len(c.body) > 0 && err != nil {
		return nil, err
	}
	m, err := c.mandate(body)
	if err != nil {
		return nil, err
	}
	if m.status(s.today()) != statusActive {
		return nil, guideError("mandateNotDisableable", nil)
	}
	m.Stopped = s.today()
	return m.view(c), nil
}

// mandate gives the mandate of the path, if the enterprise that acts is part of it.
func (c *call) mandate(body grantBody) (*citizenMandate, error) {
	id, err := strconv.ParseInt(c.args[0], 10, 64)
	if err != nil || id < 0 {
		return nil, guideError("invalidID", c.args[0])
	}
	acting, err := c.acting(body)
	if err != nil {
		return nil, err
	}
	for _, m := range c.s.citizen.list {
		switch {
		case m.ID != id:
		case m.Mandatary != acting:
			return nil, guideError("userNotPartOfMandate", nil)
		default:
			return m, nil
		}
	}
	return nil, guideError("entityNotFound", "The following entity ["+c.args[0]+"] was not found")
}

// acting gives the enterprise that a call is for: the one that its body or else its query names, which must
// have given the client's enterprise a mandate of type Dmfa, or the client's own.
func (c *call) acting(body grantBody) (enterprise.Number, error) {
	represented, in := body.text(customer), "body"
	if represented == "" {
		represented, in = c.r.URL.Query().Get(customer), "query"
	}
	own := c.token.client.Enterprise
	n, err := enterprise.Parse(represented)
	switch {
	case represented == "" && own == 0:
		return 0, guideError("userNotPartOfMandate", nil) // nobody is acting
	case represented == "":
		return own, nil
	case !cbePattern.MatchString(represented):
		return 0, badInput(patternIssue(in, customer, cbePattern, represented))
	case err == nil && n == own:
		return own, nil
	case err != nil || !c.s.inMahis(n):
		return 0, guideError("DacService", nil)
	case c.s.refusal(n, own, mandateDmfa) != "":
		return 0, guideError("representativeEnterpriseForbidden", nil)
	}
	return n, nil
}

func (s *Simulator) today() string { return s.now().UTC().Format(time.DateOnly) }

func (m citizenMandate) status(today string) string {
	switch {
	case m.Stopped != "":
		return statusStopped
	case m.End < today:
		return statusEnded
	}
	return statusActive
}

func (m citizenMandate) view(c *call) citizenMandate {
	self := c.base() + "/mandates/" + strconv.FormatInt(m.ID, 10)
	m.Status, m.Links = m.status(c.s.today()), links{"self": {self}, "stop": {self + "/stop"}}
	return m
}

// customer is the member, or the parameter, that names the enterprise that a call is for.
const customer = "representedEnterpriseNumber"

// grantBody reads the body as a JSON object.
func (c *call) grantBody() (body grantBody, err error) {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.UseNumber() // which an error shows as it was sent
	if d.Decode(&body) != nil || body == nil || d.More() {
		return nil, badInput(grantIssue{In: "body", Detail: "A JSON object is expected"})
	}
	return body, nil
}

// grantBody is a JSON object by its members' exact names; of a repeated name the
// last counts, as with most parsers. A member that is null is missing.
type grantBody map[string]any

// text gives a member that is a string, or "".
func (b grantBody) text(name string) string {
	s, _ := b[name].(string) // what is no string is refused elsewhere
	return s
}

// scopes gives the texts of a member that is a list of nothing else.
func (b grantBody) scopes() (list []string, ok bool) {
	all, ok := b["scopes"].([]any)
	for _, one := range all {
		scope, known := one.(string)
		ok = ok && known && slices.Contains(citizenScopes, scope)
		list = append(list, scope)
	}
	return list, ok
}

// readOrder reads a mandate to create. It checks in the order in which the guide's
// errors suggest it: what is missing, what has the wrong form, the scopes, then fields that
// conflict.
func readOrder(b grantBody) (*citizenMandate, error) {
	const with = "createMandateWithRepresentative"
	m := &citizenMandate{SSIN: b.text("mandatorSsin"), Start: b.text("startDate"), End: b.text("endDate")}
	var known bool
	m.Scopes, known = b.scopes()
	var missing []string
	if b["mandatorSsin"] == nil {
		missing = append(missing, "mandatorSsin")
	}
	if b["scopes"] == nil || known && len(m.Scopes) == 0 {
		missing = append(missing, "scopes")
	}
	if len(missing) > 0 {
		return nil, badInput(grantIssue{In: "body",
			Detail: `Object has missing required properties (["` + strings.Join(missing, `","`) + `"])`})
	}
	var issues []grantIssue
	if b[customer] != nil && !cbePattern.MatchString(b.text(customer)) {
		issues = append(issues, patternIssue("body", customer, cbePattern, b[customer]))
	}
	if !ssinPattern.MatchString(m.SSIN) {
		issues = append(issues, patternIssue("body", "mandatorSsin", ssinPattern, b["mandatorSsin"]))
	}
	for _, name := range []string{"startDate", "endDate"} {
		if _, err := time.Parse(time.DateOnly, b.text(name)); b[name] != nil && err != nil {
			issues = append(issues,
				bodyIssue(name, "String is invalid against requested date format(s) yyyy-MM-dd", b[name]))
		}
	}
	if given := b[with]; given != nil {
		var ok bool
		if m.With, ok = given.(bool); !ok {
			issues = append(issues, bodyIssue(with, "A boolean is expected", given))
		}
	}
	switch {
	case len(issues) > 0:
		return nil, badInput(issues...)
	case !known:
		return nil, guideError("invalidScope", []grantIssue{{In: "body", Name: "scope", Value: b["scopes"]}})
	case b[with] != nil && b[customer] != nil:
		return nil, guideError("inputFieldsConflict", nil)
	}
	return m, nil
}

// guideErrors are the errors as the grant/citizen guide prints them, but for TRACE and VALUE.
// The order of the members, and the form of instance, differ from error to error: whoever
// writes such an answer anew instead of passing it on is found out.
//
//go:embed granterrors.json
var guideErrors []byte

// grantError is one of the error answers of the guide.
type grantError struct {
	status int
	body   []byte
}

// Error implements error.
func (e *grantError) Error() string { return string(e.body) }

func (e *grantError) send(c *call) {
	c.w.Header().Set("Cache-Control", "no-store")
	c.send(e.status, problem.ContentType, e.body)
}

// guideError makes an error with a new trace id, and with a value, if it has one.
func guideError(kind string, value any) error {
	var forms map[string]json.RawMessage
	var out struct{ Status int }
	errForms := json.Unmarshal(guideErrors, &forms)
	if err := json.Unmarshal(forms[kind], &out); errForms != nil || err != nil {
		panic(fmt.Sprintf("reading %s in granterrors.json: %v %v", kind, errForms, err)) // it is part of the program
	}
	var id [12]byte
	_, _ = rand.Read(id[:]) // it never fails
	text := strings.Replace(string(forms[kind]), `"VALUE"`, string(encodeJSON(value)), 1)
	var body bytes.Buffer
	_ = json.Indent(&body, []byte(strings.Replace(text, "TRACE", hex.EncodeToString(id[:]), 1)), "", "  ")
	body.WriteByte('\n')
	return &grantError{out.Status, body.Bytes()}
}

// grantIssue is what the schema check found about one member.
type grantIssue struct {
	In     string `json:"in"`
	Detail string `json:"detail,omitempty"`
	Name   string `json:"name,omitempty"`
	Value  any    `json:"value,omitempty"`
}

// badInput is the 400 of the schema check.
func badInput(issues ...grantIssue) error { return guideError("badInput", issues) }

// bodyIssue names a member of the body by its JSON pointer.
func bodyIssue(name, detail string, value any) grantIssue {
	return grantIssue{In: "body", Detail: "[Path '/" + name + "'] " + detail, Name: "/" + name, Value: value}
}

func patternIssue(in, name string, pattern *regexp.Regexp, value any) grantIssue {
	issue := bodyIssue(name, fmt.Sprintf(`ECMA 262 regex "%s" does not match input string "%v"`, pattern, value), value)
	if in != "body" {
		issue.In, issue.Name = in, name
	}
	return issue
}
