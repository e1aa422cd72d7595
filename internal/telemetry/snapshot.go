package telemetry

import (
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/redisstore"
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

	// Now is the gateway's time, from which ages are counted.
	Now time.Time
	// Upstreams are sorted by name. Two of one name, while requests of a configuration that
	// was replaced are under way, are one series: counts are added up, and the worse circuit
	// is shown.
	Upstreams []operate.Upstream
	Clients   []authn.ClientStatus
	// Directory is the list of Document Providers; HasRegistry says that a registry is asked
	// for it.
	Directory   directory.Status
	HasRegistry bool
	Cache       cache.Stats
	Redis       *redisstore.Status
	Evidence    *audit.Status
	Traces      *TraceStats
}
