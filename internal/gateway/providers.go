package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/wire"
)

// registryWait is what a caller is told to wait for the first list of providers.
const registryWait = 5 * time.Second

// newDirectory makes the directory of Document Providers, or takes that of the
// generation before, which knows the list already.
func (g *generation) newDirectory(old *generation) error {
	r := g.cfg.Registry
	if old != nil && g.tokens == old.tokens && reflect.DeepEqual(r, old.cfg.Registry) &&
		g.cfg.Tenancy.DefaultClient == old.cfg.Tenancy.DefaultClient {
		g.directory, g.registryToken = old.directory, old.registryToken
		if r.URL != nil {
			g.registryStack() // stays ours, though another generation made the calls' way to it
		}
		return nil
	}
	o := directory.Options{Registry: r, Now: g.now, Log: g.log}
	if r.URL != nil {
		var err error
		if o.Fetch, err = g.registryFetch(r); err != nil {
			return err
		}
		if g.redis.shared != nil {
			o.Shared = g.redis.shared.List(r.URL.String())
		}
	}
	g.directory = directory.New(o)
	if old == nil {
		return nil // a first generation asks nobody before it runs
	}
	if was := old.cfg.Registry.URL; r.URL != nil && was != nil && *r.URL == *was {
		g.directory.Adopt(old.directory)
	}
	g.directory.Warm(context.Background())
	return nil
}

// registryFetch makes the call that gets the registry's list or a page of it, through an
// upstream stack of its own and with a token for the registry alone.
func (g *generation) registryFetch(r config.Registry) (
	func(context.Context, string) (directory.Answer, error), error,
) {
	client := r.Client
	if client == "" {
		client = g.cfg.Tenancy.DefaultClient
	}
	if len(r.Scopes) > 0 {
		var err error
		if g.registryToken, err = g.tokens.Source(client, r.Scopes); err != nil {
			return nil, fmt.Errorf("preparing the registry's token: %w", err)
		}
	}
	registry, source := g.registryStack(), g.registryToken
	return func(ctx context.Context, url string) (directory.Answer, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return directory.Answer{}, err
		}
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("User-Agent", "ebox-gateway")
		c := call.Internal("registry")
		if source != nil {
			c.Credential = source.Session()
		}
		resp, err := registry.stack.Send(ctx, c, req)
		if err != nil {
			return directory.Answer{}, err
		}
		defer resp.Body.Close()
		body, err := wire.Uncoded(resp.Header, resp.Body, directory.MaxBody)
		if errors.Is(err, wire.ErrTooLong) {
			err = errors.New("the registry's list is larger than 4 MB")
		}
		return directory.Answer{Status: resp.StatusCode, Body: body}, err
	}, nil
}

// registryStack is the stack of the registry's list.
func (g *generation) registryStack() *stacked {
	r := g.cfg.Registry
	s, _ := g.stackOf(upstreamOptions{
		name: "registry", base: r.URL.String(), timeouts: config.Timeouts{Connect: 3 * time.Second, Header: 15 * time.Second,
			Idle: 15 * time.Second},
		guard: egress.GuardOf(r.URL, r.AllowPrivateNetworks), allowHTTP: r.AllowHTTP,
		withoutToken: len(r.Scopes) == 0, protection: own,
	})
	return s
}

// noListYet is the problem of a call that needs the list of providers before there
// is one. If the Authorization Server refuses the client, that is what is wrong.
func (g *generation) noListYet() error {
	if g.registryToken != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := g.registryToken.Token(ctx)
		var refused *authn.RefusedError
		if errors.As(err, &refused) {
			return refused
		}
	}
	return problem.Unavailable("The gateway has no list of Document Providers yet: the Provider Registry has not "+
		"answered since the start. Try again shortly; the platform team sees the reason in the gateway's status.",
		registryWait)
}

// directoryEmpty tells that no list has been had since the start.
func (g *generation) directoryEmpty() bool {
	return g.cfg.Registry.URL != nil && g.directory.Status().LastSuccess.IsZero()
}

// circuit is the state of a provider's circuit; the worst, if several routes lead to it.
func (g *generation) circuit(id string) resilience.State {
	worst := resilience.State{Circuit: resilience.Closed}
	for _, f := range g.federated {
		if s := f.circuit(id); s.Circuit == resilience.Open || worst.Circuit == resilience.Closed {
			worst = s
		}
	}
	return worst
}

// listProviders is what /ebox/providers shows, but for the paths.
func (g *generation) listProviders() (list []server.Provider, complete bool) {
	now := g.now()
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
		if m, ok := g.pool.switches.Provider(p.ID); ok {
			entry.State, entry.Maintenance = string(directory.Maintenance), &ebox.Window{Start: m.Since, End: m.Until}
		}
		list = append(list, entry)
	}
	return list, !g.directoryEmpty()
}
