package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/problem"
)

// What acts on the origin that a browser shows is the gateway's own to say.
func TestFieldsThatActOnTheGatewaysOriginGoNoFurther(t *testing.T) {
	for _, name := range strings.Fields(`
		Set-Cookie Set-Cookie2 Alt-Svc Strict-Transport-Security Expect-CT Clear-Site-Data Report-To Reporting-Endpoints NEL
		Content-Security-Policy-Report-Only Cross-Origin-Opener-Policy-Report-Only
		Cross-Origin-Embedder-Policy-Report-Only Accept-CH Critical-CH Service-Worker-Allowed Refresh SourceMap
		X-SourceMap Set-Login Speculation-Rules Origin-Trial Origin-Agent-Cluster Use-As-Dictionary
		Access-Control-Allow-Origin Access-Control-Allow-Credentials Sec-Session-Registration
		Secure-Session-Registration Secure-Session-Challenge Attribution-Reporting-Register-Source
		Integrity-Policy-Report-Only Shared-Storage-Write Ad-Auction-Allowed
		X-EBox-Incomplete X-EBox-Environment X-Request-Id Connection Transfer-Encoding Upgrade Trailer`) {
		if !dropsFromAnswer(http.CanonicalHeaderKey(name)) {
			t.Errorf("%s goes on", name)
		}
	}
	for _, name := range strings.Fields(`
		Content-Type Content-Length Content-Disposition Content-Security-Policy Cache-Control Cache-Status Proxy-Status
		ETag Last-Modified Location Link Retry-After Vary Age Date Digest Warning Www-Authenticate
		X-RateLimit-Remaining BelGov-Trace-Id`) {
		if dropsFromAnswer(http.CanonicalHeaderKey(name)) {
			t.Errorf("%s is dropped", name)
		}
	}
}

func TestNoUpstreamSpeaksInTheGatewaysName(t *testing.T) {
	const ours = problem.Pseudonym
	for _, c := range []struct{ sent, want []string }{
		{[]string{ours + "; error=http_request_denied"}, nil},
		{[]string{"cdn; hit, " + ours + "; hit"}, []string{"cdn; hit"}},
		{[]string{ours + "; hit, cdn; fwd=miss", "inner; hit"}, []string{"cdn; fwd=miss", "inner; hit"}},
		{[]string{`"` + ours + `"; hit`}, nil},
		{[]string{" " + strings.ToUpper(ours) + ";hit"}, nil},
		{[]string{`cdn; detail="a, ` + ours + `"`}, []string{`cdn; detail="a, ` + ours + `"`}},
	} {
		if got := notOurs(c.sent); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%q: %q, want %q", c.sent, got, c.want)
		}
	}
}
