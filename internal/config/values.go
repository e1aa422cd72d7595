package config

// Size is a number of bytes. Written with a unit: kB, MB, GB are powers of
// 1,000; KiB, MiB, GiB powers of 1,024.
type Size int64

// Unlimited is the Size without a bound. It is zero, so that "no limit" needs no
// second field.
const Unlimited Size = 0

// Environment is one of the official environments, or custom.
type Environment string

// The environments.
const (
	Production  Environment = "production"
	Acceptance  Environment = "acceptance"
	Simulation  Environment = "simulation"
	Integration Environment = "integration"
	Test        Environment = "test"
	Custom      Environment = "custom"
)

// Mode says which enterprises are served.
type Mode string

// The modes of tenancy.
const (
	Listed Mode = "listed"
	Any    Mode = "any"
)

// Class is the class of service of a caller.
type Class string

// The classes.
const (
	Interactive Class = "interactive"
	Batch       Class = "batch"
)

// Kind is the API behind a route.
type Kind string

// The kinds of route.
const (
	KindEBox     Kind = "ebox"
	KindRegistry Kind = "registry"
	KindMandates Kind = "mandates"
	KindPlain    Kind = "plain"
)

// Demand says whether a route wants a represented enterprise.
type Demand string

// The demands.
const (
	Required Demand = "required"
	Optional Demand = "optional"
	None     Demand = "none"
)

// Whom says for whom a call is made.
type Whom string

// ForAnother is a call for a represented enterprise, ForOwn one of the client itself.
const (
	ForAnother Whom = "another"
	ForOwn     Whom = "own"
)

// Keying says who gives publications their Idempotency-Key.
type Keying string

// KeyAdded has the gateway give one to a publication that has none, KeyPassed leaves that
// to the callers.
const (
	KeyAdded  Keying = "add"
	KeyPassed Keying = "pass"
)

// Sharing says whether enterprises share cached answers.
type Sharing string

// The ways of sharing.
const (
	SharedNever  Sharing = "false"
	SharedPublic Sharing = "true"
	SharedAlways Sharing = "always"
)

// Algorithm signs assertions, by its name in RFC 7518. Empty means by key type.
type Algorithm string

// The algorithms.
const (
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	ES256 Algorithm = "ES256"
)

// AssertionHeader is a header parameter of RFC 7515 derived from a certificate.
type AssertionHeader string

// The header parameters.
const (
	HeaderKeyID      AssertionHeader = "kid"
	HeaderThumbprint AssertionHeader = "x5t#S256"
	HeaderChain      AssertionHeader = "x5c"
)

// ClientAuth is what a TLS listener asks of the other side.
type ClientAuth string

// The ways of asking.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request"
	ClientAuthRequire ClientAuth = "require"
)

// LogFormat is the form of log lines.
type LogFormat string

// The formats.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

// LogLevel is the least important level that is logged.
type LogLevel string

// The levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// words are what each of these types may be in the file.
func (Environment) words() []string {
	return []string{"production", "acceptance", "simulation", "integration", "test", "custom"}
}
func (Mode) words() []string            { return []string{"listed", "any"} }
func (Class) words() []string           { return []string{"interactive", "batch"} }
func (Kind) words() []string            { return []string{"ebox", "registry", "mandates", "plain"} }
func (Demand) words() []string          { return []string{"required", "optional", "none"} }
func (Whom) words() []string            { return []string{"another", "own"} }
func (Keying) words() []string          { return []string{"add", "pass"} }
func (Sharing) words() []string         { return []string{"false", "true", "always"} }
func (Algorithm) words() []string       { return []string{"RS256", "PS256", "ES256"} }
func (AssertionHeader) words() []string { return []string{"kid", "x5t#S256", "x5c"} }
func (ClientAuth) words() []string      { return []string{"none", "request", "require"} }
func (LogFormat) words() []string       { return []string{"json", "text"} }
func (LogLevel) words() []string        { return []string{"debug", "info", "warn", "error"} }
