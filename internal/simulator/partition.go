package simulator

import (
	"net/http"
	"slices"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// partition is a part of an e-Box that only some of an enterprise's people see.
type partition struct {
	ID   string     `json:"partitionId"`
	Name translated `json:"partitionName"`
}

// partitions are those of every e-Box. The resource paths of the Partition API are
// not public: /partitions and /partitions/{id} are our reading of it.
var partitions = []partition{
	{"default", translated{"nl": "Algemeen", "fr": "Général", "de": "Allgemein"}},
	{"hr", translated{"nl": "Personeel", "fr": "Personnel", "de": "Personal"}},
}

type partitionView struct {
	partition
	Enterprise enterprise.Number `json:"enterpriseNumber"`
	Links      links             `json:"_links"`
}

func (s *Simulator) mountPartition() {
	scope := []string{ScopeDocumentConsumer}
	view := func(c *call, p partition) partitionView {
		return partitionView{p, c.enterprise, links{"self": {c.base() + "/partitions/" + p.ID}}}
	}
	s.mount(&api{
		upstream: UpstreamPartition, site: s.main, path: partitionPath, scopes: scope, representing: true,
		endpoints: []endpoint{
			{"GET", "/partitions", scope, func(c *call) {
				page := itemPage[partitionView]{Total: len(partitions)}
				for _, p := range partitions {
					page.Items = append(page.Items, view(c, p))
				}
				c.send(http.StatusOK, page)
			}},
			{"GET", "/partitions/{}", scope, func(c *call) {
				i := slices.IndexFunc(partitions, func(p partition) bool { return p.ID == c.args[0] })
				if i < 0 {
					c.fail(problem.NotFound("This e-Box has no partition of this id."))
					return
				}
				c.send(http.StatusOK, view(c, partitions[i]))
			}},
		},
	}, partitionPath)
}
