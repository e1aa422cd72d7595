package call

import (
	"net/http"
	"net/textproto"
	"strings"
)

// RepresentedField names the represented enterprise to an upstream.
const RepresentedField = "On-Behalf-Of-Enterprise-Number"

var (
	identityToken = []string{"identity"}
	trailersToken = []string{"trailers"}
)

// RequestHeader makes the header of the outgoing request: what the caller sent without
// what is hop-by-hop, what the gateway owns, and what the caller named in Connection;
// then what the gateway sets. The order matters: a caller who lists
// On-Behalf-Of-Enterprise-Number in Connection loses its own field, not ours.
//
// The map is new; its values are the caller's own slices, which nobody changes in place.
// There is room for the fields of the layers below.
func (c *Call) RequestHeader() http.Header {
	h := make(http.Header, len(c.Header)+6)
	for name, values := range c.Header {
		if !c.To.dropsFromRequest(name) {
			h[name] = values
		}
	}
	DropListed(h, c.Header["Connection"])
	if asksForTrailers(c.Header["Te"]) {
		h["Te"] = trailersToken
	}
	if c.rewritten() {
		// Links can only be rewritten in a body that is whole and not coded.
		h["Accept-Encoding"] = identityToken
		delete(h, "Range")
		delete(h, "If-Range")
	}
	if c.Represented != nil {
		h[RepresentedField] = c.Represented
	}
	return h
}

// Field gives a field of the request, named in canonical form, as the upstream gets it.
func (c *Call) Field(name string) []string {
	if name == RepresentedField {
		return c.Represented
	}
	if c.rewritten() {
		switch name {
		case "Accept-Encoding":
			return identityToken
		case "Range", "If-Range":
			return nil
		}
	}
	values, ok := c.Header[name]
	if !ok || c.To.dropsFromRequest(name) || listNames(c.Header["Connection"], name) {
		return nil
	}
	return values
}

// rewritten tells whether links in the answer are to be rewritten, if it is one in which
// there are any.
func (c *Call) rewritten() bool { return c.To.RewriteLinks && !c.Document }

// DropListed removes from h the fields that the values of a Connection field name, in
// whatever case (RFC 9110, section 7.6.1).
func DropListed(h http.Header, connection []string) {
	for _, list := range connection {
		for list != "" {
			var name string
			name, list, _ = strings.Cut(list, ",")
			if name = textproto.TrimString(name); name != "" && !strings.EqualFold(name, "close") && !strings.EqualFold(name, "keep-alive") {
				delete(h, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
}

func listNames(lists []string, name string) bool {
	for _, list := range lists {
		for list != "" {
			var item string
			item, list, _ = strings.Cut(list, ",")
			if strings.EqualFold(textproto.TrimString(item), name) {
				return true
			}
		}
	}
	return false
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

// dropsFromRequest tells whether a field of the caller goes no further to this upstream,
// which may be one that gets the caller's own credentials.
func (u *Upstream) dropsFromRequest(name string) bool {
	if u.CallerCredentials && (name == "Authorization" || name == "Cookie") {
		return false
	}
	return DropsFromRequest(name)
}

// DropsFromRequest tells whether a field of the caller goes no further. Servers
// behind CGI and its descendants read every character that is no letter or digit as
// the same one, so that X_Forwarded.For reaches them as X-Forwarded-For: such names
// are folded before they are compared. Content-Type and its kind go on under their
// own names alone: a Content_Type beside it would have a body that was checked as
// JSON read as a form.
func DropsFromRequest(name string) bool {
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
