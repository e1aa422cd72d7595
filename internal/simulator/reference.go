package simulator

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ebox-gateway/internal/problem"
)

// referenceCache is what the federation asks of reference data: two days, then
// refreshed in the background.
const referenceCache = "public, max-age=172800, stale-while-revalidate=86400"

// The ids of the reference data that messages have.
const (
	typeAttestation = "attestation"
	typeDeclaration = "declaration"
	sendingOffice   = "0406798006"
	sendingProgram  = "dmfa"
)

// referenceData are the lists, the same at every provider but for the links of the logos: an
// absolute path for organizations, an absolute URL for applications, since both are seen.
//
//go:embed reference.json
var referenceData string

// logo is a blue square of 32 by 32 pixels.
//
//go:embed logo.png
var logo []byte

// referenceItem is one item of a list.
type referenceItem struct {
	id   string
	text json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (i referenceItem) MarshalJSON() ([]byte, error) { return i.text, nil }

// UnmarshalJSON implements json.Unmarshaler.
func (i *referenceItem) UnmarshalJSON(text []byte) error {
	var ids struct{ MessageTypeID, OrganizationID, ApplicationID string }
	err := json.Unmarshal(text, &ids)
	i.id, i.text = cmp.Or(ids.MessageTypeID, ids.OrganizationID, ids.ApplicationID), slices.Clone(text)
	return err
}

func (m *messageRegistry) referenceEndpoints(scopes []string) (list []endpoint) {
	text := strings.NewReplacer("{path}", m.api.path, "{base}", m.api.base()).Replace(referenceData)
	var data map[string][]referenceItem
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		panic(fmt.Sprintf("reading reference.json: %v", err)) // it is part of the program
	}
	for name, items := range data {
		list = append(list, referenceList("/referenceData/"+name, scopes, items)...)
	}
	return list
}

// referenceList are the endpoints of a list, of each of its items, and of their logos.
func referenceList(path string, scopes []string, all []referenceItem) []endpoint {
	find := func(c *call) int {
		c.w.Header().Set("Cache-Control", referenceCache)
		return slices.IndexFunc(all, func(one referenceItem) bool { return one.id == c.args[0] })
	}
	return []endpoint{
		{"GET", path, scopes, locked(func(c *call) response {
			c.w.Header().Set("Cache-Control", referenceCache)
			return sendPage(c, all, asIs)
		})},
		{"GET", path + "/{}", scopes, func(c *call) response {
			if i := find(c); i >= 0 {
				return c.send(http.StatusOK, all[i])
			}
			return c.fail(problem.NotFound("There is no reference data of this id."))
		}},
		{"GET", path + "/{}/images/{}/content", scopes, func(c *call) response {
			if i := find(c); i >= 0 && strings.Contains(string(all[i].text), c.below) {
				return c.sendBytes(http.StatusOK, "image/png", logo)
			}
			return c.fail(problem.NotFound("There is no image of this id."))
		}},
	}
}
