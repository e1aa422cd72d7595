package simulator

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"slices"
	"sync"

	"ebox-gateway/internal/problem"
)

// referenceCache is what the federation asks of reference data: two days, then
// refreshed in the background.
const referenceCache = "public, max-age=172800, stale-while-revalidate=86400"

// The reference data, the same at every provider but for the links of their logos.
var (
	messageTypes = []messageType{
		{"attestation", translated{"nl": "Attest", "fr": "Attestation", "de": "Bescheinigung"},
			validity{2, "year"}, orgIDs, appIDs},
		{"declaration", translated{"nl": "Aangifte", "fr": "Déclaration", "de": "Erklärung"},
			validity{18, "month"}, orgIDs, appIDs},
		{"invoice", translated{"nl": "Factuur", "fr": "Facture", "de": "Rechnung"}, validity{90, "day"}, orgIDs, appIDs},
	}
	organizations = []organization{
		{ID: "0406798006", Short: translated{"nl": "RSZ", "fr": "ONSS", "de": "LSS"},
			Long: translated{"nl": "Rijksdienst voor Sociale Zekerheid", "fr": "Office national de sécurité sociale",
				"de": "Landesamt für soziale Sicherheit"}},
		{ID: "0206731645", Short: translated{"nl": "RVA", "fr": "ONEM", "de": "LfA"},
			Long: translated{"nl": "Rijksdienst voor Arbeidsvoorziening", "fr": "Office national de l'emploi",
				"de": "Landesamt für Arbeitsbeschaffung"}},
	}
	applications = []application{
		{ID: "dmfa", Name: translated{"nl": "Dmfa", "fr": "Dmfa", "de": "Dmfa"},
			Description: translated{"nl": "Kwartaalaangifte", "fr": "Déclaration trimestrielle",
				"de": "Vierteljahreserklärung"}},
		{ID: "planning", Name: translated{"nl": "Planning", "fr": "Planning", "de": "Planung"},
			Description: translated{"nl": "Werkplanning", "fr": "Planning du travail", "de": "Arbeitsplanung"}},
	}
	orgIDs = []string{"0406798006", "0206731645"}
	appIDs = []string{"dmfa", "planning"}
)

type messageType struct {
	ID       string     `json:"messageTypeId"`
	Name     translated `json:"messageTypeName"`
	Validity validity   `json:"validityPeriod"`
	Orgs     []string   `json:"senderOrganizationIds"`
	Apps     []string   `json:"senderApplicationIds"`
}

type validity struct {
	Number int    `json:"validityPeriodNumber"`
	Unit   string `json:"validityPeriodUnit"`
}

type organization struct {
	ID    string      `json:"organizationId"`
	Short translated  `json:"organizationShortName"`
	Long  translated  `json:"organizationLongName"`
	Logos []imageView `json:"organizationLogos"`
	Apps  []string    `json:"senderApplicationIds"`
}

type application struct {
	ID          string      `json:"applicationId"`
	Name        translated  `json:"applicationName"`
	Description translated  `json:"applicationDescription"`
	Logos       []imageView `json:"applicationLogos"`
	Orgs        []string    `json:"senderOrganizationIds"`
}

type imageView struct {
	ID      string  `json:"imageId"`
	Size    float64 `json:"size"` // kB
	Media   string  `json:"mediaType"`
	Content string  `json:"contentHref"`
}

func (m *messageRegistry) referenceEndpoints(scopes []string) []endpoint {
	// An absolute path for organizations, an absolute URL for applications: both are seen.
	orgs, apps := slices.Clone(organizations), slices.Clone(applications)
	for i := range orgs {
		orgs[i].Logos, orgs[i].Apps = logoView(m.api.path+"/referenceData/senderOrganizations/"+orgs[i].ID), appIDs
	}
	for i := range apps {
		apps[i].Logos, apps[i].Orgs = logoView(m.api.base()+"/referenceData/senderApplications/"+apps[i].ID), orgIDs
	}
	const image = "/{}/images/{}/content"
	return slices.Concat(
		referenceList("/referenceData/messageTypes", scopes, messageTypes, func(t messageType) string { return t.ID }),
		referenceList("/referenceData/senderOrganizations", scopes, orgs, func(o organization) string { return o.ID }),
		referenceList("/referenceData/senderApplications", scopes, apps, func(a application) string { return a.ID }),
		[]endpoint{
			{"GET", "/referenceData/senderOrganizations" + image, scopes, sendImage(orgIDs)},
			{"GET", "/referenceData/senderApplications" + image, scopes, sendImage(appIDs)},
		})
}

// referenceList are the endpoints of a list and of each of its items.
func referenceList[T any](path string, scopes []string, all []T, id func(T) string) []endpoint {
	return []endpoint{
		{"GET", path, scopes, func(c *call) {
			c.w.Header().Set("Cache-Control", referenceCache)
			sendPage(c, all)
		}},
		{"GET", path + "/{}", scopes, func(c *call) {
			i := slices.IndexFunc(all, func(one T) bool { return id(one) == c.args[0] })
			if i < 0 {
				c.fail(problem.NotFound("There is no reference data of this id."))
				return
			}
			c.w.Header().Set("Cache-Control", referenceCache)
			c.send(http.StatusOK, all[i])
		}},
	}
}

func logoView(owner string) []imageView {
	return []imageView{{logoID, float64(len(logo())) / 1024, "image/png", owner + "/images/" + logoID + "/content"}}
}

const logoID = "logo-1"

// sendImage serves the logo of those that have one.
func sendImage(owners []string) func(*call) {
	return func(c *call) {
		if !slices.Contains(owners, c.args[0]) || c.args[1] != logoID {
			c.fail(problem.NotFound("There is no image of this id."))
			return
		}
		c.w.Header().Set("Cache-Control", referenceCache)
		c.sendBytes(http.StatusOK, "image/png", logo())
	}
}

// logo is a blue square of 32 by 32 pixels.
var logo = sync.OnceValue(func() []byte {
	img := image.NewPaletted(image.Rect(0, 0, 32, 32), color.Palette{color.RGBA{B: 0x99, A: 0xff}})
	var b bytes.Buffer
	_ = png.Encode(&b, img) // into memory, and of a valid size
	return b.Bytes()
})
