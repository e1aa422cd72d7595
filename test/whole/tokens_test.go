package whole_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// keepsSecrets fails the test if anything that the gateway wrote or shows holds a
// token that an upstream saw, an assertion, a key or one of the further secrets.
func (h *house) keepsSecrets(further ...string) {
	h.t.Helper()
	secrets := map[string]bool{"eyJ": true, "client_assertion": true, "PRIVATE KEY": true, "Bearer ": true}
	for _, s := range further {
		secrets[s] = true
	}
	tokens := 0
	for _, r := range h.sim.Requests() {
		if _, token, ok := strings.Cut(r.Header.Get("Authorization"), "Bearer "); ok {
			secrets[token] = true
			tokens++
		}
	}
	if tokens == 0 {
		h.t.Error("no upstream saw a token: there was nothing to keep")
	}
	for where, text := range map[string]string{"the log": h.log.String(), "the access log": h.access.String(),
		"the status": h.operate("GET", "/status").body} {
		if text == "" {
			h.t.Errorf("%s is empty", where)
		}
		for secret := range secrets {
			if strings.Contains(text, secret) {
				h.t.Errorf("%s holds %q", where, secret)
			}
		}
	}
}

func TestA401RenewsTheTokenOnceAndTheCallSucceeds(t *testing.T) {
	t.Parallel()
	h := open(t)
	order := `{` + flexiJob + `,"representedEnterpriseNumber":"` + mandated + `"`
	order += strings.Repeat(" ", 64<<10-len(order)-1) + `}`
	for _, c := range []struct {
		name, method, path, fault, body string
		status                          int
	}{
		{"GET", "GET", nsso + "/ebox/messages", "/ebox", "", 200},
		{"body of 64 KiB", "POST", grant + "/mandates", "/mandates", order, 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.fault(simulator.Fault{Method: c.method, Path: c.fault, Count: 1, Kind: simulator.FaultUnauthorized})
			h.sim.ResetRequests()
			got := h.send(c.method, "/enterprises/"+mandated+c.path, strings.NewReader(c.body), asJSON).want(t, c.status)
			seen := slices.DeleteFunc(h.sim.Requests(), func(r simulator.Recorded) bool {
				return r.Upstream == simulator.UpstreamToken
			})
			if len(seen) != 2 {
				t.Fatalf("%d tries", len(seen))
			}
			if seen[0].Status != 401 || seen[0].Header.Get("Authorization") == seen[1].Header.Get("Authorization") ||
				seen[0].Header.Get("Belgov-Trace-Id") == seen[1].Header.Get("Belgov-Trace-Id") {
				t.Error("not a 401 and another token and trace id")
			}
			if seen[1].BodyBytes != int64(len(c.body)) {
				t.Errorf("upstream saw a body of %d bytes the second time", seen[1].BodyBytes)
			}
			if status := got.header.Get("Proxy-Status"); !strings.Contains(status, "tries=2") {
				t.Errorf("Proxy-Status %q", status)
			}
		})
	}
	h.keepsSecrets()
}

// That the server is not hammered is in package authn.
func TestARefusedClientIsToldWhyAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	refused := func(code, hint string) map[string]any {
		t.Helper()
		got := h.get(box).want(t, 502)
		p := got.problem(t)
		if p["type"] != "urn:problem-type:ebox-gateway:clientRefused" || p["error"] != code ||
			got.header.Get("Retry-After") != "" || !strings.Contains(p["detail"].(string), hint) {
			t.Fatalf("%v %s", got.header, got.body)
		}
		return p
	}
	poor := lab.Client(t)
	poor.Scopes = []string{simulator.ScopeRegistry}
	testkit.Must(t, h.sim.RegisterClient(poor))
	if p := refused("invalid_scope", "terms of use"); p["scope"] != simulator.ScopeDocumentConsumer {
		t.Errorf("%v", p)
	}
	h.fault(simulator.Fault{Upstream: simulator.UpstreamToken, Kind: simulator.FaultUnauthorized})
	h.operate("POST", "/tokens/retry").want(t, 200)
	eventually(t, "the refusal of the client", func() bool { return strings.Contains(h.get(box).body, "invalid_client") })
	refused("invalid_client", "Chaman")
	h.keepsSecrets()
}

const rotatedPassword = "correct horse battery"

// mounted writes key stores as Kubernetes mounts secrets: client.p12 leads through
// the link ..data to a directory that is swapped as a whole.
func mounted(t *testing.T) (dir string, swap func(*simulator.Identity)) {
	t.Helper()
	dir = t.TempDir()
	testkit.Must(t, os.Symlink(filepath.Join("..data", "client.p12"), filepath.Join(dir, "client.p12")))
	return dir, func(identity *simulator.Identity) {
		t.Helper()
		p12, err := identity.PKCS12(rotatedPassword)
		testkit.Must(t, err)
		version, err := os.MkdirTemp(dir, "..version-")
		if err == nil {
			err = os.WriteFile(filepath.Join(version, "client.p12"), p12, 0o600)
		}
		if err == nil {
			err = os.Symlink(filepath.Base(version), filepath.Join(dir, "..data_tmp"))
		}
		if err == nil {
			err = os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
		}
		testkit.Must(t, err)
	}
}

// What becomes of keys that are not registered, and of files that hold none, is in package authn.
func TestANewKeySignsOnceATokenWasObtainedWithIt(t *testing.T) {
	t.Parallel()
	dir, swap := mounted(t)
	var identities [2]*simulator.Identity
	for i := range identities {
		var err error
		if identities[i], err = simulator.SelfSigned("Office", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	swap(identities[0])
	h := build(t, edit("file: client.p12, password: demo", "file: "+filepath.Join(dir, "client.p12")+
		", password: "+rotatedPassword))
	register := func(i int) {
		rotated := lab.Client(t)
		rotated.Certificate = identities[i].Certificate
		testkit.Must(t, h.sim.RegisterClient(rotated))
	}
	register(0)
	eventually(t, "calls to succeed with the first key", func() bool { return h.get(box).status == 200 })
	first := h.status().Clients[0].Key.Fingerprint
	swap(identities[1])
	eventually(t, "the reason why the new key does not sign", func() bool {
		p := h.status().Clients[0].Pending
		return p != nil && strings.Contains(p.Reason, "not yet registered in Chaman?")
	})
	if now := h.status().Clients[0].Key.Fingerprint; now != first {
		t.Errorf("%s signs instead of %s", now, first)
	}
	h.get(box).want(t, 200)
	register(1)
	h.operate("POST", "/tokens/retry").want(t, 200)
	eventually(t, "the registered key to sign", func() bool {
		s := h.status().Clients[0]
		return s.Key.Fingerprint != first && s.Pending == nil
	})
	h.sim.RevokeTokens() // only the key that is registered can get another one
	h.get(box).want(t, 200)
	h.keepsSecrets(rotatedPassword)
}

func TestAColdStartAsksForOneToken(t *testing.T) {
	t.Parallel()
	h := open(t)
	before := h.sim.TokensIssued()
	var wg sync.WaitGroup
	for range 40 {
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
	t.Parallel()
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
	for prefix, scope := range map[string]string{"/enterprises/" + mandated: simulator.ScopeRepresentativePublication,
		"/enterprises/own": simulator.ScopePublicationSender} {
		h.publish(prefix).want(t, 201)
		if got := h.last("provider:nsso").Scopes; !slices.Equal(got, []string{scope}) {
			t.Errorf("publishing for %s: %v", prefix, got)
		}
	}
}
