package simulator

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/enterprise"
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
	s    *Simulator
	down atomic.Bool

	mu       sync.Mutex
	nextID   int64
	mandates []*citizenMandate // by ascending id
}

// citizenMandate is one mandate. Stopped is guarded by the lock.
type citizenMandate struct {
	id                 int64
	ssin               string
	mandatary          enterprise.Number
	representative     enterprise.Number // zero if the mandatary acts itself
	withRepresentative bool
	scopes             []string
	start, end         string // days, both included
	stopped            string // the day on which it was stopped, if it was
}

type citizenMandateView struct {
	ID             int64             `json:"mandateId"`
	Status         string            `json:"status"`
	SSIN           string            `json:"mandatorSsin"`
	Mandatary      enterprise.Number `json:"mandataryEnterpriseNumber"`
	Representative enterprise.Number `json:"representativeEnterpriseNumber,omitempty"`
	With           bool              `json:"createMandateWithRepresentative,omitempty"`
	Scopes         []string          `json:"scopes"`
	Start          string            `json:"startDate"`
	End            string            `json:"endDate"`
	Stopped        string            `json:"stopDate,omitempty"`
	Links          links             `json:"_links"`
}

const (
	statusActive  = "ACTIVE"
	statusStopped = "STOPPED"
	statusEnded   = "ENDED"
	// keptCitizenMandates bounds the mandates; the oldest are forgotten.
	keptCitizenMandates = 10_000
)

var (
	citizenScopes = []string{"precontractualDataFlexiJob", "precontractualDataStudentJob"}
	cbePattern    = regexp.MustCompile(`^[0-1]\d{9}$`)
	ssinPattern   = regexp.MustCompile(`^\d{11}$`)
)

// SetGrantHealth says whether grant/citizen's /health answers UP or DOWN.
func (s *Simulator) SetGrantHealth(up bool) { s.citizen.down.Store(!up) }

func (s *Simulator) mountGrant() {
	g := s.citizen
	scope := []string{ScopeCitizenMandates}
	a := &api{
		upstream: UpstreamGrant, site: s.main, path: grantPath, scopes: scope,
		endpoints: []endpoint{
			{"GET", "/health", nil, g.health},
			{"POST", "/mandates", scope, orRefuse(g.create)},
			{"GET", "/mandates", scope, orRefuse(g.list)},
			{"GET", "/mandates/{}", scope, orRefuse(g.read)},
			{"POST", "/mandates/{}/stop", scope, orRefuse(g.stop)},
			{"PUT", "/mandates/{}/stop", scope, orRefuse(g.stop)},
			{"DELETE", "/mandates/{}", scope, orRefuse(g.stop)},
			{"PATCH", "/mandates/{}", scope, orRefuse(g.stop)},
		},
	}
	a.plainPages.Store(true)
	a.site.mounts.Store(grantPath, a)
}

// health asks for no token and minds none.
func (g *citizenMandates) health(c *call) {
	if g.down.Load() {
		c.send(http.StatusServiceUnavailable, map[string]string{"status": "DOWN"})
		return
	}
	c.w.Header().Set("Cache-Control", "no-store")
	c.send(http.StatusOK, map[string]string{"status": "UP"})
}

// create serves POST /mandates.
func (g *citizenMandates) create(c *call) *grantError {
	body, refusal := g.readBody(c, true)
	if refusal != nil {
		return refusal
	}
	order, refusal := readOrder(body)
	if refusal != nil {
		return refusal
	}
	mandatary, refusal := g.acting(c, order.represented, "body")
	if refusal == nil && order.withRepresentative && !g.s.mahis.represented(mandatary, MandateDmfa) {
		refusal = representativeNotFound()
	}
	if refusal != nil {
		return refusal
	}
	today := g.today()
	m := &citizenMandate{
		ssin: order.ssin, mandatary: mandatary, scopes: order.scopes, withRepresentative: order.withRepresentative,
		start: cmp.Or(order.start, today), end: cmp.Or(order.end, g.s.now().UTC().AddDate(1, 0, 0).Format(time.DateOnly)),
	}
	if own := c.token.client.Enterprise; own != mandatary {
		m.representative = own
	}
	g.mu.Lock()
	m.id = g.nextID
	g.nextID++
	if len(g.mandates) >= keptCitizenMandates {
		g.mandates = slices.Delete(g.mandates, 0, 1)
	}
	g.mandates = append(g.mandates, m)
	view := m.view(c, today)
	g.mu.Unlock()
	c.w.Header().Set("Location", view.Links["self"].Href)
	c.send(http.StatusCreated, view)
	return nil
}

// list serves GET /mandates: those of one mandatary.
func (g *citizenMandates) list(c *call) *grantError {
	q := queryReader{query: c.r.URL.Query()}
	if ssin := q.query.Get("mandatorSsin"); q.query.Has("mandatorSsin") && !ssinPattern.MatchString(ssin) {
		return badInput(patternIssue("query", "mandatorSsin", ssinPattern, ssin))
	}
	if scope := q.query.Get("scope"); q.query.Has("scope") && !slices.Contains(citizenScopes, scope) {
		return invalidScope("query", []string{scope})
	}
	mandatary, refusal := g.acting(c, q.query.Get("representedEnterpriseNumber"), "query")
	if refusal != nil {
		return refusal
	}
	page, size := q.number("page", 1, 1<<31-1), q.number("pageSize", 25, 100)
	if len(q.issues) > 0 {
		issue := q.issues[0]
		return badInput(grantIssue{issue.In, issue.Detail, issue.Name, issue.Value})
	}
	items, total, first, today := []citizenMandateView{}, 0, (page-1)*size, g.today()
	g.mu.Lock()
	for _, m := range slices.Backward(g.mandates) {
		if m.mandatary != mandatary || !m.matches(q.query.Get("mandatorSsin"), q.query.Get("scope"),
			q.query.Get("status"), today) {
			continue
		}
		if total >= first && len(items) < size {
			items = append(items, m.view(c, today))
		}
		total++
	}
	g.mu.Unlock()
	c.w.Header().Set("Cache-Control", "no-store")
	c.send(http.StatusOK, newPage(c, items, page, size, total))
	return nil
}

// read serves GET /mandates/{id}.
func (g *citizenMandates) read(c *call) *grantError {
	m, refusal := g.find(c, c.r.URL.Query().Get("representedEnterpriseNumber"), "query")
	if refusal != nil {
		return refusal
	}
	g.mu.Lock()
	view := m.view(c, g.today())
	g.mu.Unlock()
	c.w.Header().Set("Cache-Control", "no-store")
	c.send(http.StatusOK, view)
	return nil
}

// stop serves every way of stopping a mandate.
func (g *citizenMandates) stop(c *call) *grantError {
	body, refusal := g.readBody(c, c.r.Method == http.MethodPatch)
	if refusal != nil {
		return refusal
	}
	if c.r.Method == http.MethodPatch && body.text("status") != statusStopped {
		return badInput(bodyIssue("status", "Only STOPPED is allowed", body.text("status")))
	}
	represented, in := body.represented(), "body"
	if represented == "" {
		represented, in = c.r.URL.Query().Get("representedEnterpriseNumber"), "query"
	}
	m, refusal := g.find(c, represented, in)
	if refusal != nil {
		return refusal
	}
	today := g.today()
	g.mu.Lock()
	active := m.status(today) == statusActive
	if active {
		m.stopped = today
	}
	view := m.view(c, today)
	g.mu.Unlock()
	switch {
	case !active:
		return mandateNotDisableable()
	case c.r.Method == http.MethodDelete:
		c.w.WriteHeader(http.StatusNoContent)
	default:
		c.send(http.StatusOK, view)
	}
	return nil
}

// find gives the mandate of the path, if the enterprise that acts is part of it.
func (g *citizenMandates) find(c *call, represented, in string) (*citizenMandate, *grantError) {
	id, err := strconv.ParseInt(c.args[0], 10, 64)
	if err != nil || id < 0 {
		return nil, invalidID(c.args[0])
	}
	acting, refusal := g.acting(c, represented, in)
	if refusal != nil {
		return nil, refusal
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i, found := slices.BinarySearchFunc(g.mandates, id, func(m *citizenMandate, id int64) int { return int(m.id - id) })
	switch {
	case !found:
		return nil, entityNotFound(c.args[0])
	case g.mandates[i].mandatary != acting:
		return nil, userNotPartOfMandate()
	}
	return g.mandates[i], nil
}

// acting gives the enterprise that a call is for: the one it names, which must
// have given the client's enterprise a mandate of type Dmfa, or the client's own.
func (g *citizenMandates) acting(c *call, represented, in string) (enterprise.Number, *grantError) {
	own := c.token.client.Enterprise
	if represented == "" && own == 0 {
		return 0, userNotPartOfMandate() // nobody is acting
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
	case err != nil || !g.s.mahis.knows(n):
		return 0, dacService()
	case g.s.mahis.refusal(n, own, MandateDmfa) != "":
		return 0, representativeForbidden()
	}
	return n, nil
}

// readBody reads a JSON object; where none is required an empty body is one.
func (g *citizenMandates) readBody(c *call, required bool) (grantBody, *grantError) {
	text, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
	if err == nil && len(text) == 0 && !required {
		return nil, nil
	}
	var body grantBody
	if err != nil || len(text) > maxJSON || json.Unmarshal(text, &body) != nil || body == nil {
		return nil, badInput()
	}
	return body, nil
}

func (g *citizenMandates) today() string { return g.s.now().UTC().Format(time.DateOnly) }

func (m *citizenMandate) status(today string) string {
	switch {
	case m.stopped != "":
		return statusStopped
	case m.end < today:
		return statusEnded
	}
	return statusActive
}

func (m *citizenMandate) matches(ssin, scope, status, today string) bool {
	return (ssin == "" || ssin == m.ssin) && (scope == "" || slices.Contains(m.scopes, scope)) &&
		(status == "" || status == m.status(today))
}

func (m *citizenMandate) view(c *call, today string) citizenMandateView {
	self := c.base() + "/mandates/" + strconv.FormatInt(m.id, 10)
	return citizenMandateView{
		ID: m.id, Status: m.status(today), SSIN: m.ssin, Mandatary: m.mandatary, Representative: m.representative,
		With: m.withRepresentative, Scopes: m.scopes, Start: m.start, End: m.end, Stopped: m.stopped,
		Links: links{"self": {self}, "stop": {self + "/stop"}},
	}
}
