package call

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"ebox-gateway/internal/wire"
)

// RepresentedField names the represented enterprise to an upstream.
const RepresentedField = "On-Behalf-Of-Enterprise-Number"

// IdempotencyField lets an upstream know a publication that it has had before.
const IdempotencyField = "Idempotency-Key"

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
	if wire.HasToken(c.Header["Te"], "trailers") {
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
	if c.IdempotencyKey != "" && h.Get(IdempotencyField) == "" {
		h[IdempotencyField] = []string{c.IdempotencyKey}
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
	if !ok || c.To.dropsFromRequest(name) || Listed(c.Header["Connection"], name) {
		return nil
	}
	return values
}

// rewritten reports whether links in the answer are to be rewritten, if it is one in which
// there are any.
func (c *Call) rewritten() bool { return c.To.RewriteLinks && !c.Document }

// Listed reports whether the values of a Connection field name a field, in whatever case: it
// belongs to that connection and goes no further, be it in a header or in a trailer section
// (RFC 9110, section 7.6.1). Quotes around a name make no difference.
func Listed(connection []string, name string) bool {
	for listed := range wire.Elements(connection) {
		if strings.EqualFold(strings.Trim(listed, `"`), name) {
			return true
		}
	}
	return false
}

// DropListed removes from h the fields that are Listed.
func DropListed(h http.Header, connection []string) {
	for listed := range wire.Elements(connection) {
		if listed != "close" && listed != "keep-alive" { // mostly it says that alone
			delete(h, textproto.CanonicalMIMEHeaderKey(strings.Trim(listed, `"`)))
		}
	}
}

// dropsFromRequest reports whether a field of the caller goes no further to this upstream,
// which may be one that gets the caller's own credentials.
func (u *Upstream) dropsFromRequest(name string) bool {
	if u.CallerCredentials && (name == "Authorization" || name == "Cookie") {
		return false
	}
	return DropsFromRequest(name)
}

// DropsFromRequest reports whether a field of the caller goes no further. Servers
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

// owned reports whether a name, in canonical form, is hop-by-hop, is written by the
// transport, or speaks of what the gateway alone may say: who calls, for whom, with
// which credentials, by which way, in which trace, by which method, to which resource. The
// lists hold the names that proxies, identity services, clouds, servers and frameworks
// are known to use.
func owned(name string) bool {
	switch name {
	case "", // hop-by-hop, and what the transport writes itself
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Content-Length", "Host",
		// credentials and state
		"Authorization", "Cookie", "Cookie2", "Dpop",
		// the way here and who came by it
		"Via", "Proxy", "Profile",
		// another resource than the one that was checked (WebDAV)
		"Destination",
		// traces
		"Traceparent", "Tracestate", "Baggage", "B3", "Newrelic", "Sw8", "Elastic-Apm-Traceparent",
		// a browser's word about the page that asked
		"Origin", "Referer":
		return true
	}
	if rest, ok := strings.CutPrefix(name, "X-"); ok {
		return rest != "" && beginsWith(rest, extended[rest[0]])
	}
	return beginsWith(name, plain[name[0]])
}

func beginsWith(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// extended are beginnings of names behind "X-", by their first letter.
var extended = byFirst(
	// who calls and for whom: asserted by what authenticates in front of a server
	"Actor", "Purpose", "On-Behalf-Of", "Represented-", "Auth", "Access-Token", "Id-Token", "Token-", "Jwt-",
	"User", "Username",
	"Remote-", "Webauth-", "Proxy-", "Proxyuser-", "Sso-", "Saml-", "Identity", "Principal", "Impersonate-", "Delegat",
	"Act-As", "Run-As",
	"Consumer-", "Credential-", "Anonymous-Consumer", "Rh-Identity", "Scope-Orgid", "Vouch-", "Pomerium-",
	"Goog-", "Appengine-",
	"Serverless-Authorization", "Apigateway-", "Endpoint-Api-", "Amzn-", "Amz-Cf-", "Amz-Security-Token", "Ms-Client-",
	"Ms-Token-", "Zumo-",
	"Shib-", "Krb-", "Cas-", "Hasura-", "Msisdn", "Wap-Profile", "Up-Calling-", "Nokia-Msisdn", "Custom-Ip-",
	"Peer-", "Spiffe-",
	// client certificates
	"Client-Cert", "Client-Verif", "Client-Dn", "Client-S-Dn", "Client-I-Dn", "Client-Subject",
	"Client-Issuer", "Client-Serial",
	"Client-Fingerprint", "Client-Ssl", "Client-Tls", "Client-Principal", "Client-User", "Client-Identity", "Ssl", "Tls",
	"Mtls", "Cert", "Arr-",
	// by which way, from where
	"Forward", "Real-", "Client-Ip", "Client-Trace-Id", "Cluster-", "Originating-", "Source-Ip", "True-", "Host",
	"Scheme", "Proto", "Port",
	"Server-Name", "Https", "Envoy-", "Istio-", "Azure-", "Fd-", "Akamai-", "Sucuri-", "Vercel-", "Nf-", "Zscaler-",
	"Traefik-", "Haproxy-", "Nginx-",
	"Varnish", "Jforwarded", "Weblogic-",
	// another resource or method than the one that was checked
	"Original-", "Rewrite-", "Url", "Uri", "Request-Uri", "Request-Url", "Requested-Uri", "Requested-Url", "Script-Name",
	"Path-Info", "Http-", "Method",
	"Override-", "Matched-Path", "Invoke-", "Middleware-", "Waws-", "Accel-", "Sendfile", "Lighttpd-",
	"Litespeed-", "Reproxy-",
	// traces
	"B3-", "Datadog-", "Ot-", "Request-Id", "Correlation-Id", "Trace-Id", "Cloud-Trace-Context", "Instana-",
	"Dynatrace", "Newrelic-",
)

// plain are beginnings of names without "X-", by their first letter.
var plain = byFirst(
	"Sec-", "Proxy-", "Forwarded", "Ot-", "Uberctx-", "Uber-Trace-Id", "Sentry-Trace", "Correlation-", "Request-Id",
	"Belgov-", "Grpc-Trace-Bin",
	"On-Behalf-Of", "Represented-", "Remote-", "Auth-", "Webauth-", "Sm-", "Smuser", "Iv-", "Oidc-", "Shib-", "Eppn",
	"Saml-", "Impersonate-", "Krb-", "Cas-", "Mellon-", "Oam-", "Osso-", "Pf-Auth-", "Es-Security-Runas-User", "Msisdn",
	"Ssl-", "Tls-", "Mtls-", "Client-Cert", "Client-Verif", "Client-Ip", "Client-Dn", "Client-S-Dn",
	"Client-I-Dn", "Cert-",
	"True-", "Real-Ip", "Front-End-Https", "Https", "Cf-", "Fly-", "Fastly-", "Tailscale-", "Akamai-", "Incap-", "Ali-",
	"Cdn-", "Cloudfront-",
	"Wl-Proxy-", "L5d-", "Ajp-", "Disguised-Host", "Was-Default-Hostname", "Request-Uri", "Request-Method",
	"Script-Name", "Path-Info",
	"-Ws", // $WSRU and its kind, folded
)

func byFirst(prefixes ...string) (lists [256][]string) {
	for _, p := range prefixes {
		lists[p[0]] = append(lists[p[0]], p)
	}
	return lists
}
