package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/problem"
)

// The page is plain HTML, CSS and JavaScript modules, as they stand in the folder
// page: nothing is built, and nothing is fetched from anywhere but this listener. It
// reads /status and /activity and puts every text where text goes, never markup.
//
//go:embed page
var files embed.FS

// policy is the page's Content-Security-Policy (CSP Level 3): its own files and
// nothing else, nothing inline, in nobody's frame; and text that would become markup
// by way of a script is an error of the script (Trusted Types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// mediaTypes are those of the page's files: what the machine has in its own table
// must not matter.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// page answers with a file of the page.
func page(w http.ResponseWriter, r *http.Request) {
	name := cmp.Or(chi.URLParam(r, "*"), "index.html")
	content, err := files.ReadFile("page/" + name)
	if err != nil {
		fail(w, r, problem.NotFound("The page has no file of that name."))
		return
	}
	file(w, r, content, mediaTypes[path.Ext(name)])
}

// file answers with one file, which a browser asks for again each time and gets only
// if it is another.
func file(w http.ResponseWriter, r *http.Request, content []byte, mediaType string) {
	sum := sha256.Sum256(content)
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// Visit gives a request for the page itself, for one of its files, or of the page's own
// for the one change that it offers, without what a browser says of where it comes from,
// and any other request as it is. Somebody who follows a link in an alert or a ticket comes
// from another site, and modules are fetched with an Origin even from their own. What is
// served holds nothing but itself, in nobody's frame; what the page shows it then asks for,
// as its own site. The Host still has to be known, and another site's script still gets
// nothing.
func Visit(r *http.Request) *http.Request {
	own := sentByPage(r)
	if !own && (r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path != "/" &&
		!strings.HasPrefix(r.URL.Path, "/page/") && !strings.HasPrefix(r.URL.Path, "/docs/")) {
		return r
	}
	visit := r.Clone(r.Context())
	if origin := r.Header["Origin"]; own || len(origin) == 1 && strings.EqualFold(origin[0], ownOrigin(r)) {
		visit.Header.Del("Origin")
	}
	visit.Header.Del("Referer")
	visit.Header.Del("Sec-Fetch-Site")
	return visit
}
