package gateway_test

import (
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
	for _, c := range []struct{ media, policy string }{
		{"text/html", "sandbox"}, {"TEXT/HTML; charset=utf-8", "sandbox"}, {"application/xhtml+xml", "sandbox"},
		{"image/svg+xml", "sandbox"}, {"application/xml", "sandbox"}, {"multipart/x-mixed-replace; boundary=x", "sandbox"},
		{"application/pdf", ""}, {"image/png", ""}, {"application/zip", ""},
	} {
		h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200, ContentType: c.media, Body: "<script>", Count: 4})
		for _, field := range []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Upgrade-Insecure-Requests: 1"} {
			got := h.get(path, field).want(t, 200)
			if policy, sniffing := got.header.Get("Content-Security-Policy"), got.header.Get("X-Content-Type-Options"); policy != c.policy || sniffing != "nosniff" || got.body != "<script>" {
				t.Errorf("%s with %s: policy %q, sniffing %q, %s", c.media, field, policy, sniffing, got.body)
			}
		}
		if got := h.get(path).want(t, 200); got.header.Get("Content-Security-Policy") != "" || got.header.Get("X-Content-Type-Options") != "" {
			t.Errorf("%s: a program got %v", c.media, got.header)
		}
	}
}
