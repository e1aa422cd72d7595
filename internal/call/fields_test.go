package call_test

import (
	"ebox-gateway/internal/call"
	"net/http"
	"strings"
	"testing"
)

// What some server behind takes for its proxy's word goes no further, under any spelling.
func TestFieldsThatOnlyAProxyMaySayGoNoFurther(t *testing.T) {
	for _, name := range strings.Fields(`
		On-Behalf-Of-Enterprise-Number X-On-Behalf-Of On-Behalf-Of X-Actor X-Purpose Represented-Enterprise-Number
		Remote-User X-Remote-User Remote-Groups X-Authenticated-User X-Authenticated-Groups X-Auth-Request-User
		X-Auth-Request-Email X-Auth-Token
		X-Authorization X-Authentik-Username X-User X-User-Id X-Userinfo X-Webauth-User X-Proxyuser-Ip
		X-Goog-Authenticated-User-Email X-Goog-Iap-Jwt-Assertion
		X-Ms-Client-Principal X-Ms-Client-Principal-Name X-Ms-Token-Aad-Id-Token X-Amzn-Oidc-Data X-Amzn-Oidc-Identity
		X-Consumer-Username X-Credential-Identifier
		Sm_User SM_USERDN Iv-User iv-groups IV_JCT Oidc-Claim-Sub OIDC_CLAIM_email Tailscale-User-Login X-Wap-Profile
		X-Msisdn Impersonate-User X-Rh-Identity X-Scope-OrgID
		OAM_REMOTE_USER Osso-User-Dn MELLON_NAME_ID CAS-User X-CAS-User PF_AUTH_SUBJECT X-Hasura-User-Id
		es-security-runas-user X-Matched-Path X-Invoke-Path X-Middleware-Subrequest
		Ssl-Client-Cert SSL_CLIENT_S_DN Ssl-Client-Verify X-Ssl-Client-Dn X-Ssl-Cert X-Client-Verify X-Client-Cert
		X-Client-Dn X-Client-Certificate X-Amzn-Mtls-Clientcert
		X-Amzn-Mtls-Clientcert-Subject X-Arr-Clientcert X-Arr-Ssl X-Arr-Log-Id X-Tls-Client-Cert Client-Cert
		Client-Cert-Chain X-Forwarded-Client-Cert X-Forwarded-Tls-Client-Cert
		X-Original-Url X-Original-Uri X-Original-Method X-Original-Forwarded-For X-Rewrite-Url X-Http-Method
		X-Http-Method-Override X-Http-Host-Override X-Method-Override
		X-Http-Path-Override X-Override-Url X-Envoy-Original-Path X-Envoy-External-Address X-Accel-Redirect
		X-Accel-Mapping X-Sendfile-Type X-Sendfile X-Lighttpd-Send-File
		X-Waws-Unencoded-Url X-Litespeed-Location Destination Request-Uri X-Script-Name
		Forwarded Forwarded-For X-Forwarded-For X-Forwarded X-Forwarded-Host X-Forwarded-Proto X-Real-Ip X-Client-Ip
		X-True-Client-Ip True-Client-Ip Client-Ip X-Cluster-Client-Ip
		X-Originating-Ip X-Remote-Addr Cf-Connecting-Ip Cf-Access-Jwt-Assertion Cf-Access-Authenticated-User-Email
		Cf-Visitor Fly-Client-Ip Fastly-Client-Ip Fastly-Ssl Akamai-Origin-Hop
		Cloudfront-Viewer-Address WL-Proxy-Client-IP WL-Proxy-SSL $WSCC $WSRU L5d-Client-Id X-Azure-Clientip
		X-Fd-Healthprobe Incap-Client-Ip Front-End-Https X-Scheme X-Url-Scheme X-Https X-Host
		X-Host-Override Proxy Proxy-Authorization Via Traceparent X-B3-Traceid X-Datadog-Trace-Id X-Request-Id
		BelGov-Trace-Id Newrelic Origin Referer Sec-Fetch-Site
		Authorization Cookie Dpop Host Content-Length Connection Te Upgrade Content_Type Content.Encoding
		Keep-Alive Proxy-Connection Trailer Transfer_Encoding HTTP2-Settings Cookie2 On-Behalf-Of!Enterprise~Number
		Tracestate Baggage B3 X_B3_Sampled Uber-Trace-Id Sentry-Trace X-Amzn-Trace-Id X-Correlation-Id Sec-Anything
		X-Forwarded-Anything`) {
		for _, spelt := range []string{name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_"),
			strings.ReplaceAll(name, "-", ".")} {
			if name == "Te" || !strings.ContainsAny(name, "-_.$") && spelt != name {
				continue
			}
			if !call.DropsFromRequest(http.CanonicalHeaderKey(spelt)) {
				t.Errorf("%s goes on", spelt)
			}
		}
	}
}

func TestFieldsOfTheRequestItselfGoOn(t *testing.T) {
	for _, name := range strings.Fields(`
		Accept Accept-Encoding Accept-Language Cache-Control Content-Type Content-Encoding Content-Disposition
		Content-Language Content-Digest Date Digest Expect From
		Idempotency-Key If-Match If-None-Match If-Modified-Since If-Range Range Prefer Pragma User-Agent Warning
		X-Requested-With X-Application X-Custom X-Batch-Id X-Api-Key
		Soapaction Depth Overwrite Timeout Lock-Token Slug Signature Signature-Input Last-Event-Id Api-Version
		X-Correlation X-Trace`) {
		if call.DropsFromRequest(http.CanonicalHeaderKey(name)) {
			t.Errorf("%s is dropped", name)
		}
	}
}

func TestWhatConnectionNamesGoesNoFurtherHoweverItIsQuoted(t *testing.T) {
	for _, connection := range [][]string{
		{"x-secret"}, {"close, X-Secret"}, {"close", "keep-alive ,x-secret,"}, {`"x-secret"`},
		{`"close, x-secret`},          // an unclosed quote hides nothing
		{`"close, x-secret, x"`},      // nor does one that is closed
		{`x="\", x-secret, y="close`}, // nor an escaped one
	} {
		h := http.Header{"X-Secret": {"1"}, "Accept": {"*/*"}}
		c := &call.Call{Header: http.Header{"X-Secret": {"1"}, "Connection": connection}, To: new(call.Upstream)}
		call.DropListed(h, connection)
		if len(h) != 1 || !call.Listed(connection, "X-Secret") || call.Listed(connection, "Accept") {
			t.Errorf("%q leaves %v", connection, h)
		}
		if _, there := c.RequestHeader()["X-Secret"]; there || c.Field("X-Secret") != nil {
			t.Errorf("with %q it goes on", connection)
		}
	}
}

func FuzzFolding(f *testing.F) {
	for _, s := range []string{"On_Behalf.Of-Enterprise_Number", "authorization", "X-FORWARDED-HOST", "x!real~ip"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		// However a server folds it, a name that reads as an owned one is dropped.
		folded := strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r > 0x7f:
				return r
			}
			return '-'
		}, name)
		for _, own := range []string{"authorization", "on-behalf-of-enterprise-number", "cookie", "x-forwarded-for",
			"belgov-trace-id", "content-length"} {
			if strings.EqualFold(folded, own) && len(folded) == len(own) &&
				!call.DropsFromRequest(http.CanonicalHeaderKey(name)) {
				t.Fatalf("%q passes", name)
			}
		}
	})
}
