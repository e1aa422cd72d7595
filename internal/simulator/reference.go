package simulator

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
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

// referenceEndpoints are, for each list, the list, its items and their logos.
func (m *messageRegistry) referenceEndpoints(scopes []string) (endpoints []endpoint) {
	text := strings.NewReplacer("{path}", m.path, "{base}", m.base()).Replace(referenceData)
	var data map[string][]map[string]any
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		panic(fmt.Sprintf("reading reference.json: %v", err)) // it is part of the program
	}
	for name, items := range data {
		path := "/referenceData/" + name
		endpoints = append(endpoints,
			endpoint{"GET", path, scopes, func(c *call) (any, error) {
				c.w.Header().Set("Cache-Control", referenceCache)
				return onePage(queryOf(c), items, asIs)
			}},
			endpoint{"GET", path + "/{}", scopes, func(c *call) (any, error) { return c.referenceItem(items) }},
			endpoint{"GET", path + "/{}/images/{}/content", scopes, func(c *call) (any, error) {
				item, err := c.referenceItem(items)
				if err == nil && !bytes.Contains(encodeJSON(item), []byte(c.below)) {
					err = problem.NotFound("There is no image of this id.")
				}
				return content{"image/png", logo}, err
			}})
	}
	return endpoints
}

// referenceItem finds the item of the path.
func (c *call) referenceItem(items []map[string]any) (any, error) {
	c.w.Header().Set("Cache-Control", referenceCache)
	for _, item := range items {
		for _, id := range []string{"messageTypeId", "organizationId", "applicationId"} {
			if item[id] == c.args[0] {
				return item, nil
			}
		}
	}
	return nil, problem.NotFound("There is no reference data of this id.")
}
