package simulator

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// citizenMandates is REST/grant/citizen: mandates that citizens give to
// enterprises. The guide prints no resource paths; ours are
//
//	POST   /mandates                 creates one
//	GET    /mandates                 lists: representedEnterpriseNumber, mandatorSsin, scope, status, page, pageSize
//	GET    /mandates/{id}            reads one
//	POST   /mandates/{id}/stop       stops one; PUT does the same
//	DELETE /mandates/{id}            stops it without an answer's body
//	PATCH  /mandates/{id}            {"status":"STOPPED"} stops it
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
}

type citizenMandateView struct {
	citizenMandate
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
	s.main.mounts[grantPath] = &api{
		upstream: UpstreamGrant, site: s.main, path: grantPath, scopes: scope, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/health", nil, locked(s.grantHealth)},
			{"POST", "/mandates", scope, orRefuse(s.createMandate)},
			{"GET", "/mandates", scope, orRefuse(s.listMandates)},
			{"GET", "/mandates/{}", scope, orRefuse(s.readMandate)},
			{"POST", "/mandates/{}/stop", scope, orRefuse(s.stopMandate)},
			{"PUT", "/mandates/{}/stop", scope, orRefuse(s.stopMandate)},
			{"DELETE", "/mandates/{}", scope, orRefuse(s.stopMandate)},
			{"PATCH", "/mandates/{}", scope, orRefuse(s.stopMandate)},
		},
	}
}

// grantHealth asks for no token and minds none.
func (s *Simulator) grantHealth(c *call) response {
	if s.citizen.down {
		return c.send(http.StatusServiceUnavailable, map[string]string{"status": "DOWN"})
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.send(http.StatusOK, map[string]string{"status": "UP"})
}

// createMandate serves POST /mandates.
func (s *Simulator) createMandate(c *call) (response, *grantError) {
	body, refusal := c.grantBody(true)
	if refusal != nil {
		return nil, refusal
	}
	order, refusal := readOrder(body)
	if refusal != nil {
		return nil, refusal
	}
	mandatary, refusal := c.acting(order.represented, "body")
	if refusal == nil && order.withRepresentative && !s.hasRepresentative(mandatary, MandateDmfa) {
		refusal = guideError("representativeNotFound", nil)
	}
	if refusal != nil {
		return nil, refusal
	}
	today := s.today()
	m := &citizenMandate{
		ID: s.citizen.nextID, SSIN: order.ssin, Mandatary: mandatary, Scopes: order.scopes, With: order.withRepresentative,
		Start: cmp.Or(order.start, today), End: cmp.Or(order.end, s.now().UTC().AddDate(1, 0, 0).Format(time.DateOnly)),
	}
	if own := c.token.client.Enterprise; own != mandatary {
		m.Representative = own
	}
	s.citizen.nextID++
	s.citizen.list = append(s.citizen.list, m)
	s.citizen.list = s.citizen.list[max(0, len(s.citizen.list)-mostKept):]
	view := m.view(c, today)
	c.w.Header().Set("Location", view.Links["self"].Href)
	return c.send(http.StatusCreated, view), nil
}

// listMandates serves GET /mandates: those of one mandatary.
func (s *Simulator) listMandates(c *call) (response, *grantError) {
	q := queryReader{query: c.r.URL.Query()}
	ssin, scope := q.query.Get("mandatorSsin"), q.query.Get("scope")
	if q.query.Has("mandatorSsin") && !ssinPattern.MatchString(ssin) {
		return nil, badInput(patternIssue("query", "mandatorSsin", ssinPattern, ssin))
	}
	if q.query.Has("scope") && !slices.Contains(citizenScopes, scope) {
		return nil, invalidScope("query", []string{scope})
	}
	mandatary, refusal := c.acting(q.query.Get("representedEnterpriseNumber"), "query")
	if refusal != nil {
		return nil, refusal
	}
	p := q.page()
	if len(q.issues) > 0 {
		issue := q.issues[0]
		return nil, badInput(grantIssue{issue.In, issue.Detail, issue.Name, issue.Value})
	}
	var all []*citizenMandate
	today := s.today()
	for _, m := range slices.Backward(s.citizen.list) {
		if m.Mandatary == mandatary && m.matches(ssin, scope, q.query.Get("status"), today) {
			all = append(all, m)
		}
	}
	c.w.Header().Set("Cache-Control", "no-store")
	view := func(m *citizenMandate) citizenMandateView { return m.view(c, today) }
	return c.send(http.StatusOK, pageOf(c, p, all, view)), nil
}

// readMandate serves GET /mandates/{id}.
func (s *Simulator) readMandate(c *call) (response, *grantError) {
	m, refusal := c.mandate(c.r.URL.Query().Get("representedEnterpriseNumber"), "query")
	if refusal != nil {
		return nil, refusal
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.send(http.StatusOK, m.view(c, s.today())), nil
}

// stopMandate serves every way of stopping a mandate.
func (s *Simulator) stopMandate(c *call) (response, *grantError) {
	body, refusal := c.grantBody(c.r.Method == http.MethodPatch)
	if refusal != nil {
		return nil, refusal
	}
	if c.r.Method == http.MethodPatch && body.text("status") != statusStopped {
		return nil, badInput(bodyIssue("status", "Only STOPPED is allowed", body.text("status")))
	}
	represented, in := body.represented(), "body"
	if represented == "" {
		represented, in = c.r.URL.Query().Get("representedEnterpriseNumber"), "query"
	}
	m, refusal := c.mandate(represented, in)
	if refusal != nil {
		return nil, refusal
	}
	today := s.today()
	if m.status(today) != statusActive {
		return nil, guideError("mandateNotDisableable", nil)
	}
	m.Stopped = today
	if c.r.Method == http.MethodDelete {
		return c.status(http.StatusNoContent), nil
	}
	return c.send(http.StatusOK, m.view(c, today)), nil
}

// mandate gives the mandate of the path, if the enterprise that acts is part of it.
func (c *call) mandate(represented, in string) (*citizenMandate, *grantError) {
	id, err := strconv.ParseInt(c.args[0], 10, 64)
	if err != nil || id < 0 {
		return nil, guideError("invalidID", c.args[0])
	}
	acting, refusal := c.acting(represented, in)
	if refusal != nil {
		return nil, refusal
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

// acting gives the enterprise that a call is for: the one it names, which must
// have given the client's enterprise a mandate of type Dmfa, or the client's own.
func (c *call) acting(represented, in string) (enterprise.Number, *grantError) {
	own := c.token.client.Enterprise
	if represented == "" && own == 0 {
		return 0, guideError("userNotPartOfMandate", nil) // nobody is acting
	}
	if represented == "" {
		return own, nil
	}
	if !cbePattern.MatchString(represented) {
		return 0, badInput(patternIssue(in, "representedEnterpriseNumber", cbePattern, represented))
	}
	n, err := enterprise.Parse(represented)
	switch {
	case err == nil && n == own:
		return own, nil
	case err != nil || !c.s.inMahis(n):
		return 0, guideError("DacService", nil)
	case c.s.refusal(n, own, MandateDmfa) != "":
		return 0, guideError("representativeEnterpriseForbidden", nil)
	}
	return n, nil
}

// grantBody reads the body as a JSON object; where none is required an empty body is one.
func (c *call) grantBody(required bool) (grantBody, *grantError) {
	if len(c.body) == 0 && !required {
		return nil, nil
	}
	var body grantBody
	if json.Unmarshal(c.body, &body) != nil || body == nil {
		return nil, badInput(grantIssue{In: "body", Detail: "A JSON object is expected"})
	}
	return body, nil
}

func (s *Simulator) today() string { return s.now().UTC().Format(time.DateOnly) }

func (m *citizenMandate) status(today string) string {
	switch {
	case m.Stopped != "":
		return statusStopped
	case m.End < today:
		return statusEnded
	}
	return statusActive
}

func (m *citizenMandate) matches(ssin, scope, status, today string) bool {
	return (ssin == "" || ssin == m.SSIN) && (scope == "" || slices.Contains(m.Scopes, scope)) &&
		(status == "" || status == m.status(today))
}

func (m *citizenMandate) view(c *call, today string) citizenMandateView {
	self := c.base() + "/mandates/" + strconv.FormatInt(m.ID, 10)
	return citizenMandateView{*m, m.status(today), links{"self": {self}, "stop": {self + "/stop"}}}
}

// orRefuse serves with a handler that either answers or gives the error to answer with. The
// body is read whole before.
func orRefuse(handle func(*call) (response, *grantError)) func(*call) response {
	return func(c *call) response {
		body, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
		if c.body = body; err != nil || len(body) > maxJSON {
			c.body = []byte("{") // no JSON, and so refused as such
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		answer, refusal := handle(c)
		if refusal == nil {
			return answer
		}
		c.w.Header().Set("Cache-Control", "no-store")
		return c.sendBytes(refusal.status, problem.ContentType, refusal.body)
	}
}
