package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/server"
)

// registryWait is what a caller is told to wait for the first list of providers.
const registryWait = 5 * time.Second

// newDirectory makes the directory of Document Providers, which hears of changes
// before anything is fetched.
func (g *Gateway) newDirectory() error {
	r := g.cfg.Registry
	o := directory.Options{
		Refresh: r.Refresh, AllowedHosts: r.AllowedHosts, AllowHTTP: r.AllowHTTP, Now: g.now, Log: g.log,
		Fields: directory.Fields{
			ID: r.Fields.ID, Name: r.Fields.Name, Description: r.Fields.Description, URL: r.Fields.URL,
			Activation: r.Fields.ActivationDate, Deactivation: r.Fields.DeactivationDate,
			Maintenance: r.Fields.Maintenance, Start: r.Fields.MaintenanceStart, End: r.Fields.MaintenanceEnd,
			APIVersion: r.Fields.APIVersion, Contact: r.Fields.Contact,
		},
		Static:   staticProviders(r.Providers),
		OnChange: g.followProviders,
	}
	if r.URL != nil {
		fetch, err := g.registryFetch(r)
		if err != nil {
			return err
		}
		o.Fetch = fetch
	}
	g.directory = directory.New(o)
	g.followProviders(o.Static) // those of the configuration are there from the start
	return nil
}

func staticProviders(list []config.StaticProvider) []directory.Provider {
	providers := make([]directory.Provider, 0, len(list))
	for _, p := range list {
		providers = append(providers, directory.Provider{
			ID: p.ID, Name: map[string]string{"": p.Name}, Base: p.URL, APIVersion: p.APIVersion,
		})
	}
	return providers
}

// followProviders gives every federated route the upstreams of a new list.
func (g *Gateway) followProviders(list []directory.Provider) {
	for _, f := range g.federated {
		f.follow(list)
	}
}

// registryFetch makes the call that gets the registry's list, through an upstream
// stack of its own and with a token for the registry alone.
func (g *Gateway) registryFetch(r config.Registry) (func(context.Context) (directory.Answer, error), error) {
	client := r.Client
	if client == "" {
		client = g.cfg.Tenancy.DefaultClient
	}
	withoutToken := len(r.Scopes) == 0
	var source *authn.Source
	if !withoutToken {
		var err error
		if source, err = g.tokens.Source(client, r.Scopes); err != nil {
			return nil, fmt.Errorf("preparing the registry's token: %w", err)
		}
	}
	stack, _ := g.stack(upstreamOptions{
		name: "registry", timeouts: config.Timeouts{Connect: 3 * time.Second, Header: 15 * time.Second, Idle: 15 * time.Second},
		guard: guardFor(r.URL, r.AllowPrivateNetworks), allowHTTP: r.AllowHTTP, withoutToken: withoutToken,
	})
	target := r.URL.String()
	return func(ctx context.Context) (directory.Answer, error) {
		if source != nil {
			ctx = authn.WithSource(ctx, source)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return directory.Answer{}, err
		}
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", "ebox-gateway")
		resp, err := stack.RoundTrip(req)
		if err != nil {
			return directory.Answer{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, directory.MaxBody+1))
		if err != nil {
			return directory.Answer{}, err
		}
		if len(body) > directory.MaxBody {
			return directory.Answer{}, errors.New("the registry's list is larger than 4 MB")
		}
		return directory.Answer{Status: resp.StatusCode, Body: body}, nil
	}, nil
}

// directoryEmpty tells that no list has been had since the start.
func (g *Gateway) directoryEmpty() bool {
	return g.cfg.Registry.URL != nil && g.directory.Status().LastSuccess.IsZero()
}

func (g *Gateway) activeProviders() []string {
	var ids []string
	now := g.now()
	for _, p := range g.directory.List() {
		if p.State(now) == directory.Active {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// listProviders is what /ebox/providers shows, but for the paths.
func (g *Gateway) listProviders() []server.Provider {
	now := g.now()
	list := g.directory.List()
	shown := make([]server.Provider, 0, len(list))
	for _, p := range list {
		entry := server.Provider{
			ID: p.ID, Name: p.Name, State: string(p.State(now)), Circuit: "closed", APIVersion: p.APIVersion, Advice: p.Refusal,
		}
		for _, m := range p.Maintenance {
			if m.End.After(now) {
				entry.Maintenance = &server.Window{Start: m.Start, End: m.End}
				break
			}
		}
		shown = append(shown, entry)
	}
	return shown
}
