package simulator

import (
	"net/http"
	"slices"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// partition is a part of an e-Box that only some of an enterprise's people see.
type partition struct {
	ID   string     `json:"partition"`
	Name translated `json:"partitionName"`
}

// partitions are those of every e-Box; what no rule leads elsewhere goes to the first.
var partitions = []partition{
	{"GENERAL", translated{"nl": "Algemeen", "fr": "Général", "de": "Allgemein"}},
	{"HR", translated{"nl": "Personeel", "fr": "Personnel", "de": "Personal"}},
}

// routingRule sends new messages to a partition. The criteria are public, the names of
// the members around them are our reading.
type routingRule struct {
	Priority int    `json:"priority"`
	TypeID   string `json:"messageTypeId,omitempty"`
	AppID    string `json:"senderApplicationId,omitempty"`
	OrgID    string `json:"senderOrganizationId,omitempty"`
	Target   string `json:"partition"`
}

var routingRules = []routingRule{
	{1, typeDeclaration, sendingProgram, "", partitions[1].ID},
	{2, "", "", "", partitions[0].ID},
}

type partitionView struct {
	partition
	Enterprise enterprise.Number `json:"enterpriseNumber"`
	Links      links             `json:"_links"`
}

// mountPartition puts the Partition API below /ebox/{enterpriseNumber}, where its public
// operations hasMandate and routingRules stand. That the list of partitions stands there
// as well is our reading.
func (s *Simulator) mountPartition() {
	scope := []string{ScopeDocumentConsumer}
	view := func(c *call, p partition) partitionView {
		return partitionView{p, c.enterprise, links{"self": {c.base() + "/ebox/" + c.enterprise.String() + "/" + p.ID}}}
	}
	a := &api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, scopes: scope,
		endpoints: []endpoint{
			{"GET", "/ebox/{}", scope, ofPath(func(c *call) {
				list := make([]partitionView, len(partitions))
				for i, p := range partitions {
					list[i] = view(c, p)
				}
				sendPage(c, list)
			})},
			{"GET", "/ebox/{}/hasMandate", scope, s.hasMandate},
			{"GET", "/ebox/{}/routingRules", scope, ofPath(func(c *call) { sendPage(c, routingRules) })},
			{"GET", "/ebox/{}/{}", scope, ofPath(func(c *call) {
				i := slices.IndexFunc(partitions, func(p partition) bool { return p.ID == c.args[1] })
				if i < 0 {
					c.fail(problem.NotFound("This e-Box has no partition of this id."))
					return
				}
				c.send(http.StatusOK, view(c, partitions[i]))
			})},
		},
	}
	a.plainPages.Store(true)
	a.site.mounts.Store(partitionPath, a)
}

// ofPath serves the e-Box of the path for those who may read it; a header that names
// another enterprise contradicts it.
func ofPath(handle func(*call)) func(*call) {
	return func(c *call) {
		n, ok := c.number("path", "enterpriseNumber", c.args[0])
		if !ok || !c.represent() {
			return
		}
		if c.r.Header.Get(onBehalfOf) != "" && c.enterprise != n {
			c.fail(problem.BadRequest("Path and header name different enterprises."))
			return
		}
		if c.r.Header.Get(onBehalfOf) == "" && !c.representFor(n) {
			return
		}
		c.enterprise = n
		handle(c)
	}
}

// hasMandate tells whether an enterprise may publish for that of the path: the one in
// mandataryEnterpriseNumber, else the client itself.
func (s *Simulator) hasMandate(c *call) {
	n, ok := c.number("path", "enterpriseNumber", c.args[0])
	if !ok {
		return
	}
	query := c.r.URL.Query()
	if query.Get("operation") != "publish" {
		c.fail(problem.BadRequest("The query is not valid.", problem.Issue{
			Type: problem.IssueRequiredInput, In: "query", Name: "operation", Value: query.Get("operation"),
			Detail: "publish is expected",
		}))
		return
	}
	mandatary := c.token.client.Enterprise
	if query.Has("mandataryEnterpriseNumber") {
		if mandatary, ok = c.number("query", "mandataryEnterpriseNumber", query.Get("mandataryEnterpriseNumber")); !ok {
			return
		}
	}
	c.send(http.StatusOK, map[string]bool{"hasMandate": n == mandatary ||
		s.mahis.refusal(n, mandatary, MandateEbox) == ""})
}
