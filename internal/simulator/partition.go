package simulator

import (
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// partition is a part of an e-Box that only some of an enterprise's people see.
type partition struct {
	ID   string     `json:"partition"`
	Name translated `json:"partitionName"`
	// Enterprise and Links are only there as it is shown.
	Enterprise enterprise.Number `json:"enterpriseNumber"`
	Links      links             `json:"_links"`
}

// partitions are those of every e-Box; what no rule leads elsewhere goes to the first.
var partitions = []partition{
	{ID: "GENERAL", Name: translated{"nl": "Algemeen", "fr": "Général", "de": "Allgemein"}},
	{ID: "HR", Name: translated{"nl": "Personeel", "fr": "Personnel", "de": "Personal"}},
}

// partitionOf finds a partition; nil if there is none of the id.
func partitionOf(id string) *partition {
	for i := range partitions {
		if partitions[i].ID == id {
			return &partitions[i]
		}
	}
	return nil
}

func (c *call) viewPartition(p partition) partition {
	p.Enterprise, p.Links = c.enterprise, links{"self": {c.base() + "/ebox/" + c.enterprise.String() + "/" + p.ID}}
	return p
}

// routingRule sends new messages to a partition. The criteria are public, the names of the members around them are
// our reading.
type routingRule struct {
	Priority int    `json:"priority"`
	TypeID   string `json:"messageTypeId,omitempty"`
	AppID    string `json:"senderApplicationId,omitempty"`
	Target   string `json:"partition"`
}

var routingRules = []routingRule{
	{1, typeDeclaration, sendingProgram, partitions[1].ID}, {2, "", "", partitions[0].ID},
}

// mountPartition puts the Partition API below /ebox/{enterpriseNumber}, where its public
// operations hasMandate and routingRules stand. That the list of partitions stands there as
// well is our reading.
func (s *Simulator) mountPartition() {
	scope := []string{ScopeDocumentConsumer}
	s.main.mounts[partitionPath] = &api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, scopes: scope, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/ebox/{}/hasMandate", scope, s.hasMandate},
			{"GET", "/ebox/{}/routingRules", scope, ofPath(func(c *call) (any, error) {
				return onePage(queryOf(c), routingRules, asIs)
			})},
			{"GET", "/ebox/{}", scope, ofPath(func(c *call) (any, error) {
				return onePage(queryOf(c), partitions, c.viewPartition)
			})},
			{"GET", "/ebox/{}/{}", scope, ofPath(func(c *call) (any, error) {
				if p := partitionOf(c.args[1]); p != nil {
					return c.viewPartition(*p), nil
				}
				return nil, problem.NotFound("This e-Box has no partition of this id.")
			})},
		},
	}
}

// ofPath serves the e-Box of the path to those who may read it; a header that names another
// enterprise contradicts it.
func ofPath(handle handler) handler {
	return func(c *call) (any, error) {
		n, err := readNumber("path", "enterpriseNumber", c.args[0])
		if err == nil && c.r.Header.Get(onBehalfOf) != "" {
			if err = c.represent(); err == nil && c.enterprise != n {
				err = problem.BadRequest("Path and header name different enterprises.")
			}
		}
		if err == nil {
			err = c.representFor(n)
		}
		if err != nil {
			return nil, err
		}
		return handle(c)
	}
}

// hasMandate reports whether an enterprise may publish for that of the path: the one in
// mandataryEnterpriseNumber, else the client itself.
func (s *Simulator) hasMandate(c *call) (any, error) {
	n, err := readNumber("path", "enterpriseNumber", c.args[0])
	query, mandatary := c.r.URL.Query(), c.token.client.Enterprise
	if err == nil && query.Has("mandataryEnterpriseNumber") {
		mandatary, err = readNumber("query", "mandataryEnterpriseNumber", query.Get("mandataryEnterpriseNumber"))
	}
	switch {
	case err != nil:
		return nil, err
	case query.Get("operation") != "publish":
		return nil, problem.BadRequest("The query is not valid.", problem.Issue{
			Type: problem.IssueRequiredInput, In: "query", Name: "operation", Value: query.Get("operation"),
			Detail: "publish is expected",
		})
	}
	return map[string]bool{"hasMandate": n == mandatary || s.refusal(n, mandatary, mandateEbox) == ""}, nil
}
