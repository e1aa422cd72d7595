package simulator

import "ebox-gateway/internal/problem"

// partitions are the parts that every e-Box has, each for some of an enterprise's people; what
// no rule leads elsewhere goes to the first.
var partitions = []string{"GENERAL", "HR"}

// routingRule sends new messages to a partition. The criteria are public, the names of the
// members around them are our reading.
type routingRule struct {
	Priority int    `json:"priority"`
	TypeID   string `json:"messageTypeId,omitempty"`
	AppID    string `json:"senderApplicationId,omitempty"`
	Target   string `json:"partition"`
}

var routingRules = []routingRule{
	{1, typeDeclaration, sendingProgram, partitions[1]}, {2, "", "", partitions[0]},
}

// mountPartition puts the public operations of the Partition API below /ebox/{enterpriseNumber}.
func (s *Simulator) mountPartition() {
	scope := []string{ScopeDocumentConsumer}
	s.main.mount(partitionPath, &api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, plainPages: true,
		endpoints: []endpoint{
			{"GET", "/ebox/{}/hasMandate", scope, s.hasMandate},
			{"GET", "/ebox/{}/routingRules", scope, s.routingRules},
		},
	})
}

// routingRules gives the rules of the e-Box of the path to those who may read it; a header that
// names another enterprise contradicts it.
func (s *Simulator) routingRules(c *call) (any, error) {
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
	return onePage(queryOf(c), routingRules, asIs)
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
