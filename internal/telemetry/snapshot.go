package telemetry

import (
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/wire"
)

// Snapshot is how the gateway stands at one moment: what metrics are read from when
// they are asked for, and cost nothing until then. What is nil or zero time gives no
// series. The counts only grow, except that what is made anew begins at 0 again.
type Snapshot struct {
	Ready bool
	// Health is UP, DEGRADED or DOWN.
	Health string
	// InFlight are the requests that are being served.
	InFlight int64

	// ConfigHash and Environment are those of the configuration in force, which was
	// taken at ConfigSince; ConfigRejected says that a newer one was not taken.
	ConfigHash, Environment string
	ConfigSince             time.Time
	ConfigRejected          bool

	// Listed and Suspended count enterprises.
	Listed, Suspended int
	// RefusedEnterprises counts the enterprises that are refused, by the provider that
	// refuses them: "none" for other upstreams. RefusedInARow counts those since any was
	// served.
	RefusedEnterprises, RefusedInARow map[string]int
	// ListenerExpiry is when the certificates of listeners expire, by the listener's name.
	ListenerExpiry map[string]time.Time
	// RateRefusals counts by whose rate it was: enterprise, caller, upstream; and concurrency, the
	// calls that a caller had under way.
	RateRefusals map[string]uint64

	// Held is what is held in memory for callers.
	Held memory.State

	// Upstreams have names of their own.
	Upstreams []UpstreamSnapshot
	Clients   []ClientSnapshot
	Registry  RegistrySnapshot
	Cache     cache.Stats
	Redis     *redisstore.Status
	Evidence  *audit.Status
	Traces    *TraceStats
}

// UpstreamSnapshot is one upstream's protection.
type UpstreamSnapshot struct {
	Name string
	// Circuit is closed, open or half-open.
	Circuit string
	Opened  uint64
	// OpenFor is for how many enterprises alone the circuit is not closed.
	OpenFor          int
	InFlight, Queued int
	// OldestWait is how long the oldest call has been waiting for the header, Unanswered for
	// how long no call has been answered.
	OldestWait, Unanswered                              time.Duration
	Retries, RetriesDenied                              uint64
	RefusedOpen, RefusedFull, RefusedShare, RefusedRate uint64
	Connections                                         wire.Counts
}

// ClientSnapshot is one OAuth client.
type ClientSnapshot struct {
	Name string
	// CertificateExpiry is that of the key that signs, PendingExpiry that of a newer
	// one; zero without a certificate.
	CertificateExpiry, PendingExpiry time.Time
	// ClockKnown says that the Authorization Server has told its time, which is ClockAhead
	// of ours.
	ClockKnown bool
	ClockAhead time.Duration
	// Pending says that a newer key has not earned a token yet, KeyFailing that the
	// files of the key cannot be loaded.
	Pending, KeyFailing bool
	Tokens              []TokenSnapshot
}

// TokenSnapshot is the token of a client for one set of scopes.
type TokenSnapshot struct {
	// Scopes are joined by blanks. No two tokens of a client have the same.
	Scopes string
	// Expires is zero if there is no token.
	Expires                               time.Time
	Granted, Refused, Unavailable, Forced uint64
	// Refusing and Away say why the last request failed, if it did.
	Refusing, Away bool
}

// RegistrySnapshot is the list of Document Providers.
type RegistrySnapshot struct {
	// Configured says that there is a registry to ask.
	Configured bool
	// Fetched is when the list in force came from it.
	Fetched time.Time
	Failing bool
	// States counts the providers.
	States map[string]int
}
