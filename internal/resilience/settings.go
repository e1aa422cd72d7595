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
)

// Settings are how one upstream is protected. They do not change during the life
// of an Upstream: a reload keeps the Upstream whose settings are Equal, and with it
// its circuit, its queue and its rate, and makes a new one otherwise.
type Settings struct {
	// Tries is how often a call is tried in all; 1 or less means no retry.
	Tries int
	// Breaker is the circuit breaker.
	Breaker BreakerSettings
	// Max is how many calls are in flight at once, from sending to the end of the
	// answer's body; 0 or less means no limit.
	Max int
	// Share is the part of Max and of Queue, above 0 and up to 1, that one caller or one
	// enterprise has before others come first; 0 or 1 means that nothing is shared.
	Share float64
	// Queue is how many more may wait for a place.
	Queue int
	// Wait is how long one waits in the queue at most. A batch call waits for as
	// long as its pace allows, if that is longer.
	Wait time.Duration
	// Rate is how many tries the upstream gets; nil means no limit.
	Rate *Rate
}

// BreakerSettings are when a circuit opens and for how long.
type BreakerSettings struct {
	Enabled bool
	// FailureRatio is the part of the calls in the window, above 0 and up to 1,
	// that must fail for the circuit to open. Default 0.5.
	FailureRatio float64
	// MinRequests must have ended in the window before the ratio counts; at
	// least 1.
	MinRequests int
	// Window is the time over which calls are counted, in ten steps. Default 30s.
	Window time.Duration
	// Open is how long the circuit stays open before calls probe the upstream.
	// Default 15s.
	Open time.Duration
}

// Rate is a token bucket.
type Rate struct {
	// PerSecond is how many calls a second in the long run; 0 or less means no limit.
	PerSecond float64
	// Burst is how many at once; at least 1.
	Burst int
	// Cluster says that it is one rate for all replicas, where there is a Joint to
	// spend it from.
	Cluster bool
}

// Equal tells whether an Upstream made from s can go on serving under other.
func (s Settings) Equal(other Settings) bool {
	a, b := s.Rate, other.Rate
	s.Rate, other.Rate = nil, nil
	if s != other || (a == nil) != (b == nil) {
		return false
	}
	return a == nil || *a == *b
}

// Options are what an Upstream is made of.
type Options struct {
	// Name names the upstream in the log.
	Name     string
	Settings Settings
	// Now tells the time, time.Now if nil. The breaker library reads time.Now
	// itself, so a test that moves the clock does it with testing/synctest.
	Now func() time.Time
	// Joint gives what a rate of the whole cluster is spent from, made once; without it
	// every rate is this replica's own.
	Joint func(Rate) Joint
	// Rand gives numbers in [0, 1) for the jitter of retries; math/rand if nil.
	Rand func() float64
	// Log is told of circuits that open and close; nil for none.
	Log *slog.Logger
	// Classify says what an error of the transport means. Without it every error
	// is a failure of an upstream that may have seen the request.
	Classify func(error) call.Failure
	// Neutral picks the answers that say nothing about the upstream although their
	// status is 502, 503 or 504, as that of a health check that says DOWN: the
	// breaker does not count them and they are not retried. It may read the call
	// and the answer's header. Without it there are none.
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
