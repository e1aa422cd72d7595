// Package config holds what config.yaml may say, and no running part.
//
// A file goes one way through it: read as YAML nodes, which have positions;
// decoded strictly onto the defaults and the presets of the environment (an
// unknown key is a mistake, with a guess at what was meant); checked as a whole;
// handed out as a Config in which nothing is left to resolve: durations are
// durations, paths are absolute, enterprise numbers have their check digits
// verified, dates are instants.
//
// It has three parts, one package because the forms and checks of a section are
// methods of its type:
//
//   - the sections, a file each with type, meaning and check: server.go, oauth.go,
//     tenancy.go, callers.go, registry.go and so on. Routes have three: route.go what
//     they may say, routes.go how they begin, check_routes.go what does not fit.
//     preset.go has what environments fill in, check.go what the checks share,
//     values.go the vocabularies;
//   - the reading: load.go is the way as a whole, source.go the text, its YAML and
//     what of it may be shown, decode.go and scalar.go bring nodes into types,
//     parse.go has the forms of texts, errors.go the mistakes;
//   - the lists of enterprises, which are files of their own: enterprises.go and
//     enterprises_csv.go.
//
// Every mistake is collected and reported at once, with file, line, column, the
// offending line and what is allowed, in the manner of a compiler. A number
// unquoted in YAML is read as it is written, never as an integer or an octal.
//
// Passwords and keys stay out: a Secret never prints, excerpts in errors hide
// it, and key stores, keys and password files are named here and read elsewhere.
// Their content counts in the Hash, so that a change of them is a change.
//
// Formats: YAML 1.2, RFC 4180 for enterprise files, RFC 3986 for URLs.
package config

// Config is a configuration in which every default is filled in and every value
// checked. It is not changed after Load.
type Config struct {
	// Environment fills in what officially exists in one environment, URLs and
	// routes, and never mixes two: a URL of another environment is a mistake.
	// "custom" fills in nothing. There is no default.
	Environment Environment `yaml:"environment" jsonschema:"required"`
	// Server is the internal endpoint.
	Server Server `yaml:"server"`
	// Admin is the listener for health and status.
	Admin Admin `yaml:"admin"`
	// OAuth says who the gateway is to the Authorization Server.
	OAuth OAuth `yaml:"oauth"`
	// Tenancy says which enterprises may be represented.
	Tenancy Tenancy `yaml:"tenancy"`
	// Callers narrow who may do what. Without them, everybody who reaches a
	// loopback listener may do everything.
	Callers []Caller `yaml:"callers"`
	// Readiness is when a gateway that starts says that it is ready.
	Readiness Readiness `yaml:"readiness"`
	// Registry is where the list of Document Providers comes from.
	Registry Registry `yaml:"registry"`
	// Inbox is the e-Box over all Document Providers.
	Inbox Inbox `yaml:"inbox"`
	// Egress is how the gateway leaves the company network.
	Egress Egress `yaml:"egress"`
	// Redis is an optional store that replicas share.
	Redis Redis `yaml:"redis"`
	// Cache bounds what the caches of all routes take.
	Cache Memory `yaml:"cache"`
	// Routes are the environment's, overridden by name, and your own.
	Routes Routes `yaml:"routes"`
	// Log says how the gateway writes its logs.
	Log Log `yaml:"log"`
	// Audit is the evidence of who read or changed what.
	Audit Audit `yaml:"audit"`
	// Tracing sends OpenTelemetry traces to a collector.
	Tracing Tracing `yaml:"tracing"`

	// Absent are the APIs that the environment does not have, so that a call to
	// one can be told so.
	Absent []AbsentAPI `yaml:"-"`

	files    []string
	hash     string
	warnings Errors
}

// AbsentAPI is an API that the environment officially lacks. A request for Path
// or anything below it, unless a route serves it, is answered with 404 and the
// Reason.
type AbsentAPI struct {
	// Path is the prefix on the internal endpoint, as in /grant/citizen.
	Path string
	// Reason is a sentence for the caller.
	Reason string
}

// Files gives the absolute paths of every file that the configuration refers
// to, the configuration itself (if it was loaded from a file) first: what has
// to be watched. Files that are not there are among them.
func (c *Config) Files() []string { return c.files }

// Warnings are values that are allowed and look like a slip.
func (c *Config) Warnings() Errors { return c.warnings }

// Hash is the SHA-256, in hex, over the configuration file and all files that it
// refers to, key material included. Two configurations with the same hash are
// the same.
func (c *Config) Hash() string { return c.hash }
