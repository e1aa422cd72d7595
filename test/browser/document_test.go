package browser_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit/lab"
)

const (
	other = "0212148896" // whose e-Box no document of mandated may touch
	// opening asks for a document of the other enterprise, at another provider.
	opening = "/enterprises/" + other + "/ebox/providers/regional/ebox/messages/" + simulator.FirstMessage +
		"/attachments/1/content"
	// reading is what a script does that would read the other e-Box.
	reading = `fetch('/enterprises/` + other + `/ebox/messages').then((r) => r.text(), String)`
)

// show has nsso answer with something, and opens that in the tab.
func (p *tab) show(g *instance, body string, fields http.Header) {
	p.t.Helper()
	g.sim.ClearFaults()
	lab.Fault(p.t, g.sim, simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultStatus,
		Status: 200, Body: body, Header: fields})
	p.do(chromedp.Navigate(g.Base + box + "/messages"))
}

// untouched checks that nothing upstream was asked about the other enterprise.
func (g *instance) untouched(what string) {
	g.t.Helper()
	for _, r := range g.sim.Requests() {
		if r.Enterprise == other {
			g.t.Errorf("%s: %s %s at %s for %s", what, r.Method, r.Path, r.Upstream, r.Enterprise)
		}
	}
	g.sim.ResetRequests()
}

// Whoever sends a document decides what is in it, and each provider what it answers.
func TestADocumentInABrowserReachesNoOtherEBox(t *testing.T) {
	t.Parallel()
	g := start(t)
	p := g.tab()
	const script = `<script>` + reading + `</script>`
	const loads = `<img src="` + opening + `"><link rel="stylesheet" href="` + opening + `"><link rel="prefetch" href="` +
		opening + `"><iframe src="` + opening + `"></iframe><object data="` + opening + `"></object>` +
		`<meta http-equiv="refresh" content="0;url=` + opening + `">`
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>` + reading + `</script><image href="` + opening +
		`" width="9" height="9"/></svg>`
	for what, c := range map[string]struct {
		types []string
		body  string
	}{
		"HTML":                         {[]string{"text/html"}, script + loads},
		"two fields, HTML last":        {[]string{"text/plain", "text/html"}, script + loads},
		"two fields, HTML first":       {[]string{"text/html", "application/json"}, script + loads},
		"a parameter with a list":      {[]string{`text/html; x="a, text/plain"`}, script + loads},
		"an open quote in a parameter": {[]string{`text/html; x="a`}, script + loads},
		"SVG":                          {[]string{"image/svg+xml"}, svg},
		"XML with a style sheet": {[]string{"text/xml"},
			`<?xml-stylesheet type="text/css" href="` + opening + `"?><a/>`},
		"XHTML": {[]string{"application/xhtml+xml"}, `<html xmlns="http://www.w3.org/1999/xhtml"><script>` + reading +
			`</script></html>`},
	} {
		p.show(g, c.body, http.Header{"Content-Type": c.types})
		if origin := tell[string](p, `self.origin`); origin != "null" {
			t.Errorf("%s: its origin is %s", what, origin)
		}
		tell[string](p, reading) // what a script would do if one ran
		g.untouched(what)
	}
	for _, relation := range []string{"preload; as=image", "preload; as=fetch; crossorigin", "prefetch", "stylesheet"} {
		p.show(g, "{}", http.Header{"Content-Type": {"application/json"}, "Link": {"<" + opening + ">; rel=" + relation}})
		tell[string](p, `fetch('/ebox/providers').then((r) => r.text())`)
		g.untouched("Link " + relation)
	}
	p.show(g, "{}", http.Header{"Content-Type": {"application/json"}, "Refresh": {"0; url=" + opening}})
	tell[string](p, `fetch('/ebox/providers').then((r) => r.text())`)
	g.untouched("Refresh")
	if tell[string](p, `navigator.serviceWorker.register('`+box+`/messages', {scope: '/'}).then(() => 'taken', String)`) ==
		"taken" {
		t.Error("an answer became a service worker")
	}
}

// A page of another site can have a browser ask, and leave out where the question comes from.
func TestAForeignPageOpensAndChangesNothing(t *testing.T) {
	t.Parallel()
	g := start(t)
	p := g.tab()
	const mandate = `{"mandatorSsin":"79072300048","scopes":["precontractualDataFlexiJob"],"x":"`
	pages := map[string]string{
		"/loads": `<img src="` + g.Base + opening + `"><iframe src="` + g.Base + opening + `"></iframe><object data="` +
			g.Base + opening + `"></object><video src="` + g.Base + opening + `"></video><script src="` + g.Base + opening +
			`"></script>`,
		"/navigates": `<script>location = '` + g.Base + opening + `'</script>`,
		"/clicks":    `<a id="a" rel="noreferrer" href="` + g.Base + opening + `">x</a><script>a.click()</script>`,
		"/posts": `<form id="f" method="post" enctype="text/plain" action="` + g.Base + `/enterprises/` + other +
			`/grant/citizen/mandates"><input name='` + mandate + `' value='"}'></form><script>f.submit()</script>`,
		"/sends": `<script>navigator.sendBeacon('` + g.Base + opening + `', 'x')
			fetch('` + g.Base + opening + `', {mode: 'no-cors'}).catch(() => 0)</script>`,
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirects" {
			http.Redirect(w, r, g.Base+opening, http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write([]byte(pages[r.URL.Path]))
	}))
	defer site.Close()
	for _, path := range []string{"/redirects", "/loads", "/navigates", "/clicks", "/posts", "/sends"} {
		p.do(chromedp.Navigate(site.URL + path))
		p.wait("the page", `document.readyState === 'complete'`)
		tell[string](p, `fetch('`+g.Base+`/ebox/providers', {mode: 'no-cors'}).then(String, String)`)
		g.untouched(path)
	}
}
