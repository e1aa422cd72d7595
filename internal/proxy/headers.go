package proxy

import (
	"net/http"

	"ebox-gateway/internal/call"
)

// requestTrailer gives the announced trailers that may pass, their values yet to
// come. It is a map of its own: net/http adds whatever the caller sends behind the
// body to the request's map, announced or not, and the transport writes all of its
// map.
func requestTrailer(r *http.Request) http.Header {
	var t http.Header
	for name := range r.Trailer {
		if call.DropsFromRequest(name) || !mayTrail(name) {
			continue
		}
		if t == nil {
			t = make(http.Header, len(r.Trailer))
		}
		t[name] = nil
	}
	return t
}

// mayTrail refuses fields that frame, route, authenticate or describe a message:
// RFC 9110, section 6.5.1, forbids them in trailers.
func mayTrail(name string) bool {
	switch name {
	case "Accept-Encoding", "Cache-Control", "Content-Encoding", "Content-Range", "Content-Type",
		"Expect", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
		"Max-Forwards", "Pragma", "Range", "Te", "User-Agent", "Www-Authenticate":
		return false
	}
	return true
}

// dropsFrom tells whether a field of an answer of this upstream goes no further.
func dropsFrom(u *call.Upstream, name string) bool {
	if u.CallerCredentials && (name == "Set-Cookie" || name == "Set-Cookie2") {
		return false
	}
	return dropsFromAnswer(name)
}

// dropsFromAnswer tells whether a field of the upstream goes no further: it is
// hop-by-hop, or it sets something for the upstream's origin, which is not the
// origin that the caller talks to.
func dropsFromAnswer(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security":
		return true
	}
	return len(name) > 15 && name[0] == 'A' && name[:15] == "Access-Control-"
}

// describesBytes tells whether a field is about the very bytes of a body, and so
// is wrong once links in it were rewritten.
func describesBytes(name string) bool {
	switch name {
	case "Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest":
		return true
	}
	return false
}
