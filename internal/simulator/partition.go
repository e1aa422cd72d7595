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
	s.main.mounts[partitionPath] = &api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, scopes: scope, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/ebox/{}", scope, ofPath(func(c *call) response {
				return sendPage(c, partitions, func(p partition) partitionView { return view(c, p) })
			})},
			{"GET", "/ebox/{}/hasMandate", scope, locked(s.hasMandate)},
			{"GET", "/ebox/{}/routingRules", scope, ofPath(func(c *call) response {
				return sendPage(c, routingRules, asIs)
			})},
			{"GET", "/ebox/{}/{}", scope, ofPath(func(c *call) response {
				if i := partitionIndex(c.args[1]); i >= 0 {
					return c.send(http.StatusOK, view(c, partitions[i]))
				}
				return c.fail(problem.NotFound("This e-Box has no partition of this id."))
			})},
		},
	}
}

// partitionIndex finds a partition; -1 if there is none of the id.
func partitionIndex(id string) int {
	return slices.IndexFunc(partitions, func(p partition) bool { return p.ID == id })
}

// ofPath serves the e-Box of the path for those who may read it; a header that names
// another enterprise contradicts it.
func ofPath(handle func(*call) response) func(*call) response {
	return locked(func(c *call) response {
		n, refusal := c.number("path", "enterpriseNumber", c.args[0])
		if refusal == nil {
			refusal = c.represent()
		}
		named := c.r.Header.Get(onBehalfOf) != ""
		switch {
		case refusal != nil:
			return refusal
		case named && c.enterprise != n:
			return c.fail(problem.BadRequest("Path and header name different enterprises."))
		case !named:
			if refusal := c.representFor(n); refusal != nil {
				return refusal
			}
		}
		return handle(c)
	})
}

// hasMandate tells whether an enterprise may publish for that of the path: the one in
// mandataryEnterpriseNumber, else the client itself.
func (s *Simulator) hasMandate(c *call) response {
	n, refusal := c.number("path", "enterpriseNumber", c.args[0])
	if refusal != nil {
		return refusal
	}
	query := c.r.URL.Query()
	if query.Get("operation") != "publish" {
		return c.fail(problem.BadRequest("The query is not valid.", problem.Issue{
			Type: problem.IssueRequiredInput, In: "query", Name: "operation", Value: query.Get("operation"),
			Detail: "publish is expected",
		}))
	}
	mandatary := c.token.client.Enterprise
	if text := query.Get("mandataryEnterpriseNumber"); query.Has("mandataryEnterpriseNumber") {
		if mandatary, refusal = c.number("query", "mandataryEnterpriseNumber", text); refusal != nil {
			return refusal
		}
	}
	return c.send(http.StatusOK, map[string]bool{"hasMandate": n == mandatary ||
		s.refusal(n, mandatary, MandateEbox) == ""})
}
