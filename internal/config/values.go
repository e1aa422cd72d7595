package config

// Size is a number of bytes. Written with a unit: kB, MB, GB are powers of
// 1,000; KiB, MiB, GiB powers of 1,024.
type Size int64

// Unlimited is the Size without a bound. It is zero, so that "no limit" needs no
// second field.
const Unlimited Size = 0

// Types with a vocabulary: words are what each may be in the file.
type (
	// Environment is one of the official environments, or custom.
	Environment string
	// Mode says which enterprises are served.
	Mode string
	// Class is the class of service of a caller.
	Class string
	// Kind is the API behind a route.
	Kind string
	// Demand says whether a route wants a represented enterprise.
	Demand string
	// Whom says for whom a call is made: a represented enterprise or the client itself.
	Whom string
	// Keying says who gives publications their Idempotency-Key: the gateway those that have
	// none, or the callers alone.
	Keying string
	// Sharing says whether enterprises share cached answers.
	Sharing string
	// Algorithm signs assertions, by its name in RFC 7518. Empty means by key type.
	Algorithm string
	// AssertionHeader is a header parameter of RFC 7515 derived from a certificate.
	AssertionHeader string
	// ClientAuth is what a TLS listener asks of the other side.
	ClientAuth string
	// LogFormat is the form of log lines.
	LogFormat string
	// LogLevel is the least important level that is logged.
	LogLevel string
	// RateScope says who spends a rate together: each replica has it for itself, or all have one.
	RateScope string
)

// Their words.
const (
	Production  Environment = "production"
	Acceptance  Environment = "acceptance"
	Simulation  Environment = "simulation"
	Integration Environment = "integration"
	Test        Environment = "test"
	Custom      Environment = "custom"

	Listed Mode = "listed"
	Any    Mode = "any"

	Interactive Class = "interactive"
	Batch       Class = "batch"

	KindEBox     Kind = "ebox"
	KindRegistry Kind = "registry"
	KindMandates Kind = "mandates"
	KindPlain    Kind = "plain"

	Required Demand = "required"
	Optional Demand = "optional"
	None     Demand = "none"

	ForAnother Whom = "another"
	ForOwn     Whom = "own"

	KeyAdded  Keying = "add"
	KeyPassed Keying = "pass"

	SharedNever  Sharing = "false"
	SharedPublic Sharing = "true"
	SharedAlways Sharing = "always"

	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	ES256 Algorithm = "ES256"

	HeaderKeyID      AssertionHeader = "kid"
	HeaderThumbprint AssertionHeader = "x5t#S256"
	HeaderChain      AssertionHeader = "x5c"

	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request"
	ClientAuthRequire ClientAuth = "require"

	LogJSON LogFormat = "json"
	LogText LogFormat = "text"

	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	ReplicaRate RateScope = "replica"
	ClusterRate RateScope = "cluster"
)

// Any reports whether enterprises share some answers. The zero Sharing is SharedNever.
func (s Sharing) Any() bool { return s == SharedPublic || s == SharedAlways }

func (Environment) words() []string {
	return words(Production, Acceptance, Simulation, Integration, Test, Custom)
}
func (Mode) words() []string            { return words(Listed, Any) }
func (Class) words() []string           { return words(Interactive, Batch) }
func (Kind) words() []string            { return words(KindEBox, KindRegistry, KindMandates, KindPlain) }
func (Demand) words() []string          { return words(Required, Optional, None) }
func (Whom) words() []string            { return words(ForAnother, ForOwn) }
func (Keying) words() []string          { return words(KeyAdded, KeyPassed) }
func (Sharing) words() []string         { return words(SharedNever, SharedPublic, SharedAlways) }
func (Algorithm) words() []string       { return words(RS256, PS256, ES256) }
func (AssertionHeader) words() []string { return words(HeaderKeyID, HeaderThumbprint, HeaderChain) }
func (ClientAuth) words() []string {
	return words(ClientAuthNone, ClientAuthRequest, ClientAuthRequire)
}
func (LogFormat) words() []string { return words(LogJSON, LogText) }
func (LogLevel) words() []string  { return words(LogDebug, LogInfo, LogWarn, LogError) }
func (RateScope) words() []string { return words(ReplicaRate, ClusterRate) }

func words[T ~string](list ...T) []string {
	words := make([]string, len(list))
	for i, word := range list {
		words[i] = string(word)
	}
	return words
}
