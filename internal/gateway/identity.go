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
	clients := make([]authn.Client, 0, len(oauth.Clients))
	for name, c := range oauth.Clients {
		clients = append(clients, authn.Client{
			Name: name, ID: c.ClientID, TokenURL: oauth.TokenURL, Audience: oauth.Audience,
			AssertionLifetime: c.AssertionLifetime, Key: KeySource(c),
		})
	}
	transport, err := g.tokenTransport()
	if err != nil {
		return err
	}
	g.tokens, err = authn.New(authn.Options{
		Clients: clients, Transport: transport, Shared: g.redis.tokens(), Now: g.now, Log: g.log, Timeout: oauth.Timeout,
		Environment: string(g.cfg.Environment), AllowHTTP: oauth.AllowHTTP,
	})
	return err
}

// KeySource says where the key of a client of the configuration is.
func KeySource(c config.Client) authn.KeySource {
	src := authn.KeySource{Algorithm: string(c.Algorithm)}
	for _, h := range c.Headers {
		src.Headers = append(src.Headers, string(h))
	}
	if k := c.Keystore; k != nil {
		src.Keystore, src.Alias = k.File, k.Alias
		src.Password = password(k.Password, k.PasswordFile)
		src.KeyPassword = password(k.KeyPassword, k.KeyPasswordFile)
	}
	if k := c.Key; k != nil {
		src.KeyFile = k.File
		src.Password = password(k.Password, k.PasswordFile)
	}
	if c.Certificate != nil {
		src.CertificateFile = c.Certificate.File
	}
	return src
}

// password reads the file again each time, since it may change with the key.
func password(secret config.Secret, file string) func() ([]byte, error) {
	switch {
	case file != "":
		return authn.PasswordFile(file)
	case secret != "":
		return func() ([]byte, error) { return []byte(secret.Reveal()), nil }
	default:
		return nil
	}
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
