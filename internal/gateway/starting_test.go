package gateway_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

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
			for path, status := range map[string]int{"/livez": 200, "/readyz": 200, "/health": 200} {
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
				if impossible && (got.status != 503 || got.header.Get("Retry-After") == "" || strings.Contains(got.body, "127.0.0.1")) {
					t.Errorf("%s: %d %v %s", path, got.status, got.header, got.body)
				}
			}
			tokens.block(passing)
			registry.block(passing)
			eventually(t, "everything to work", func() bool { return h.get(box).status == 200 && h.get(mandates).status == 200 })
			eventually(t, "health", func() bool { return h.status().Health == "UP" })
		})
	}
}
