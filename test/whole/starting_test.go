package whole_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
)

// A gateway starts whatever is down, says what it misses, serves what it can, and
// has the rest as soon as that is back. directory_test.go and tokens_test.go have
// the registry and the Authorization Server each closing connections at the start.
func TestTheGatewayStartsWithoutTheOthersAndHeals(t *testing.T) {
	for _, c := range []struct {
		name             string
		tokens, registry blockage
	}{
		{"both refuse", refusing, refusing},
		{"the registry refuses", passing, refusing},
		{"the Authorization Server refuses", refusing, passing},
		{"both accept and never answer", mute, mute},
		{"both talk something else", talkingOther, talkingOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var tokens, registry *detour
			began := time.Now()
			h := build(t, func(t *testing.T, text string) string {
				shared := regexp.MustCompile(`tokenUrl: http://([^/]+)`).FindStringSubmatch(text)[1]
				tokens, registry = newDetour(t, shared, nil), newDetour(t, shared, nil)
				tokens.block(c.tokens)
				registry.block(c.registry)
				text = edit("oauth:\n", "oauth:\n  timeout: 500ms\n")(t, text)
				for _, v := range victims {
					switch v.upstream {
					case simulator.UpstreamRegistry:
						text = v.lead(t, text, "http://"+registry.addr)
					case simulator.UpstreamToken:
						text = v.lead(t, text, "http://"+tokens.addr)
					}
				}
				return text
			})
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the start took %s", took)
			}
			for path, status := range map[string]int{"/livez": 200, "/readyz": 503, "/health": 200} {
				resp, err := h.http.Get(h.adm + path)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != status {
					t.Errorf("%s: %s", path, resp.Status)
				}
			}
			h.get("/ebox/providers").want(t, 200)
			for path, impossible := range map[string]bool{
				box:      true, // needs a list, which needs a token
				mandates: c.tokens != passing,
			} {
				got := h.get(path)
				if impossible == (got.status == http.StatusOK) {
					t.Fatalf("%s: %d %s", path, got.status, got.body)
				}
				if impossible && (got.status != 503 || got.header.Get("Retry-After") == "" ||
					strings.Contains(got.body, "127.0.0.1")) {
					t.Errorf("%s: %d %v %s", path, got.status, got.header, got.body)
				}
			}
			tokens.block(passing)
			registry.block(passing)
			eventually(t, "everything to work", func() bool { return h.get(box).status == 200 && h.get(mandates).status == 200 })
			eventually(t, "readiness", func() bool { return h.operate("GET", "/readyz").status == 200 })
			eventually(t, "health", func() bool { return h.status().Health == "UP" })
		})
	}
}

// A rolling update would otherwise replace every good replica by one that can do nothing.
func TestAGatewayWhoseClientIsRefusedIsNotReady(t *testing.T) {
	h := build(t, edit("clientId: "+client.ID, "clientId: somebody-else"))
	eventually(t, "the end of the first tries", func() bool { return h.operate("GET", "/startupz").status == 200 })
	got := h.operate("GET", "/readyz").want(t, 503)
	if !strings.Contains(got.body, "client demo has had no token yet") || !strings.Contains(got.body, "invalid_client") {
		t.Errorf("%s", got.body)
	}
	if s := h.status(); s.Ready || !slices.ContainsFunc(s.Attention,
		func(a status.Attention) bool { return strings.Contains(a.Text, "not ready") }) {
		t.Errorf("%+v", s.Attention)
	}
}

func TestPatienceMakesAGatewayReadyForWhatItCanServe(t *testing.T) {
	h := build(t, edit("clientId: "+client.ID, "clientId: somebody-else"), add("readiness: {patience: 300ms}\n"))
	h.operate("GET", "/readyz").want(t, 503)
	eventually(t, "the end of the patience", func() bool { return h.operate("GET", "/readyz").status == 200 })
}

func TestOnceReadyAnOutageDoesNotMakeAGatewayUnready(t *testing.T) {
	h := open(t)
	eventually(t, "readiness", func() bool { return h.operate("GET", "/readyz").status == 200 })
	for _, upstream := range []string{simulator.UpstreamToken, simulator.UpstreamRegistry,
		simulator.ProviderUpstream("nsso")} {
		if _, err := h.sim.Fault(simulator.Fault{Upstream: upstream, Kind: simulator.FaultStatus, Status: 503}); err != nil {
			t.Fatal(err)
		}
	}
	h.get(box).want(t, 503)
	h.operate("GET", "/readyz").want(t, 200)
}
