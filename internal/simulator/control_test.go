package simulator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestControlOverHTTP(t *testing.T) {
	l := newLab(t)
	must := func(method, path, body string) reply {
		t.Helper()
		r := l.send(method, l.ControlURL()+path, body)
		if r.status != 200 && r.status != 204 {
			t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
		}
		return r
	}
	must("POST", "/faults", `{"upstream":"grant","kind":"latency","delay":"1ms","count":1}`)
	if f := decode[[]faultOrder](t, must("GET", "/faults", "")); len(f) != 1 || f[0].Delay != "1ms" || f[0].ID != 1 ||
		l.faultList()[0].Fault.Delay != time.Millisecond {
		t.Errorf("%+v", f)
	}
	must("DELETE", "/faults/1", "")
	must("POST", "/faults", `{"kind":"reset"}`)
	must("DELETE", "/faults", "")
	if len(l.faultList()) != 0 {
		t.Errorf("%+v", l.faultList())
	}
	must("POST", "/token-lifetime", `{"lifetime":"7s"}`)
	token := l.token(ScopeRegistry)
	l.as(token, 0)("GET", l.RegistryURL()+"/messageRegistries", "")
	seen := must("GET", "/requests?upstream=registry", "")
	if strings.Contains(string(seen.body), token) || !strings.Contains(string(seen.body), "Bearer sha256:") ||
		len(decode[[]Recorded](t, seen)) != 1 {
		t.Errorf("%s", seen.body)
	}
	must("DELETE", "/requests", "")
	if r := must("POST", "/revoke", ""); decode[map[string]int](t, r)["revoked"] != 1 {
		t.Errorf("%s", r.body)
	}
	pem, err := json.Marshal(string(certificatePEM()))
	if err != nil {
		t.Fatal(err)
	}
	must("PUT", "/clients/other", `{"enterprise":"0212148896","certificate":`+string(pem)+`}`)
	must("DELETE", "/clients/other", "")
	is(t, l.ask(l.assertion(jwt.MapClaims{"iss": "other", "sub": "other"}), ""), 401, "", "unregistered")
	must("PUT", "/providers/nsso", `{"messageProviderUrl":"http://169.254.169.254/"}`)
	if p := l.Providers()[0]; p.URL != "http://169.254.169.254/" || p.APIVersion != "3.0" {
		t.Errorf("%+v", p)
	}
	must("DELETE", "/providers/nsso", "")
	if n := len(l.Providers()); n != 4 {
		t.Errorf("%d providers", n)
	}
	must("PUT", "/mandates", `{"enterprise":"0800002352","kind":"e-box","until":"2020-01-01"}`)
	if n := len(l.mandateList()); n != 7 {
		t.Errorf("%d mandates", n)
	}
	must("DELETE", "/mandates", `{"enterprise":"0800002352"}`)
	added := must("POST", "/messages",
		`{"provider":"regional","enterprise":"0206731645","subject":"Now","sizes":[10]}`)
	if decode[map[string]string](t, added)["messageId"] == "" {
		t.Errorf("%s", added.body)
	}
	must("POST", "/grant-health", `{"up":false}`)
	state := string(must("GET", "/state", "").body)
	for _, want := range []string{`"grantUp": false`, l.TokenURL(), `"tokenLifetime": "7s"`, clientID, "utilities"} {
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
	is(t, l.send("GET", l.regional.base+controlPath+"/state", ""), 404, "", "on the second host")
}
