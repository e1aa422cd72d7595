package config

import (
	"net/url"
	"time"

	"ebox-gateway/internal/ebox"
)

// Route leads a path of the internal endpoint to an upstream. A route with the
// name of one of the environment's changes only what it says.
type Route struct {
	// Name identifies the route in callers, logs and metrics.
	Name string `yaml:"name" jsonschema:"required" config:"name"`
	// Path is the prefix on the internal endpoint; one segment may be
	// {providerId}.
	Path string `yaml:"path"`
	// Upstream is the base URL to which the rest of the path is appended, or
	// {registry: true} for the base URL of the path's {providerId}.
	Upstream *url.URL `yaml:"upstream"`
	// Registry says that the upstream is the path's provider; Upstream is nil.
	Registry bool `yaml:"-"`
	// Kind is the API behind it: ebox, registry, mandates (grant/citizen) or
	// plain. It decides what a call means. Default: that of the name, if an
	// environment has a route of it; else by the path (/ebox, /grant/citizen), plain.
	Kind Kind `yaml:"kind"`
	// Client is the OAuth client, whatever the enterprise. Default: the
	// enterprise's.
	Client string `yaml:"client"`
	// Scopes are what the token for this route carries, and nothing more. An
	// empty list sends no token at all; it has to be written, so that a
	// forgotten key cannot send a token that opens everything.
	// Danger: A scope too many is one that the receiver of the token could use elsewhere.
	Scopes []string `yaml:"scopes" config:"scope"`
	// Rules give other scopes to some calls. The first that matches counts.
	Rules []ScopeRule `yaml:"rules"`
	// Reads are calls by other methods than GET that change nothing: they need "list"
	// rather than "change", may be repeated, and are recorded as reads. The Belgif guide's
	// own need no mention: POST to /search, /query or /get of a collection whose path holds
	// no id.
	Reads []ebox.ReadRule `yaml:"reads"`
	// Enterprise says whether a represented enterprise is required, optional or
	// none (never sent on). Default optional; required for kind ebox.
	Enterprise Demand `yaml:"enterprise"`
	// EnterpriseIn says where below the upstream's base URL a path holds an enterprise's
	// number, as /ebox/{enterpriseNumber}, the default of the Partition API's route. It
	// must be one that the caller may represent and agree with path prefix and header, and
	// stands for them if they are missing. Default nowhere.
	EnterpriseIn string `yaml:"enterpriseIn"`
	// Methods are those allowed; HEAD goes with GET, OPTIONS is answered by the
	// gateway. A route of kind plain may name any other, as PROPFIND: it counts as a
	// write. Default GET, POST, PUT, PATCH, DELETE.
	Methods []string `yaml:"methods" config:",some"`
	// Timeouts bound the stages of a call.
	Timeouts Timeouts `yaml:"timeouts"`
	// Retry repeats safe calls that failed before the first byte.
	Retry Retry `yaml:"retry"`
	// Breaker stops calls to an upstream that fails.
	Breaker Breaker `yaml:"breaker"`
	// Concurrency bounds the calls in flight.
	Concurrency Concurrency `yaml:"concurrency"`
	// Rate bounds the calls to the upstream. Default none.
	Rate *Rate `yaml:"rate"`
	// Cache keeps answers, by RFC 9111.
	Cache Cache `yaml:"cache"`
	// MaxBody bounds the request body: bytes, a size as 1MB, or unlimited.
	// Default unlimited; 1MB for kind mandates, whose bodies are read whole.
	MaxBody Size `yaml:"maxBody"`
	// RewriteLinks makes links of the upstream lead through the gateway. JSON is then asked
	// for uncoded and whole; false passes it as it is, ranges and codings included.
	RewriteLinks bool `yaml:"rewriteLinks" default:"true"`
	// IdempotencyKey says what becomes of a publication or reply without that header. add
	// gives it a new UUID, which a 502 or 504 then names, so that the same can be sent
	// again without taking effect twice. pass sends it without. A caller's own key always
	// passes. Only kind ebox has publications.
	IdempotencyKey Keying `yaml:"idempotencyKey" default:"add"`
	// CallerCredentials lets the caller's own Authorization and Cookie go to the
	// upstream, and its Set-Cookie come back; otherwise none of them passes. Only for
	// kind plain, without scopes and with enterprise none: an upstream of your own that
	// knows its callers itself. What it answers to such a request is kept only if it
	// says public, s-maxage or must-revalidate, and then all callers get it. Default
	// false.
	// Danger: What a caller sends as its own credentials reaches the upstream.
	CallerCredentials bool `yaml:"callerCredentials"`
	// AllowHTTP lets tokens and documents travel without TLS to an upstream
	// beyond loopback. For a lab and nothing else. Default false.
	// Danger: Whoever listens on the way gets tokens and documents.
	AllowHTTP bool `yaml:"allowHttp"`
	// AllowPrivateNetworks lets the upstream resolve to a private address.
	// Default false.
	// Danger: A name that resolves inside the company is connected to.
	AllowPrivateNetworks bool `yaml:"allowPrivateNetworks"`
}

// ScopeRule gives the calls that match it scopes of their own. A criterion that
// is left out matches every call.
type ScopeRule struct {
	// Methods that match.
	Methods []string `yaml:"methods" config:",some"`
	// Paths that match, below the upstream's base URL. "*" stands for one
	// segment, "/**" at the end for everything below and the path itself.
	Paths []string `yaml:"paths" config:"pattern,some"`
	// APIVersions of the provider that match: "2" is every 2.x, "2.1" that one.
	APIVersions []string `yaml:"apiVersions" config:"version,some"`
	// For matches calls for another, a represented enterprise, or for the client's own.
	// Default both.
	For Whom `yaml:"for"`
	// Scopes of the token for these calls.
	Scopes []string `yaml:"scopes" config:"scope" jsonschema:"required"`
}

// Timeouts bound the stages of a call to an upstream, which is asked in HTTP/1.1 alone. More than 8 interim answers
// (1xx) end a call.
type Timeouts struct {
	// Connect is the time to connect, TLS included.
	Connect time.Duration `yaml:"connect" above:"0s" default:"3s"`
	// Header is the time from the request sent to the answer's header.
	Header time.Duration `yaml:"header" above:"0s" default:"30s"`
	// Idle is the longest pause within a body; one that makes progress is never cut.
	Idle time.Duration `yaml:"idle" above:"0s" default:"60s"`
}

// Retry repeats safe calls that failed before the first byte of the answer.
type Retry struct {
	// Tries is how often a call is tried in all; 1 means no retry.
	Tries int `yaml:"tries" least:"1" most:"10" default:"3"`
}

// Breaker stops calls to an upstream that fails, for a while.
type Breaker struct {
	// Enabled turns it on.
	Enabled bool `yaml:"enabled" default:"true"`
	// FailureRatio opens the circuit, between 0 and 1.
	FailureRatio float64 `yaml:"failureRatio" above:"0" most:"1" default:"0.5"`
	// MinRequests are needed in a window before the ratio counts.
	MinRequests int `yaml:"minRequests" least:"1" default:"20"`
	// Window is the time over which failures are counted.
	Window time.Duration `yaml:"window" above:"0s" default:"30s"`
	// Open is how long the circuit stays open before a probe.
	Open time.Duration `yaml:"open" above:"0s" default:"15s"`
}

// Concurrency is a bulkhead: how many calls an upstream gets at once.
type Concurrency struct {
	// Max is how many calls are in flight at once.
	Max int `yaml:"max" least:"1" default:"200"`
	// Share is the part of Max and of Queue, above 0 and up to 1, that one caller or one
	// enterprise has before others come first. While others wait it gets no more, and the last
	// eighth of the places is never its. 1 shares nothing.
	Share float64 `yaml:"share" above:"0" most:"1" default:"0.5"`
	// Queue is how many may wait, each for at most Wait; the next one is refused.
	// A burst of a thousand callers at a cold start should find place.
	Queue int `yaml:"queue" default:"1000"`
	// Wait is how long one waits at most.
	Wait time.Duration `yaml:"wait" default:"1s"`
}

// Cache keeps answers by RFC 9111, each enterprise's for itself.
type Cache struct {
	CachePolicy
	// Heuristics gives answers that say no lifetime a tenth of the time since they
	// were last modified, at most a day (RFC 9111, section 4.2.2). Default false.
	Heuristics bool `yaml:"heuristics"`
	// MaxBody is the largest body kept; larger ones pass through.
	MaxBody Size `yaml:"maxBody" default:"1MB"`
	// Rules change the above for some paths. The first that matches counts.
	Rules []CacheRule `yaml:"rules"`
}

// CacheRule changes how the answers of some paths are kept. What it leaves out
// is as in the route's cache. It cannot turn on what is off for the route.
type CacheRule struct {
	// Paths that match, below the upstream's base URL, as in a scope rule.
	Paths []string `yaml:"paths" config:"pattern,some" jsonschema:"required"`
	CachePolicy
}

// CachePolicy is how answers are kept.
type CachePolicy struct {
	// Enabled turns it on. Default true for kinds ebox and registry, false for
	// plain; mandates are never kept.
	Enabled bool `yaml:"enabled"`
	// DefaultTTL is the lifetime of successful answers that say none. Default 0s:
	// they are kept only to be asked about, if they can be (ETag, Last-Modified).
	DefaultTTL time.Duration `yaml:"defaultTtl"`
	// Shared lets enterprises share answers: false, true (what the upstream marks public) or
	// always, which is only for what is the same for everybody.
	// Danger: `always` gives one enterprise's answer to another.
	Shared Sharing `yaml:"shared" default:"false"`
	// StaleWhileRevalidate is how long an answer past its lifetime is still
	// given while a new one is fetched. Default 0s.
	StaleWhileRevalidate time.Duration `yaml:"staleWhileRevalidate"`
	// StaleIfError is how long it is still given when the upstream fails. Default 0s.
	// Danger: A state that is no longer true may be shown.
	StaleIfError time.Duration `yaml:"staleIfError"`
	// WhenSilent has staleWhileRevalidate and staleIfError count only for answers
	// that say no lifetime themselves. What an answer says of them always comes
	// first, and must-revalidate, no-cache and s-maxage forbid both. Default false.
	WhenSilent bool `yaml:"whenSilent"`
}

// Memory is what the gateway keeps answers in.
type Memory struct {
	// Memory bounds the answers kept in this process: bytes, or a size as 64MB. One answer
	// takes its body, its header and about a quarter of a kilobyte.
	Memory Size `yaml:"memory" least:"1MB" default:"64MB"`
}
