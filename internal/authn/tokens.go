package authn

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Options are what the tokens need from outside.
type Options struct {
	// Clients are the OAuth clients; their names differ.
	Clients []Client
	// Transport carries token requests: the upstream stack of the token endpoint.
	// http.DefaultTransport if nil.
	Transport http.RoundTripper
	// Shared is a copy of the tokens that replicas share; nil for none.
	Shared Shared
	// Now tells the time; time.Now if nil.
	Now func() time.Time
	// Rand gives jti and jitter; crypto/rand.Reader if nil.
	Rand io.Reader
	// Log receives what the platform team should know; discarded if nil.
	Log *slog.Logger
	// Poll is how often key, certificate and password files are read; 10 s if 0.
	Poll time.Duration
	// Timeout is the longest that one token request may take; 10 s if 0.
	Timeout time.Duration
	// Environment is named in refusals, so that people look in the right Chaman.
	Environment string
	// AllowHTTP lets assertions travel to a token endpoint over plain http. The
	// loopback interface needs no permission. For laboratories only.
	AllowHTTP bool
}

// Client is one OAuth client of the configuration.
type Client struct {
	// Name is its name in the configuration, ID the client id of Chaman.
	Name, ID string
	// TokenURL is the token endpoint; Audience the aud of assertions, TokenURL if "".
	TokenURL, Audience string
	// AssertionLifetime is from iat to exp of an assertion; 60 s if 0, at most 10 min.
	AssertionLifetime time.Duration
	Key               KeySource
}

type Shared interface {
	Obtain(ctx context.Context, key TokenKey, refused string, fetch func(context.Context) (Token, error)) (Token, error)
}

type Tokens struct{}

func New(o Options) (*Tokens, error)                                     { panic("coming") }
func (t *Tokens) Run(ctx context.Context)                                { panic("coming") }
func (t *Tokens) Source(client string, scopes []string) (*Source, error) { panic("coming") }
func (t *Tokens) Status() []ClientStatus                                 { panic("coming") }
func (t *Tokens) Try(ctx context.Context, client string, scopes []string, src *KeySource) (Token, error) {
	panic("coming")
}

type Source struct{}

func (s *Source) Token(ctx context.Context) (Token, error) { panic("coming") }
func (s *Source) Refused(tok Token, upstream string) bool  { panic("coming") }
func (s *Source) Client() string                           { panic("coming") }
func (s *Source) Scopes() []string                         { panic("coming") }
