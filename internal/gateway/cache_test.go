package gateway

import (
	"log/slog"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// What one client got with one set of scopes is given to no other, also not by a configuration in
// which its name is another's.
func TestAnswersAreKeptByClientAndScopes(t *testing.T) {
	seen := make(map[call.Partition]bool)
	for _, id := range []string{"1", "2"} {
		clients := map[string]config.Client{"a": {ClientID: id}, "b": {ClientID: "3" + id}}
		g := &generation{cfg: &config.Config{OAuth: config.OAuth{Clients: clients}}}
		tokens := authn.New(authn.Options{OAuth: g.cfg.OAuth, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		route := config.Route{Name: "ebox", Registry: true}
		route.Cache.Enabled = true
		g.cfg.Routes = []config.Route{route}
		k := g.newKept(&route, "https://upstream.example")
		for _, of := range []struct{ client, scope string }{{"a", "x"}, {"a", "y"}, {"b", "x"}} {
			source, err := tokens.Source(of.client, []string{of.scope})
			testkit.Must(t, err)
			seen[k.of(source, nil).Partition] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("six rights have %d partitions: %v", len(seen), seen)
	}
}
