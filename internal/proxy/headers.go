package proxy

import (
	"net/http"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/wire"
)

// requestTrailer gives the announced trailers that may pass, their values yet to
// come. It is a map of its own: net/http adds whatever the caller sends behind the
// body to the request's map, announced or not, and the transport writes all of its
// map.
func requestTrailer(r *http.Request) http.Header {
	var t http.Header
	for name := range r.Trailer {
		if call.DropsFromRequest(name) || !wire.MayTrail(name) || call.Listed(r.Header["Connection"], name) {
			continue
		}
		if t == nil {
			t = make(http.Header, len(r.Trailer))
		}
		t[name] = nil
	}
	return t
}

// dropsFrom reports whether a field of an answer of this upstream goes no further: it is
// hop-by-hop, it is the gateway's own to say, or it acts on the origin of the page that
// a browser shows, which is the gateway's and not the upstream's: cookies, transport
// security, reports sent elsewhere, data cleared, hints and keys asked for, workers,
// reloads. An upstream that gets its callers' own credentials may set cookies, and clear them.
func dropsFrom(u *call.Upstream, name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"X-Ebox-Incomplete", "X-Request-Id", "X-Ebox-Environment",
		"Alt-Svc", "Strict-Transport-Security", "Expect-Ct", "Report-To", "Reporting-Endpoints", "Nel",
		"Integrity-Policy-Report-Only", "Content-Security-Policy-Report-Only",
		"Accept-Ch", "Accept-Ch-Lifetime", "Critical-Ch", "Delegate-Ch",
		"Service-Worker-Allowed", "Refresh", "Sourcemap", "X-Sourcemap", "Set-Login", "Idp-Signin-Status",
		"Activate-Storage-Access", "Speculation-Rules", "Supports-Loading-Mode", "Origin-Trial", "Origin-Agent-Cluster",
		"Use-As-Dictionary", "Observe-Browsing-Topics", "Ad-Auction-Allowed", "X-Allow-Fledge", "Shared-Storage-Write",
		"Permissions-Policy-Report-Only",
		"Cross-Origin-Opener-Policy-Report-Only", "Cross-Origin-Embedder-Policy-Report-Only", "Document-Policy-Report-Only":
		return true
	case "Set-Cookie", "Set-Cookie2", "Clear-Site-Data":
		return !u.CallerCredentials
	}
	return strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Sec-") ||
		strings.HasPrefix(name, "Secure-Session-") || strings.HasPrefix(name, "Attribution-Reporting-")
}

// describesBytes reports whether a field is about the very bytes of a body, and so
// is wrong once a coding was undone and links were rewritten.
func describesBytes(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest":
		return true
	}
	return false
}
