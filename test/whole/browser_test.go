package whole_test

import (
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

// Whoever can send a document to an e-Box decides what is in it. A page that its
// reader opens in a browser through the gateway ran in the gateway's origin, from where
// it could read every other e-Box; in a sandbox it has an origin of its own, null,
// which is refused.
func TestADocumentThatIsAPageCannotActInABrowser(t *testing.T) {
	h := open(t)
	path := box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
	const contained = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
	for _, c := range []struct {
		types  []string
		policy string
	}{
		{[]string{"text/html"}, contained},
		{[]string{"TEXT/HTML; charset=utf-8"}, contained},
		{[]string{"application/xhtml+xml"}, contained},
		{[]string{"image/svg+xml"}, contained},
		{[]string{"application/xml"}, contained},
		{[]string{"multipart/x-mixed-replace; boundary=x"}, contained},
		{[]string{"text/plain", "text/html"}, contained},
		{[]string{"text/html", "text/plain"}, contained},
		{[]string{"text/plain, text/html"}, contained},
		{[]string{"text/plain", "text/plain"}, contained},
		{[]string{"text/plain;,text/html"}, contained},
		{[]string{`text/plain; x="a, text/html"`}, contained},
		{[]string{"text"}, contained},
		{[]string{"application/x-shockwave-flash"}, contained},
		{[]string{"text/xsl"}, contained},
		{[]string{"message/rfc822"}, contained},
		{[]string{"application/pdf"}, ""},
		{[]string{"image/png"}, ""},
		{[]string{"application/zip"}, ""},
		{[]string{"application/json; charset=utf-8"}, ""},
		{[]string{"Text/Plain"}, ""},
	} {
		h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200,
			Header: http.Header{"Content-Type": c.types}, Body: "<script>", Count: 4})
		for _, fields := range [][]string{{"Sec-Fetch-Site: same-origin"},
			{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin"}, {"Upgrade-Insecure-Requests: 1"}} {
			got := h.get(path, fields...).want(t, 200)
			if policy, sniffing := got.header.Get("Content-Security-Policy"),
				got.header.Get("X-Content-Type-Options"); policy != c.policy || sniffing != "nosniff" || got.body != "<script>" {
				t.Errorf("%q with %s: policy %q, sniffing %q, %s", c.types, fields, policy, sniffing, got.body)
			}
		}
		if got := h.get(path).want(t, 200); got.header.Get("Content-Security-Policy") != "" ||
			got.header.Get("X-Content-Type-Options") != "" {
			t.Errorf("%s: a program got %v", c.types, got.header)
		}
	}
}

// Found with Chromium: it fetched what a provider's Link named as the gateway's own origin,
// and so marked read a document of another enterprise at another provider.
func TestAProvidersLinkOpensNothingInABrowser(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {allowedOrigins: ['https://app.example.be'], listen:"))
	link := "<" + h.base + box + "/messages/" + simulator.FirstMessage + "/attachments/1/content>; rel=preload; as=image"
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200, Body: "{}",
		Header: http.Header{"Link": {link}}})
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, ""},
		{[]string{"Sec-Fetch-Site: same-origin"}, ""},
		{[]string{"Upgrade-Insecure-Requests: 1"}, ""},
		{[]string{"Sec-Fetch-Site: cross-site", "Origin: https://app.example.be"}, link},
		{nil, link},
	} {
		if got := h.get(messages, c.fields...).want(t, 200).header.Get("Link"); got != c.want {
			t.Errorf("%q: Link %q", c.fields, got)
		}
	}
}

// A link in a mail to a foreign site that redirects here still has Sec-Fetch-Site: none.
func TestARedirectedLinkOpensAndChangesNothing(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {allowedOrigins: ['https://app.example.be'], listen:"))
	const opening = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
	change := `{"items":[{"messageId":"` + simulator.FirstMessage + `","visible":true}]}`
	for _, c := range []struct {
		fields []string
		status int
	}{
		{[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"}, 403},
		{[]string{"Sec-Fetch-Site: none"}, 403},
		{[]string{"Sec-Fetch-Mode: navigate"}, 403},
		{[]string{"Sec-Fetch-Dest: image"}, 403},
		{[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"}, 403},
		{[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, 200},
		{[]string{"Sec-Fetch-Site: cross-site", "Origin: https://app.example.be"}, 200},
		{[]string{"Sec-Fetch-Mode: cors", "User-Agent: node"}, 200}, // server-side JavaScript
		{[]string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: none", "User-Agent: node"}, 403},
		{nil, 200},
	} {
		if got := h.get(opening, c.fields...); got.status != c.status {
			t.Errorf("opening with %q: %d", c.fields, got.status)
		}
		if got := h.send("HEAD", opening, nil, c.fields...); got.status != c.status {
			t.Errorf("HEAD with %q: %d", c.fields, got.status)
		}
		if got := h.send("PATCH", messages, strings.NewReader(change), append(c.fields, merging)...); got.status != c.status {
			t.Errorf("PATCH with %q: %d %s", c.fields, got.status, got.body)
		}
	}
	h.get(messages, "Sec-Fetch-Site: none").want(t, 200)
	h.send("PATCH", inboxPath, strings.NewReader(`{"items":[]}`), merging, "Sec-Fetch-Site: none").want(t, 403)
	h.send("DELETE", "/grant/citizen/mandates/1?representedEnterpriseNumber="+mandated, nil,
		"Sec-Fetch-Site: none").want(t, 403)
}
