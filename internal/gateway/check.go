package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
)

// Check is one thing that was looked at.
type Check struct {
	// Part is what, as "token payroll".
	Part string
	// OK is false if it does not work; Warning is true if it works and should be
	// looked at.
	OK, Warning bool
	// Detail says how it is, or exactly why it does not work and what to do.
	Detail string
}

// CheckKeys loads the key of every client and the encryption keys, offline.
func CheckKeys(cfg *config.Config, now time.Time) []Check {
	var checks []Check
	for _, name := range sortedClients(cfg) {
		part := "key of client " + name
		key, err := authn.LoadKey(KeySource(cfg.OAuth.Clients[name]))
		if err != nil {
			checks = append(checks, Check{Part: part, Detail: err.Error()})
			continue
		}
		c := Check{Part: part, OK: true, Detail: key.Algorithm() + ", no certificate beside it"}
		if end := key.NotAfter(); !end.IsZero() {
			days := int(end.Sub(now).Hours() / 24)
			c.Detail = fmt.Sprintf("%s, %s, valid until %s (%d days)", key.Algorithm(), key.Subject(), end.Format(time.DateOnly), days)
			switch {
			case now.After(end):
				c.OK, c.Detail = false, c.Detail+": it has expired; request a new certificate and register it in Chaman"
			case now.Before(key.NotBefore()):
				c.OK, c.Detail = false, c.Detail+": it is not valid before "+key.NotBefore().Format(time.DateOnly)
			case days < 30:
				c.Warning, c.Detail = true, c.Detail+": request a new certificate now"
			}
		}
		checks = append(checks, c)
	}
	return append(checks, checkEncryption(cfg.Redis)...)
}

func sortedClients(cfg *config.Config) []string {
	names := make([]string, 0, len(cfg.OAuth.Clients))
	for name := range cfg.OAuth.Clients {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkOnline asks the Authorization Server for each token that the configuration
// needs, the registry for its list, and every upstream whether it answers. The
// upstreams are asked without a token and for nothing in particular: any answer
// shows that the way there works, and no e-Box is touched.
func (g *generation) checkOnline(ctx context.Context) []Check {
	checks := CheckKeys(g.cfg, g.now())
	if g.redis.shared != nil {
		checks = append(checks, g.redis.check(ctx))
	}
	checks = append(checks, g.checkTokens(ctx)...)
	if g.cfg.Registry.URL != nil {
		checks = append(checks, g.checkRegistry(ctx))
	}
	for _, p := range g.directory.List() {
		checks = append(checks, g.checkProvider(ctx, p))
	}
	for _, route := range g.cfg.Routes {
		if route.Upstream != nil {
			o := upstreamOptions{allowPrivate: route.AllowPrivateNetworks, allowed: written(route.Upstream)}
			checks = append(checks, g.reach(ctx, "route "+route.Name, route.Upstream, o))
		}
	}
	return checks
}

// checkTokens asks for one token per client and set of scopes.
func (g *generation) checkTokens(ctx context.Context) []Check {
	type need struct {
		client string
		scopes []string
	}
	var needs []need
	add := func(client string, scopes []string) {
		if len(scopes) == 0 {
			return
		}
		if !slices.ContainsFunc(needs, func(n need) bool { return n.client == client && slices.Equal(n.scopes, scopes) }) {
			needs = append(needs, need{client, scopes})
		}
	}
	for _, client := range sortedClients(g.cfg) {
		if client == orDefault(g.cfg.Registry.Client, g.cfg.Tenancy.DefaultClient) && g.cfg.Registry.URL != nil {
			add(client, g.cfg.Registry.Scopes)
		}
		for _, route := range g.cfg.Routes {
			if route.Client != "" && route.Client != client {
				continue
			}
			add(client, route.Scopes)
			for _, rule := range route.Rules {
				add(client, rule.Scopes)
			}
		}
	}
	var checks []Check
	for _, n := range needs {
		c := Check{Part: "token " + n.client + " for " + shortScopes(n.scopes)}
		token, err := g.tokens.Try(ctx, n.client, n.scopes, nil)
		var refused *authn.RefusedError
		switch {
		case errors.As(err, &refused):
			c.Detail = refused.Code + ": " + refused.Problem().Detail
		case err != nil:
			c.Detail = err.Error()
		default:
			c.OK, c.Detail = true, "obtained, valid until "+token.Expires().Format(time.RFC3339)
		}
		checks = append(checks, c)
	}
	return checks
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// shortScopes keeps the last part of each scope, which is what tells them apart.
func shortScopes(scopes []string) string {
	short := make([]string, len(scopes))
	for i, s := range scopes {
		short[i] = s[strings.LastIndexByte(s, ':')+1:]
	}
	return strings.Join(short, " ")
}

func (g *generation) checkRegistry(ctx context.Context) Check {
	c := Check{Part: "registry"}
	if err := g.directory.Refresh(ctx); err != nil {
		c.Detail = err.Error()
		return c
	}
	s := g.directory.Status()
	c.OK, c.Detail = true, fmt.Sprintf("%d Document Providers", s.Providers)
	if len(s.Problems) > 0 {
		c.Warning = true
		c.Detail += "; entries that cannot be used: " + strings.Join(s.Problems, "; ")
	}
	return c
}

func (g *generation) checkProvider(ctx context.Context, p *directory.Provider) Check {
	part := "provider " + p.ID
	switch state := p.State(g.now()); state {
	case directory.HostNotAllowed:
		return Check{Part: part, Detail: p.Refusal}
	case directory.Active:
		return g.reach(ctx, part, p.Base, upstreamOptions{
			allowPrivate: g.cfg.Registry.AllowPrivateNetworks, allowed: g.writtenProvider(p.ID),
		})
	default:
		return Check{Part: part, OK: true, Detail: string(state) + ", not asked"}
	}
}

// reach asks for the upstream's base URL without a token.
func (g *generation) reach(ctx context.Context, part string, base *url.URL, o upstreamOptions) Check {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	transport := g.egress.Transport(egress.Timeouts{Connect: patience, Header: patience, Idle: patience}, o.guard())
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
	if err != nil {
		return Check{Part: part, Detail: err.Error()}
	}
	began := g.now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%s has not answered within %s", base.Host, patience)
		}
		return Check{Part: part, Detail: egress.Classify(err).Kind + ": " + err.Error()}
	}
	_ = resp.Body.Close() // that it answered is all we wanted to know
	return Check{Part: part, OK: true, Detail: fmt.Sprintf("%s was reached in %s (it answers %d to a call without a token)", base.Host, g.now().Sub(began).Round(10*time.Microsecond), resp.StatusCode)}
}
