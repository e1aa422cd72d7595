package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func TestControlOverHTTP(t *testing.T) {
	l := newLab(t)
	l.control("POST", "/faults", `{"upstream":"grant","kind":"latency","delay":"1ms","count":1}`)
	is(t, l.control("GET", "/faults", ""), 200, `"delay": "1ms"`, "the fault")
	l.control("DELETE", "/faults/1", "")
	l.control("POST", "/faults", `{"kind":"reset"}`)
	l.control("DELETE", "/faults", "")
	if f := decode[[]simulator.Fault](t, l.control("GET", "/faults", "")); len(f) != 0 {
		t.Errorf("%+v", f)
	}
	l.control("POST", "/token-lifetime", `{"lifetime":"7s"}`)
	token := l.token(simulator.ScopeRegistry)
	l.as(token, 0)("GET", l.RegistryURL()+"/messageRegistries", "")
	seen := l.control("GET", "/requests?upstream=registry", "")
	if strings.Contains(string(seen.body), token) || !strings.Contains(string(seen.body), "Bearer sha256:") ||
		len(decode[[]simulator.Recorded](t, seen)) != 1 {
		t.Errorf("%s", seen.body)
	}
	l.control("DELETE", "/requests", "")
	if r := l.control("POST", "/revoke", ""); decode[map[string]int](t, r)["revoked"] != 1 {
		t.Errorf("%s", r.body)
	}
	pem, err := json.Marshal(string(certificatePEM()))
	testkit.Must(t, err)
	l.control("PUT", "/clients/other", `{"enterprise":"0212148896","certificate":`+string(pem)+`}`)
	l.control("DELETE", "/clients/other", "")
	is(t, l.ask(l.assertion(jwt.MapClaims{"iss": "other", "sub": "other"}), ""), 401, "", "unregistered")
	l.control("PUT", "/providers/nsso", `{"messageProviderUrl":"http://169.254.169.254/"}`)
	if p := l.Providers()[0]; p.URL != "http://169.254.169.254/" || p.APIVersion != "3.0" {
		t.Errorf("%+v", p)
	}
	l.control("DELETE", "/providers/nsso", "")
	if n := len(l.Providers()); n != 4 {
		t.Errorf("%d providers", n)
	}
	l.control("PUT", "/mandates", `{"enterprise":"0800002352","kind":"e-box","until":"2020-01-01"}`)
	added := l.control("POST", "/messages",
		`{"provider":"regional","enterprise":"0206731645","subject":"Now","sizes":[10]}`)
	if decode[map[string]string](t, added)["messageId"] == "" {
		t.Errorf("%s", added.body)
	}
	l.control("POST", "/grant-health", `{"up":false}`)
	state := string(l.control("GET", "/state", "").body)
	for _, want := range []string{`"grantUp": false`, l.TokenURL(), `"tokenLifetime": "7s"`, clientID, "utilities",
		"2020-01-01"} {
		if !strings.Contains(state, want) {
			t.Errorf("no %s in %s", want, state)
		}
	}
	if strings.Contains(state, token) {
		t.Error("the state shows a token")
	}
}

func TestControlRefusesWhatWouldNotShow(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string][3]string{
		"an unknown kind":          {"POST", "/faults", `{"kind":"earthquake"}`},
		"an unknown upstream":      {"POST", "/faults", `{"kind":"reset","upstream":"authorization"}`},
		"a misspelt member":        {"POST", "/faults", `{"kind":"reset","upstraem":"grant"}`},
		"a delay without a unit":   {"POST", "/faults", `{"kind":"latency","delay":"5"}`},
		"no such fault":            {"DELETE", "/faults/7", ""},
		"a lifetime of nothing":    {"POST", "/token-lifetime", `{"lifetime":"0s"}`},
		"a client without a key":   {"PUT", "/clients/x", `{"enterprise":"0206731645"}`},
		"an invalid enterprise":    {"PUT", "/mandates", `{"enterprise":"0206731646","kind":"e-box"}`},
		"an unknown mandate":       {"PUT", "/mandates", `{"enterprise":"0206731645","kind":"x"}`},
		"a day that is none":       {"PUT", "/mandates", `{"enterprise":"0206731645","kind":"dmfa","until":"soon"}`},
		"a message for no one":     {"POST", "/messages", `{"provider":"none"}`},
		"no such control":          {"GET", "/nothing", ""},
		"a method it does not has": {"PUT", "/faults", "{}"},
	} {
		if r := l.send(c[0], l.ControlURL()+c[1], c[2]); r.status < 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	is(t, l.send("DELETE", l.ControlURL()+"/requests", "", "Origin", "https://evil.example"),
		403, "", "from a page in a browser")
	second, _, _ := strings.Cut(l.ProviderURL("regional"), "/ebox")
	is(t, l.send("GET", second+"/_control/state", ""), 404, "", "on the second host")
}
