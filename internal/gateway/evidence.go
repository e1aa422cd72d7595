package gateway

import (
	"context"
	"net/netip"
	"time"

	"ebox-gateway/internal/audit"
)

// closeEvidence signs the end. Requests that were cut a moment ago are waited for.
func (g *Gateway) closeEvidence() error {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if g.evidence.Kept() && empty(ctx, &g.serving) != nil {
		g.o.Log.Error("requests are still under way at the end: the evidence has no word of how they end",
			"requests", g.serving.Load())
	}
	return g.evidence.Close()
}

// followKeys records when an OAuth client signs with another key.
func (g *Gateway) followKeys(ctx context.Context) {
	const every = 10 * time.Second
	if !g.evidence.Kept() {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	known := make(map[string]string)
	for {
		for _, c := range g.current.Load().tokens.Status() {
			if c.Key == nil || known[c.Name] == c.Key.Fingerprint {
				continue
			}
			g.evidence.Event(audit.KindKey, netip.Addr{}, "client", c.Name, "clientId", c.ID, "oldKey", known[c.Name],
				"newKey", c.Key.Fingerprint, "subject", c.Key.Subject)
			known[c.Name] = c.Key.Fingerprint
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
