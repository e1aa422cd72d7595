package simulator

import (
	"strconv"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

type preferencesView struct {
	Ebox        party     `json:"eboxId"`
	Exclusively bool      `json:"exclusivelyEbox"`
	Connected   time.Time `json:"lastConnectionDate"`
	Total       int       `json:"totalNumberOfMessages"`
	Unread      int       `json:"totalNumberOfUnreadMessages"`
}

// mountFederation puts the preferences and the citizens' consents where the public
// description and the federation's pages have them.
func (s *Simulator) mountFederation() {
	scope := []string{ScopePreference}
	s.main.mount(federationPath, &api{
		upstream: UpstreamFederation, site: s.main, path: federationPath, representing: true,
		endpoints: []endpoint{
			{"PATCH", "/eboxPreferences", scope, onJSON(mergePatch, s.patchPreferences)},
			{"POST", "/eboxPreferences/search", scope, onJSON(plainJSON, s.searchPreferences)},
			{"POST", "/citizenEboxConsents/search", scope, onJSON(plainJSON, searchConsents)},
		},
	})
}

func (s *Simulator) preferencesOf(e enterprise.Number) preferencesView {
	v := preferencesView{Ebox: party{Type: "ENTERPRISE", Value: e.String()}, Exclusively: s.paperless[e],
		Connected: s.started.UTC().Truncate(time.Second)}
	for _, id := range []string{"nsso", "regional"} {
		b := s.registries[id].box(e)
		v.Total, v.Unread = v.Total+len(b), v.Unread+b.unread()
	}
	return v
}

type preferencesChange struct {
	Ebox        *party `json:"eboxId"`
	Exclusively *bool  `json:"exclusivelyEbox"`
}

// patchPreferences changes those of the e-Box that the call is for; the body must
// name the same.
func (s *Simulator) patchPreferences(c *call, change preferencesChange) (any, error) {
	switch {
	case change.Ebox == nil || change.Exclusively == nil:
		return nil, problem.BadRequest("eboxId and exclusivelyEbox are required.")
	case change.Ebox.Type != "ENTERPRISE" || change.Ebox.Value != c.enterprise.String():
		return nil, problem.Forbidden("eboxId is not the e-Box that the call is for.")
	}
	s.paperless[c.enterprise] = *change.Exclusively
	return s.preferencesOf(c.enterprise), nil
}

// idList asks for several e-Boxes of one type.
type idList struct {
	Type   string   `json:"eboxType"`
	IDType string   `json:"eboxIdType"`
	Values []string `json:"eboxIdValueList"`
}

// searchPreferences gives those of a list of e-Boxes, which a sender may ask of any.
// Those that do not exist are missing from the answer.
func (s *Simulator) searchPreferences(c *call, asked idList) (any, error) {
	if asked.Type != "ENTERPRISE" || asked.IDType != "EnterpriseNumber" || len(asked.Values) == 0 {
		return nil, problem.BadRequest("eboxType ENTERPRISE, eboxIdType EnterpriseNumber and a list of values are " +
			"expected.")
	}
	out := []preferencesView{}
	for i, value := range asked.Values {
		n, err := readNumber("body", "/eboxIdValueList/"+strconv.Itoa(i), value)
		if err != nil {
			return nil, err
		}
		if n == c.token.client.Enterprise || s.inMahis(n) {
			out = append(out, s.preferencesOf(n))
		}
	}
	return out, nil
}

// searchConsents lists the citizens who use the e-Box for citizens. Only the path is
// public; body and answer are as those of the preferences. Whose number is even does.
func searchConsents(_ *call, asked idList) (any, error) {
	if asked.Type != "CITIZEN" || len(asked.Values) == 0 {
		return nil, problem.BadRequest("eboxType CITIZEN and a list of values are expected.")
	}
	type consent struct {
		Ebox  party `json:"eboxId"`
		Given bool  `json:"hasConsent"`
	}
	out := make([]consent, len(asked.Values))
	for i, value := range asked.Values {
		if !ssinPattern.MatchString(value) {
			return nil, problem.BadRequest("The list is not valid: numbers of eleven digits are expected.")
		}
		out[i] = consent{party{Type: "CITIZEN", Value: value}, value[10]%2 == 0}
	}
	return out, nil
}
