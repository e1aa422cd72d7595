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

// The reference data, the same at every provider.
var (
	messageTypes = []messageType{
		{"attestation", translated{"nl": "Attest", "fr": "Attestation", "de": "Bescheinigung"},
			validity{2, "year"}, orgIDs, appIDs},
		{"declaration", translated{"nl": "Aangifte", "fr": "Déclaration", "de": "Erklärung"},
			validity{18, "month"}, orgIDs, appIDs},
		{"invoice", translated{"nl": "Factuur", "fr": "Facture", "de": "Rechnung"}, validity{90, "day"}, orgIDs, appIDs},
	}
	organizations = []organization{
		{"0406798006", translated{"nl": "RSZ", "fr": "ONSS", "de": "LSS"},
			translated{"nl": "Rijksdienst voor Sociale Zekerheid", "fr": "Office national de sécurité sociale",
				"de": "Landesamt für soziale Sicherheit"}},
		{"0206731645", translated{"nl": "RVA", "fr": "ONEM", "de": "LfA"},
			translated{"nl": "Rijksdienst voor Arbeidsvoorziening", "fr": "Office national de l'emploi",
				"de": "Landesamt für Arbeitsbeschaffung"}},
	}
	applications = []application{
		{"dmfa", translated{"nl": "Dmfa", "fr": "Dmfa", "de": "Dmfa"}, translated{"nl": "Kwartaalaangifte",
			"fr": "Déclaration trimestrielle", "de": "Vierteljahreserklärung"}},
		{"planning", translated{"nl": "Planning", "fr": "Planning", "de": "Planung"}, translated{"nl": "Werkplanning",
			"fr": "Planning du travail", "de": "Arbeitsplanung"}},
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
	ID        string
	ShortName translated
	LongName  translated
}

type application struct {
	ID          string
	Name        translated
	Description translated
}

type organizationView struct {
	ID    string      `json:"organizationId"`
	Short translated  `json:"organizationShortName"`
	Long  translated  `json:"organizationLongName"`
	Logos []imageView `json:"organizationLogos"`
	Apps  []string    `json:"senderApplicationIds"`
}

type applicationView struct {
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
	return []endpoint{
		{"GET", "/referenceData/messageTypes", scopes, func(c *call) { sendReference(c, messageTypes) }},
		{"GET", "/referenceData/messageTypes/{}", scopes, func(c *call) {
			sendOne(c, messageTypes, func(t messageType) bool { return t.ID == c.args[0] })
		}},
		{"GET", "/referenceData/senderOrganizations", scopes, func(c *call) { sendReference(c, m.organizationViews()) }},
		{"GET", "/referenceData/senderOrganizations/{}", scopes, func(c *call) {
			sendOne(c, m.organizationViews(), func(o organizationView) bool { return o.ID == c.args[0] })
		}},
		{"GET", "/referenceData/senderOrganizations/{}/images/{}/content", scopes, func(c *call) {
			sendImage(c, slices.Contains(orgIDs, c.args[0]))
		}},
		{"GET", "/referenceData/senderApplications", scopes, func(c *call) { sendReference(c, m.applicationViews()) }},
		{"GET", "/referenceData/senderApplications/{}", scopes, func(c *call) {
			sendOne(c, m.applicationViews(), func(a applicationView) bool { return a.ID == c.args[0] })
		}},
		{"GET", "/referenceData/senderApplications/{}/images/{}/content", scopes, func(c *call) {
			sendImage(c, slices.Contains(appIDs, c.args[0]))
		}},
	}
}

func (m *messageRegistry) organizationViews() []organizationView {
	views := make([]organizationView, len(organizations))
	for i, o := range organizations {
		// An absolute path here, an absolute URL for applications.
		views[i] = organizationView{o.ID, o.ShortName, o.LongName,
			logoView(m.api.path + "/referenceData/senderOrganizations/" + o.ID), appIDs}
	}
	return views
}

func (m *messageRegistry) applicationViews() []applicationView {
	views := make([]applicationView, len(applications))
	for i, a := range applications {
		views[i] = applicationView{a.ID, a.Name, a.Description,
			logoView(m.api.base() + "/referenceData/senderApplications/" + a.ID), orgIDs}
	}
	return views
}

func logoView(owner string) []imageView {
	return []imageView{{logoID, float64(len(logo())) / 1024, "image/png", owner + "/images/" + logoID + "/content"}}
}

func sendReference[T any](c *call, all []T) {
	c.w.Header().Set("Cache-Control", referenceCache)
	sendPage(c, all)
}

func sendOne[T any](c *call, all []T, is func(T) bool) {
	i := slices.IndexFunc(all, is)
	if i < 0 {
		c.fail(problem.NotFound("There is no reference data of this id."))
		return
	}
	c.w.Header().Set("Cache-Control", referenceCache)
	c.send(http.StatusOK, all[i])
}

const logoID = "logo-1"

func sendImage(c *call, owner bool) {
	if !owner || c.args[1] != logoID {
		c.fail(problem.NotFound("There is no image of this id."))
		return
	}
	c.w.Header().Set("Cache-Control", referenceCache)
	c.sendBytes(http.StatusOK, "image/png", logo())
}

// logo is a blue square of 32 by 32 pixels.
var logo = sync.OnceValue(func() []byte {
	img := image.NewPaletted(image.Rect(0, 0, 32, 32), color.Palette{color.RGBA{B: 0x99, A: 0xff}})
	var b bytes.Buffer
	_ = png.Encode(&b, img) // into memory, and of a valid size
	return b.Bytes()
})
