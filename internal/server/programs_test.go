package server_test

import (
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/server"
)

const platform = "http://services.socialsecurity.be"

// asProxy makes the endpoint a proxy too, with a stub for tokens and a provider whose base lies
// below that of another.
func asProxy(t *testing.T) func(*server.Options) {
	return func(o *server.Options) {
		o.Config.Server.ForwardProxy, o.Config.Server.TokenStub = true, "/oauth/token"
		o.Config.OAuth.TokenURL = "https://services.socialsecurity.be/REST/oauth/v5/token"
		o.Routes = append(o.Routes, (&door{t: t}).route("nested", "/nested", registry+"/nested", "", config.KindEBox))
	}
}

func TestAsAProxyTheGatewayReachesItsUpstreamsAlone(t *testing.T) {
	d := openDoor(t, asProxy(t))
	const host, other = "Host: services.socialsecurity.be", "nothing else"
	for _, c := range []struct {
		line, detail string
		status       int
	}{
		{"GET http://example.com/", other, 421},
		{"GET " + platform + "/REST/other/v1", other, 421},
		{"GET " + platform + "/REST/grant/citizen/v12/mandates", other, 421},
		{"GET " + platform + "/REST/grant/citizen/v1/../../other", "dot segment", 400},
		{"GET " + platform + "/REST/grant/citizen/v1/%2e%2e/other", "dot segment", 400},
		{"GET http://a:b@services.socialsecurity.be/REST/grant/citizen/v1/mandates", other, 421},
		{"GET " + platform + ":8080/REST/grant/citizen/v1/mandates", other, 421},
		{"GET ftp://example.com/x", other, 421},
		{"GET http://\u017fervices.socialsecurity.be/REST/grant/citizen/v1/mandates", other, 421}, // a long s
		{"GET javascript://services.socialsecurity.be" + registry + "/ebox", other, 421},
		{"CONNECT services.socialsecurity.be:443", "http:// in place of https://", 405},
		{"TRACE " + platform + registry + "/ebox", "not available", 405},
		{"GET " + platform + "/REST/oauth/v5/token?client_secret=x", "not available", 405},
		{"GET " + platform + registry + "/ebox", "enterprise", 400},
	} {
		d.refuses(c.line, d.ask(c.line, host), c.status, c.detail)
	}
	d.refuses("the gateway's own URL", d.ask("GET http://localhost/status", "Host: localhost"), 404, "No route")
	for _, c := range []struct{ target, route, below, leadsTo string }{
		{platform + registry + "/ebox", "ebox-providers", "/ebox", platform},
		{"https://services.socialsecurity.be" + registry + "/ebox", "ebox-providers", "/ebox",
			"https://services.socialsecurity.be"},
		{"http://Services.SocialSecurity.be:80" + registry, "ebox-providers", "", "http://Services.SocialSecurity.be:80"},
		{platform + registry + "/nested/ebox", "nested", "/ebox", platform}, // the longest base counts
		{"http://localhost/ebox/providers/nsso/ebox", "ebox-providers", "/ebox", "http://localhost"},
	} {
		host, _, _ := strings.Cut(strings.SplitAfter(c.target, "//")[1], "/")
		got := d.admits(c.target, d.ask("GET "+c.target, "Host: "+host, "On-Behalf-Of-Enterprise-Number: "+bakery))
		if got.Route != c.route || got.Target != c.below || got.Links.Origin != c.leadsTo {
			t.Errorf("%s goes to %s, %s, with links to %s", c.target, got.Route, got.Target, got.Links.Origin)
		}
	}
	d = openDoor(t)
	for _, line := range []string{"GET " + platform + registry, "CONNECT services.socialsecurity.be:443"} {
		d.refuses("no proxy: "+line, d.ask(line, host), 421, "server.forwardProxy")
	}
}

func TestTheTokenStubGivesATokenThatMeansNothing(t *testing.T) {
	d := openDoor(t, asProxy(t))
	const secret = "\nclient_secret=s3"
	for _, target := range []string{"/oauth/token", "/enterprises/" + bakery + "/oauth/token?client_secret=s3",
		platform + "/REST/oauth/v5/token", platform + "/oauth/token"} {
		got := d.ask("POST "+target, "Host: localhost", secret)
		if got.Code != 200 || !strings.Contains(got.Body.String(), `"access_token":"worthless","token_type":"Bearer"`) ||
			got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", target, got.Code, got.Header(), got.Body)
		}
	}
	d.refuses("a long request", d.ask("POST /oauth/token", "\n"+strings.Repeat("x", 65<<10)),
		http.StatusRequestEntityTooLarge, "")
	d = openDoor(t, asProxy(t), func(o *server.Options) { o.Config.Server.TokenStub = "" })
	d.refuses("without a stub", d.ask("POST "+platform+"/REST/oauth/v5/token", secret), 421, "server.tokenStub")
	d.refuses("without a stub, by path", d.ask("POST /oauth/token", secret), 404, "No route")
}
