package gateway

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/wire"
)

// makeParts makes those parts anew that were not carried over. Nothing is called: the
// Authorization Server, the registry and Redis may be down.
func (g *generation) makeParts() (err error) {
	if g.egress == nil {
		g.egress, err = egress.New(egress.Options{Egress: g.cfg.Egress, Now: g.gw.o.Now, Calls: g.gw.calls, Log: g.gw.o.Log})
		if err != nil {
			return fmt.Errorf("preparing the way out: %w", err)
		}
	}
	if g.redis == nil && g.cfg.Redis.URL != "" {
		if g.redis, err = g.newRedis(); err != nil {
			return fmt.Errorf("preparing Redis: %w", err)
		}
	}
	if g.tracer == nil && g.cfg.Tracing.Endpoint != nil {
		if g.tracer, err = g.newTracer(); err != nil {
			return fmt.Errorf("preparing traces: %w", err)
		}
	}
	// These stacks are the generation's too where what asks by them was carried over.
	transport, err := g.tokenTransport()
	if err != nil {
		return fmt.Errorf("preparing the OAuth clients: %w", err)
	}
	registry := g.registryStack()
	if g.tokens == nil {
		g.tokens = g.newTokens(transport)
	}
	if g.directory == nil {
		return g.newDirectory(registry)
	}
	return nil
}

// newRedis makes the store that replicas share.
func (g *generation) newRedis() (*redisstore.Store, error) {
	c, read := g.cfg.Redis, &g.contents
	address, err := c.Address()
	if err != nil {
		return nil, fmt.Errorf("reading redis.url: %w", err)
	}
	var roots *x509.CertPool
	if read.redisCA != nil {
		if roots, err = files.Trusted(read.redisCA); err != nil {
			return nil, fmt.Errorf("reading redis.caFile %s: %w", c.CAFile, err)
		}
	}
	if len(read.redisKeys) == 0 {
		g.gw.o.Log.Warn("redis.encryptionKeys is not set: replicas share neither tokens nor what belongs to an enterprise")
	}
	return redisstore.New(redisstore.Options{
		Address: address, Roots: roots, Keys: read.redisKeys, Namespace: string(g.cfg.Environment), Timeout: c.Timeout,
		Replicas: c.Replicas, Listener: g.gw.cache, Now: g.gw.o.Now, Log: g.gw.o.Log,
	}), nil
}

// newTracer makes what sends traces of requests to a collector.
func (g *generation) newTracer() (*telemetry.Tracer, error) {
	c, read := g.cfg.Tracing, &g.contents
	headers, err := telemetry.ParseHeaders(read.tracingHeaders)
	if err != nil {
		return nil, fmt.Errorf("reading tracing.headersFile %s: %w", c.HeadersFile, err)
	}
	return telemetry.NewTracer(telemetry.TracerOptions{
		Endpoint: c.Endpoint, Headers: headers, Authorities: read.tracingCA, SampleRatio: c.SampleRatio,
		ServiceName: c.ServiceName, Version: g.gw.o.Version, Environment: string(g.cfg.Environment),
		Instance: g.gw.instance, Log: g.gw.o.Log,
	})
}

// trace sends the trace of a finished request to the collector, if there is one.
func (g *generation) trace(r *call.Record) {
	if g.tracer != nil {
		g.tracer.Done(r, g.templates[r.Route])
	}
}

// newTokens makes the token source of all OAuth clients.
func (g *generation) newTokens(transport http.RoundTripper) *authn.Tokens {
	o := authn.Options{
		OAuth: g.cfg.OAuth, Transport: transport, Now: g.gw.o.Now, Log: g.gw.o.Log, Environment: string(g.cfg.Environment),
	}
	if g.redis != nil {
		o.Shared = g.redis
	}
	return authn.New(o)
}

// tokenTransport is the stack of the token endpoint, an upstream like any other. Who
// asks for tokens counts and repeats in its own way.
func (g *generation) tokenTransport() (http.RoundTripper, error) {
	u, err := url.Parse(g.cfg.OAuth.TokenURL)
	if err != nil {
		return nil, fmt.Errorf("reading oauth.tokenUrl: %w", err)
	}
	t := g.cfg.OAuth.Timeout
	s, _ := g.stackOf(upstreamOptions{
		name: operate.TokenEndpoint, base: g.cfg.OAuth.TokenURL, timeouts: config.Timeouts{Connect: min(t, 3*time.Second),
			Header: t, Idle: t},
		guard: egress.GuardOf(u, g.cfg.OAuth.AllowPrivateNetworks), withoutToken: true, protection: own,
	})
	return internalSender{s.stack, operate.TokenEndpoint}, nil
}

// newDirectory makes the directory of Document Providers. registry is the way to its list,
// nil if the configuration alone says who they are.
func (g *generation) newDirectory(registry *stacked) error {
	r := g.cfg.Registry
	o := directory.Options{Registry: r, Now: g.gw.o.Now, Log: g.gw.o.Log}
	if registry != nil {
		if len(r.Scopes) > 0 {
			var err error
			if g.registryToken, err = g.tokens.Source(cmp.Or(r.Client, g.cfg.Tenancy.DefaultClient), r.Scopes); err != nil {
				return fmt.Errorf("preparing the registry's token: %w", err)
			}
		}
		o.Fetch = fetchRegistry(registry.stack, g.registryToken)
		if g.redis != nil {
			o.Shared = g.redis.List(r.URL.String())
		}
	}
	g.directory = directory.New(o)
	return nil
}

// registryStack is the stack of the registry's list, nil if there is no registry.
func (g *generation) registryStack() *stacked {
	r := g.cfg.Registry
	if r.URL == nil {
		return nil
	}
	s, _ := g.stackOf(upstreamOptions{
		name: "registry", base: r.URL.String(), timeouts: config.Timeouts{Connect: 3 * time.Second, Header: 15 * time.Second,
			Idle: 15 * time.Second},
		guard: egress.GuardOf(r.URL, r.AllowPrivateNetworks), allowHTTP: r.AllowHTTP,
		withoutToken: len(r.Scopes) == 0, protection: own,
	})
	return s
}

// fetchRegistry makes the call that gets the registry's list or a page of it, with a token
// for the registry alone; source is nil for none.
func fetchRegistry(stack call.Sender, source *authn.Source) func(context.Context, string) (directory.Answer, error) {
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
		resp, err := stack.Send(ctx, c, req)
		if err != nil {
			return directory.Answer{}, err
		}
		defer resp.Body.Close()
		body, err := wire.Uncoded(resp.Header, resp.Body, directory.MaxBody)
		if errors.Is(err, wire.ErrTooLong) {
			err = errors.New("the registry's list is larger than 4 MB")
		}
		return directory.Answer{Status: resp.StatusCode, Body: body}, err
	}
}
