package simulator

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// preferenceStore holds which enterprises want no paper any more.
type preferenceStore struct {
	mu          sync.Mutex
	exclusively map[enterprise.Number]bool
}

func newPreferenceStore() *preferenceStore {
	return &preferenceStore{exclusively: map[enterprise.Number]bool{}}
}

type preferencesView struct {
	Ebox        eboxID    `json:"eboxId"`
	Exclusively bool      `json:"exclusivelyEbox"`
	Connected   time.Time `json:"lastConnectionDate"`
	Total       int       `json:"totalNumberOfMessages"`
	Unread      int       `json:"totalNumberOfUnreadMessages"`
}

// mountFederation puts the preferences where the public description has them.
// GET /eboxPreferences, which it does not have, gives those of the one e-Box.
func (s *Simulator) mountFederation() {
	scope := []string{ScopePreference}
	s.mount(&api{
		upstream: UpstreamFederation, site: s.main, path: federationPath, scopes: []string{ScopePreference, ScopeRegistry}, representing: true,
		endpoints: []endpoint{
			{"GET", "/eboxPreferences", scope, func(c *call) { c.send(http.StatusOK, s.preferencesOf(c.enterprise)) }},
			{"PATCH", "/eboxPreferences", scope, s.patchPreferences},
			{"POST", "/eboxPreferences/search", scope, s.searchPreferences},
		},
	}, federationPath)
}

func (s *Simulator) preferencesOf(e enterprise.Number) preferencesView {
	p := s.preferences
	p.mu.Lock()
	v := preferencesView{Ebox: eboxID{"ENTERPRISE", e.String()}, Exclusively: p.exclusively[e], Connected: s.started.UTC().Truncate(time.Second)}
	p.mu.Unlock()
	for _, id := range []string{"nsso", "regional"} {
		b := s.directory.registry(id).box(e)
		b.mu.RLock()
		for _, msg := range b.messages {
			if v.Total++; !msg.read {
				v.Unread++
			}
		}
		b.mu.RUnlock()
	}
	return v
}

// patchPreferences changes those of the e-Box that the call is for; the body must
// name the same.
func (s *Simulator) patchPreferences(c *call) {
	var change struct {
		Ebox        *eboxID `json:"eboxId"`
		Exclusively *bool   `json:"exclusivelyEbox"`
	}
	if !c.readJSON("application/merge-patch+json", &change) {
		return
	}
	switch {
	case change.Ebox == nil || change.Exclusively == nil:
		c.fail(problem.BadRequest("eboxId and exclusivelyEbox are required."))
	case change.Ebox.Type != "ENTERPRISE" || change.Ebox.Value != c.enterprise.String():
		c.fail(problem.Forbidden("eboxId is not the e-Box that the call is for."))
	default:
		p := s.preferences
		p.mu.Lock()
		p.exclusively[c.enterprise] = *change.Exclusively
		p.mu.Unlock()
		c.send(http.StatusOK, s.preferencesOf(c.enterprise))
	}
}

// searchPreferences gives those of a list of e-Boxes, which a sender may ask of any.
func (s *Simulator) searchPreferences(c *call) {
	var asked struct {
		Type   string   `json:"eboxType"`
		IDType string   `json:"eboxIdType"`
		Values []string `json:"eboxIdValueList"`
	}
	if !c.readJSON("application/json", &asked) {
		return
	}
	if asked.Type != "ENTERPRISE" || asked.IDType != "EnterpriseNumber" || len(asked.Values) == 0 {
		c.fail(problem.BadRequest("eboxType ENTERPRISE, eboxIdType EnterpriseNumber and a list of values are expected."))
		return
	}
	out := []preferencesView{}
	for i, value := range asked.Values {
		n, err := enterprise.Parse(value)
		if err != nil || n.String() != value {
			c.fail(problem.BadRequest("The list is not valid.", problem.Issue{
				Type: problem.IssueInvalidInput, In: "body", Name: "/eboxIdValueList/" + strconv.Itoa(i), Value: value, Detail: "a ten-digit enterprise number is expected",
			}))
			return
		}
		out = append(out, s.preferencesOf(n))
	}
	c.send(http.StatusOK, out)
}
