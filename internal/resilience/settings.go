// Package resilience keeps one failing, slow or busy upstream from harming its
// callers, the other upstreams, or itself.
//
// The unit of protection is the Upstream: a route's base URL, a Document
// Provider, a registry, a token endpoint; never a host, since many share one. It
// has a circuit breaker, a bulkhead, a rate and a retry budget, each of them a
// call.Sender that knows nothing of what is being called. Limits hold the
// rates of enterprises and callers and stand in front of everything.
//
// Every refusal is a problem (RFC 9457) with a true Retry-After (RFC 9110, section
// 10.2.3) and an error type for Proxy-Status (RFC 9209). A refusal is final: it is
// never retried here, and it costs the upstream nothing.
//
// Calls of class batch are paced rather than refused and leave three tenths of an
// upstream's rate and bulkhead to the others.
package resilience

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// Settings are how one upstream is protected: a route's part of the configuration, complete
// and checked. They do not change during the life of an Upstream.
type Settings struct {
	// Tries is how often a call is tried in all; 1 or less means no retry.
	Tries   int
	Breaker config.Breaker
	// Concurrency bounds the calls in flight, from sending to the end of the answer's body;
	// a Max of 0 means no limit. A batch call waits for as long as its pace allows, if that
	// is longer than Wait.
	Concurrency config.Concurrency
	// Rate is how many tries the upstream gets; a PerSecond of 0 means no limit.
	Rate config.Rate
}

// Options are what an Upstream is made of. Those that are not said to be optional must be set.
type Options struct {
	// Name names the upstream in the log.
	Name     string
	Settings Settings
	// Now is the clock. The breaker library reads time.Now itself, so a test that moves
	// the clock does it with testing/synctest.
	Now func() time.Time
	// Shared is where a rate of all replicas is spent, under SharedName; optional if there is none.
	Shared     Shared
	SharedName string
	// Rand gives numbers in [0, 1) for the jitter of retries; optional.
	Rand func() float64
	// Log receives circuits that open and close.
	Log *slog.Logger
	// Classify says what an error of the transport means.
	Classify func(error) call.Failure
	// Neutral picks the answers that say nothing about the upstream although their
	// status is 502, 503 or 504, as that of a health check that says DOWN: the
	// breaker does not count them and they are not retried. It may read the call
	// and the answer's header.
	Neutral func(*call.Call, *http.Response) bool
}

// The causes of the refusals of this package, for errors.Is: what the caller gets
// is the problem around them.
var (
	// ErrCircuitOpen is a call that was not made because the upstream has been failing.
	ErrCircuitOpen = errors.New("calling the upstream: its circuit is open")
	// ErrBulkheadFull is a call that found no place, or none in time.
	ErrBulkheadFull = errors.New("calling the upstream: it has as many calls in flight as the " +
		"configuration's concurrency allows")
	// ErrUpstreamRate is a call beyond the upstream's rate.
	ErrUpstreamRate = errors.New("calling the upstream: its rate in the configuration is used up")
	// ErrRate is a call beyond the rate of an enterprise or a caller.
	ErrRate = errors.New("admitting the call: the rate in the configuration is used up")
	// ErrConcurrency is a call of a caller that has as many under way as it may.
	ErrConcurrency = errors.New("admitting the call: the caller has as many calls under way as callers.concurrency allows")
)
