package whole_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"ebox-gateway/internal/simulator"
)

const (
	nsso     = "/ebox/providers/nsso"
	regional = "/ebox/providers/regional"
	mandated = "0206731645" // has a mandate in the simulator
	another  = "0212148896" // so has this one
	ended    = "0474028805" // its mandate has ended
	unlisted = "0800002352" // a valid number that the configuration does not list
)

func TestEveryFormOfTheNumberReachesUpstreamAsTenDigits(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ name, path, header string }{
		{"path", "/enterprises/0206731645" + nsso + "/ebox/messages", ""},
		{"path with dots", "/enterprises/0206.731.645" + nsso + "/ebox/messages", ""},
		{"path with VAT prefix", "/enterprises/BE0206731645" + nsso + "/ebox/messages", ""},
		{"path with escapes", "/enterprises/BE%200206.731.645" + nsso + "/ebox/messages", ""},
		{"path, nine digits", "/enterprises/206731645" + nsso + "/ebox/messages", ""},
		{"header", nsso + "/ebox/messages", "On-Behalf-Of-Enterprise-Number: 0206731645"},
		{"header with dots", nsso + "/ebox/messages", "On-Behalf-Of-Enterprise-Number: 0206.731.645"},
		{"header in lower case", nsso + "/ebox/messages", "on-behalf-of-enterprise-number: BE 0206.731.645"},
		{"path and header that agree", "/enterprises/206731645" + nsso + "/ebox/messages",
			"On-Behalf-Of-Enterprise-Number: BE0206731645"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			var fields []string
			if c.header != "" {
				fields = append(fields, c.header)
			}
			got := h.get(c.path, fields...).want(t, 200)
			if !strings.Contains(got.body, mandated) {
				t.Errorf("not the messages of %s: %s", mandated, got.body)
			}
			r := h.last("provider:nsso")
			if v := r.Header["On-Behalf-Of-Enterprise-Number"]; len(v) != 1 || v[0] != mandated {
				t.Errorf("upstream saw %q", v)
			}
		})
	}
}

func TestOwnEBoxIsReachedWithoutTheHeader(t *testing.T) {
	h := open(t)
	h.get("/enterprises/own"+nsso+"/ebox").want(t, 200)
	if v, there := h.last("provider:nsso").Header["On-Behalf-Of-Enterprise-Number"]; there {
		t.Errorf("upstream saw %q", v)
	}
}

func TestAForgottenNumberIsNotTheOfficesOwnEBox(t *testing.T) {
	h := open(t)
	p := h.get(nsso+"/ebox/messages").want(t, 400).problem(t)
	if p["type"] != "urn:problem-type:belgif:badRequest" || p["issues"] == nil {
		t.Errorf("%v", p)
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
}

func TestNumbersThatAreRefused(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		name, path string
		fields     []string
		status     int
	}{
		{"wrong check digits", "/enterprises/0206731646" + nsso + "/ebox", nil, 400},
		{"malformed", "/enterprises/12345" + nsso + "/ebox", nil, 400},
		{"empty segment", "/enterprises/" + nsso + "/ebox", nil, 400},
		{"empty header", nsso + "/ebox", []string{"On-Behalf-Of-Enterprise-Number: "}, 400},
		{"path and header disagree", "/enterprises/0206731645" + nsso + "/ebox",
			[]string{"On-Behalf-Of-Enterprise-Number: 0212148896"}, 400},
		{"header twice", nsso + "/ebox", []string{"On-Behalf-Of-Enterprise-Number: 0206731645",
			"On-Behalf-Of-Enterprise-Number: 0206731645"}, 400},
		{"header and alias", nsso + "/ebox", []string{"On-Behalf-Of-Enterprise-Number: 0206731645",
			"On_Behalf_Of_Enterprise_Number: 0212148896"}, 400},
		{"not listed", "/enterprises/0800002352" + nsso + "/ebox", nil, 403},
		{"prefix twice", "/enterprises/0206731645/enterprises/0212148896" + nsso + "/ebox", nil, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.get(c.path, c.fields...).want(t, c.status).problem(t)
		})
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
}

func TestUpstreamsRefusalOfAMandateArrivesAsItCame(t *testing.T) {
	h := open(t)
	got := h.get("/enterprises/"+ended+nsso+"/ebox/messages").want(t, 403)
	if strings.Contains(got.header.Get("Proxy-Status"), "error=") {
		t.Errorf("the gateway claims the error as its own: %s", got.header.Get("Proxy-Status"))
	}
}

// Many callers at once, each for an enterprise of its own: nobody may ever see the
// other's messages, and every link must lead back to the same enterprise.
func TestNoAnswerReachesAnotherEnterprise(t *testing.T) {
	h := open(t)
	var wg sync.WaitGroup
	for i := range 200 {
		mine, other := mandated, another
		if i%2 == 1 {
			mine, other = another, mandated
		}
		provider := nsso
		if i%3 == 0 {
			provider = regional
		}
		wg.Go(func() {
			path, field := "/enterprises/"+mine+provider+"/ebox/messages", "Accept: application/json"
			if i%4 < 2 {
				path, field = provider+"/ebox/messages", "On-Behalf-Of-Enterprise-Number: "+mine
			}
			got := h.get(path, field)
			if got.status != 200 || !strings.Contains(got.body, mine) || strings.Contains(got.body, other) {
				t.Errorf("%s for %s: %d %s", path, mine, got.status, got.body)
			}
		})
	}
	wg.Wait()
}

func TestColdStartOfAThousandCallersAsksForOneToken(t *testing.T) {
	// They all get through the token at the same moment: this is not about the
	// bulkhead, which would turn most of them away.
	h := open(t, edit("path: /ebox/providers/{providerId}\n",
		"path: /ebox/providers/{providerId}\n    concurrency: {max: 1000}\n"))
	before := h.sim.TokensIssued()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if got := h.get("/enterprises/" + mandated + nsso + "/ebox"); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if n := h.sim.TokensIssued() - before; n != 1 {
		t.Errorf("%d tokens", n)
	}
}

func TestEachUpstreamGetsATokenWithItsOwnScopesAlone(t *testing.T) {
	h := open(t)
	for path, want := range map[string]string{
		nsso + "/ebox/messages":                                           simulator.ScopeDocumentConsumer,
		regional + "/ebox":                                                simulator.ScopeSummaryOwnEbox,
		regional + "/ebox/messages":                                       simulator.ScopeMessagesFull,
		regional + "/referenceData/messageTypes":                          simulator.ScopeReferenceData,
		"/ebox/registry/messageRegistries":                                simulator.ScopeRegistry,
		"/ebox/federation/messageProviders":                               simulator.ScopeRegistry,
		"/grant/citizen/mandates?representedEnterpriseNumber=" + mandated: simulator.ScopeCitizenMandates,
	} {
		t.Run(path, func(t *testing.T) {
			h.sim.ResetRequests()
			got := h.get("/enterprises/"+mandated+path).want(t, 200)
			for _, r := range h.sim.Requests() {
				if r.Upstream == simulator.UpstreamToken {
					continue
				}
				if fmt.Sprint(r.Scopes) != "["+want+"]" {
					t.Errorf("%s saw a token with %v (answer %d)", r.Upstream, r.Scopes, got.status)
				}
			}
		})
	}
}
