package gateway

import (
	"context"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/server"
)

// registryWait is what a caller is told to wait for the first list of providers.
const registryWait = 5 * time.Second

// isProvider reports whether a Document Provider of that id is known.
func (g *Gateway) isProvider(id string) bool {
	_, ok := g.current.Load().directory.Lookup(id)
	return ok
}

// knownProvider gives the problem of an id that no Document Provider has.
func (g *Gateway) knownProvider(id string) error {
	if g.isProvider(id) {
		return nil
	}
	return g.current.Load().unknownProvider(id)
}

// unknownProvider is the problem of an id that is not in the list of providers.
func (g *generation) unknownProvider(id string) error {
	if g.directory.NoListYet() {
		return g.noListYet()
	}
	return directory.Unknown(id, g.directory.ActiveIDs())
}

// noListYet is the problem of a call that needs the list of providers before there
// is one. If the Authorization Server refuses the client, that is what is wrong.
func (g *generation) noListYet() error {
	if g.registryToken != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := g.registryToken.Token(ctx)
		if refused := authn.Refusal(err); refused != nil {
			return refused
		}
	}
	return problem.Unavailable("The gateway has no list of Document Providers yet: the Provider Registry has not "+
		"answered since the start. Try again shortly; the platform team sees the reason in the gateway's status.",
		registryWait)
}

// listProviders is what /ebox/providers shows, but for the paths.
func (g *generation) listProviders() (list []server.Provider, complete bool) {
	now := g.gw.o.Now()
	known := g.directory.List()
	list = make([]server.Provider, 0, len(known))
	for _, p := range known {
		entry := server.Provider{
			ID: p.ID, Name: p.Name, State: string(p.State(now)), Circuit: string(g.circuit(p.ID).Circuit),
			APIVersion: p.APIVersion, Advice: p.Refusal,
		}
		for _, m := range p.Maintenance {
			if m.End.After(now) {
				entry.Maintenance = &m
				break
			}
		}
		if m, ok := g.gw.switches.Provider(p.ID); ok {
			entry.State, entry.Maintenance = string(directory.Maintenance), &ebox.Window{Start: m.Since, End: m.Until}
		}
		list = append(list, entry)
	}
	return list, !g.directory.NoListYet()
}
