package proxy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// requestHeader makes the header of the outgoing request: what the caller sent
// without what is hop-by-hop, what the gateway owns, and what the caller named in
// Connection; then what the call sets. The order matters: a caller who lists
// On-Behalf-Of-Enterprise-Number in Connection loses its own header, not ours.
//
// The values are the caller's own slices; nobody below changes values in place.
func requestHeader(r *http.Request, c *Call) http.Header {
	h := make(http.Header, len(r.Header)+len(c.Set)+4)
	for name, values := range r.Header {
		if !c.Upstream.dropsFromRequest(name) {
			h[name] = values
		}
	}
	dropListed(h, r.Header)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or the transport would invent one
	}
	if asksForTrailers(r.Header["Te"]) {
		h["Te"] = trailersToken
	}
	if c.Upstream.RewriteLinks && !c.Document {
		// Links can only be rewritten in a body that is whole and not coded.
		h["Accept-Encoding"] = identityToken
		delete(h, "Range")
		delete(h, "If-Range")
	}
	// The transport takes a request with one of these names for safe to repeat,
	// whatever its method. The caller's upstream may think so; the gateway does not
	// know. Names are not case-sensitive, except to the transport's question.
	respell(h, "Idempotency-Key", "idempotency-key")
	respell(h, "X-Idempotency-Key", "x-idempotency-key")
	if !continueExpected(r, c) {
		delete(h, "Expect")
	}
	h["Via"] = via(r.ProtoMajor, r.ProtoMinor)
	for _, f := range c.Set {
		h[f.Name] = f.Values
	}
	return h
}

// continueExpected tells whether the caller still waits for a 100 (Continue).
func continueExpected(r *http.Request, c *Call) bool {
	return len(r.Header["Expect"]) > 0 && !c.BodyRead && r.ContentLength != 0 && r.ProtoAtLeast(1, 1)
}

func respell(h http.Header, name, other string) {
	if values, ok := h[name]; ok {
		delete(h, name)
		h[other] = values
	}
}

// requestTrailer gives the announced trailers that may pass, their values yet to
// come. It is a map of its own: net/http adds whatever the caller sends behind the
// body to the request's map, announced or not, and the transport writes all of its
// map.
func requestTrailer(r *http.Request) http.Header {
	var t http.Header
	for name := range r.Trailer {
		if dropsFromRequest(name) || !mayTrail(name) {
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

// dropListed removes from h the fields of a message that its Connection fields
// name, in whatever case.
func dropListed(h, message http.Header) {
	for _, list := range message["Connection"] {
		for list != "" {
			var name string
			name, list, _ = strings.Cut(list, ",")
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if _, ok := message[name]; ok {
				delete(h, name)
			}
		}
	}
}

func asksForTrailers(te []string) bool {
	for _, list := range te {
		for list != "" {
			var coding string
			coding, list, _ = strings.Cut(list, ",")
			if strings.EqualFold(textproto.TrimString(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

// dropsFromRequest is dropsFromRequest for this upstream, which may be one that gets the
// caller's own credentials.
func (u *Upstream) dropsFromRequest(name string) bool {
	if u.CallerCredentials && (name == "Authorization" || name == "Cookie") {
		return false
	}
	return dropsFromRequest(name)
}

// dropsFromAnswer is dropsFromAnswer for this upstream.
func (u *Upstream) dropsFromAnswer(name string) bool {
	if u.CallerCredentials && (name == "Set-Cookie" || name == "Set-Cookie2") {
		return false
	}
	return dropsFromAnswer(name)
}

// dropsFromRequest tells whether a field of the caller goes no further. Servers
// behind CGI and its descendants read every character that is no letter or digit as
// the same one, so that X_Forwarded.For reaches them as X-Forwarded-For: such names
// are folded before they are compared. Content-Type and its kind go on under their
// own names alone: a Content_Type beside it would have a body that was checked as
// JSON read as a form.
func dropsFromRequest(name string) bool {
	for i := range len(name) {
		if !plainNameByte[name[i]] {
			folded := fold(name)
			return owned(folded) || strings.HasPrefix(folded, "Content-")
		}
	}
	return owned(name)
}

var plainNameByte = asciiSet("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")

// fold writes name in canonical form with a hyphen for all that is no letter or
// digit.
func fold(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !plainNameByte[c] {
			b[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(b))
}

// owned tells whether a name, in canonical form, is hop-by-hop, is written by the
// transport, or speaks of what the gateway alone may say: who calls, for whom, with
// which credentials, by which way, in which trace, to which resource.
func owned(name string) bool {
	switch name {
	case // hop-by-hop, and what the transport writes itself
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Content-Length", "Host",
		// credentials and state
		"Authorization", "Cookie", "Cookie2", "On-Behalf-Of-Enterprise-Number", "X-Actor", "X-Purpose",
		// the way here and who came by it
		"Forwarded", "Forwarded-For", "Via", "Proxy", "Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
		"Fastly-Client-Ip", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr",
		"X-Originating-Ip", "X-Host", "X-Forwarded", "X-Client-Cert", "X-Ssl-Client-Cert", "Client-Cert",
		"Client-Cert-Chain",
		// another resource or method than the one that was checked
		"X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Original-Method", "X-Rewrite-Url",
		"X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
		// traces
		"Traceparent", "Tracestate", "Baggage", "B3", "Uber-Trace-Id", "X-Request-Id", "X-Correlation-Id",
		"X-Trace-Id", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "Sentry-Trace", "Correlation-Context",
		"Request-Id", "Correlation-Id", "X-Client-Trace-Id", "Belgov-Trace-Id", "Belgov-Related-Trace-Id",
		"Grpc-Trace-Bin",
		// a browser's word about the page that asked
		"Origin", "Referer":
		return true
	}
	if name == "" {
		return true
	}
	switch name[0] {
	case 'X':
		return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-B3-") ||
			strings.HasPrefix(name, "X-Datadog-") || strings.HasPrefix(name, "X-Ot-")
	case 'S':
		return strings.HasPrefix(name, "Sec-")
	case 'P':
		return strings.HasPrefix(name, "Proxy-")
	case 'O':
		return strings.HasPrefix(name, "Ot-")
	case 'U':
		return strings.HasPrefix(name, "Uberctx-")
	}
	return false
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
