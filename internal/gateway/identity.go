package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
)

// newTokens makes the token source of all OAuth clients.
func (g *generation) newTokens(old *generation) error {
	oauth := g.cfg.OAuth
	if old != nil && g.egress == old.egress && g.redis.shared == old.redis.shared && reflect.DeepEqual(oauth,
		old.cfg.OAuth) && g.cfg.Environment == old.cfg.Environment {
		g.tokens = old.tokens
		_, err := g.tokenTransport() // stays ours, though another generation made the tokens
		return err
	}
	transport, err := g.tokenTransport()
	if err != nil {
		return err
	}
	g.tokens = authn.New(authn.Options{
		OAuth: oauth, Transport: transport, Shared: g.redis.tokens(), Now: g.now, Log: g.log,
		Environment: string(g.cfg.Environment),
	})
	return nil
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
		name: "token endpoint", base: g.cfg.OAuth.TokenURL, timeouts: config.Timeouts{Connect: min(t, 3*time.Second),
			Header: t, Idle: t},
		guard: egress.GuardOf(u, g.cfg.OAuth.AllowPrivateNetworks), withoutToken: true, protection: own,
	})
	return internalSender{s.stack, "token endpoint"}, nil
}
