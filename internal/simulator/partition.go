package simulator

import (
	"net/http"

	"ebox-gateway/internal/problem"
)

// The partitions of every e-Box; what no rule leads elsewhere goes to the first.
const (
	generalPartition = "GENERAL"
	staffPartition   = "HR"
)

// routingRule sends new messages to a partition, a part of an e-Box that only some of an
// enterprise's people see. The criteria are public, the names of the members around them are
// our reading.
type routingRule struct {
	Priority int    `json:"priority"`
	TypeID   string `json:"messageTypeId,omitempty"`
	AppID    string `json:"senderApplicationId,omitempty"`
	Target   string `json:"partition"`
}

var routingRules = []routingRule{{1, typeDeclaration, sendingProgram, staffPartition}, {2, "", "", generalPartition}}

// mountPartition puts the Partition API below /ebox/{enterpriseNumber}, where its public
// operations hasMandate and routingRules stand.
func (s *Simulator) mountPartition() {
	scope := []string{ScopeDocumentConsumer}
	s.main.mounts[partitionPath] = &api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, scopes: scope, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/ebox/{}/hasMandate", scope, locked(s.hasMandate)},
			{"GET", "/ebox/{}/routingRules", scope, locked(s.routingRules)},
		},
	}
}

// routingRules serves those of the e-Box of the path to those who may read it; a header that
// names another enterprise contradicts it.
func (s *Simulator) routingRules(c *call) response {
	n, refusal := c.number("path", "enterpriseNumber", c.args[0])
	if refusal == nil && c.r.Header.Get(onBehalfOf) != "" {
		if refusal = c.represent(); refusal == nil && c.enterprise != n {
			refusal = c.fail(problem.BadRequest("Path and header name different enterprises."))
		}
	}
	if refusal == nil {
		refusal = c.representFor(n)
	}
	if refusal != nil {
		return refusal
	}
	return sendPage(c, routingRules, asIs)
}

// hasMandate tells whether an enterprise may publish for that of the path: the one in
// mandataryEnterpriseNumber, else the client itself.
func (s *Simulator) hasMandate(c *call) response {
	n, refusal := c.number("path", "enterpriseNumber", c.args[0])
	query, mandatary := c.r.URL.Query(), c.token.client.Enterprise
	if refusal == nil && query.Has("mandataryEnterpriseNumber") {
		mandatary, refusal = c.number("query", "mandataryEnterpriseNumber", query.Get("mandataryEnterpriseNumber"))
	}
	switch {
	case refusal != nil:
		return refusal
	case query.Get("operation") != "publish":
		return c.fail(problem.BadRequest("The query is not valid.", problem.Issue{
			Type: problem.IssueRequiredInput, In: "query", Name: "operation", Value: query.Get("operation"),
			Detail: "publish is expected",
		}))
	}
	has := n == mandatary || s.refusal(n, mandatary, MandateEbox) == ""
	return c.send(http.StatusOK, map[string]bool{"hasMandate": has})
}
