package authn

import (
	"context"
	"net/http"
	"time"
)

type sourceKey struct{}

// Key under which a context carries the *Source of a request.
var SourceKey any = sourceKey{}

// WithSource returns a context whose requests carry tokens of s.
func WithSource(ctx context.Context, s *Source) context.Context {
	return context.WithValue(ctx, SourceKey, s)
}

// NewTokenLayer gets the token; upstream is the name of the upstream behind next.
func NewTokenLayer(next http.RoundTripper, upstream string, now func() time.Time) http.RoundTripper {
	panic("coming")
}

// NewCredentials sets the Authorization header, lowest above the transport.
func NewCredentials(next http.RoundTripper, allowHTTP bool) http.RoundTripper { panic("coming") }
