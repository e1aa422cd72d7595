// Package directory knows the Document Providers.
package directory

import (
	"context"
	"log/slog"
	"time"
)

// Answer is what the registry answered.
type Answer struct {
	Status int
	Body   []byte // at most MaxBody bytes are read
}

// MaxBody is the most bytes of a registry's list that are believed: 4 MB. The
// list of today holds a handful of providers.
const MaxBody = 4 << 20

// Shared keeps the last good list where other replicas, and this one after a
// restart, can find it.
type Shared interface {
	// Load returns the list and when it was fetched, or an error if there is none.
	Load(ctx context.Context) ([]byte, time.Time, error)
	// Store replaces the list.
	Store(ctx context.Context, list []byte)
}

// Options is what a Directory needs.
type Options struct {
	// Fetch gets the registry's list once. Nil means that there is no registry
	// and Static is all there is.
	Fetch func(ctx context.Context) (Answer, error)
	// Refresh is the time between two fetches; 0 means 5 minutes.
	Refresh time.Duration
	// Fields are the names of the list's members; the zero value means those of
	// the Provider Registry 1.3.
	Fields Fields
	// AllowedHosts are the hosts that are believed: "example.be",
	// "*.socialsecurity.be" (subdomains at any depth, not the domain itself),
	// each with ":port" for a port other than 443, or ":*" for any.
	AllowedHosts []string
	// AllowHTTP believes http URLs too. For a lab: tokens then travel in clear.
	AllowHTTP bool
	// Static are providers that the configuration names. Their URLs are the
	// operator's own word and are not held against AllowedHosts; a registry's
	// provider of the same id is hidden by them.
	Static []Provider
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log hears of failures and changes; nil means silence.
	Log *slog.Logger
	// OnChange is called after the set of providers changed, with all of them,
	// in the order of List. It is not called from two goroutines at once.
	OnChange func([]Provider)
	// Shared is a copy of the last good list elsewhere; nil means none.
	Shared Shared
}

// Fields names the members of a provider in the registry's list. An empty field
// stands for the name of the Provider Registry 1.3.
type Fields struct {
	ID, Name, Description, URL string
	Activation, Deactivation   string
	Maintenance, Start, End    string
	APIVersion, Contact, Items string
}

// Status is how the Directory is doing, for the platform team.
type Status struct {
	// LastTry is when the registry was last asked, LastSuccess when it last gave
	// a usable list; zero means never. Age is the time since LastSuccess.
	LastTry, LastSuccess time.Time
	Age                  time.Duration
	// LastError is why the last try failed; empty if it did not.
	LastError string
	// Source is where the list in use comes from: "registry", "shared",
	// "configuration" or, before there is one, "".
	Source string
	// Providers counts the providers known, States by state.
	Providers int
	States    map[State]int
	// Problems are the entries of the list that could not be used, and why.
	Problems []string
}

// Directory knows the Document Providers. It is safe for concurrent use.
type Directory struct {
	o Options
}

// New makes a Directory that knows the static providers and, once Run or Refresh
// has fetched the list, the registry's. A pattern in AllowedHosts that means
// nothing allows nothing and is named in Status.
func New(o Options) *Directory { return &Directory{o: o} }

// Run fetches the list at once and then every Refresh, with a jitter of a tenth,
// until ctx is done. After a failure it tries again after a second, then two,
// four and so on up to Refresh; the last good list stays in force meanwhile.
func (d *Directory) Run(ctx context.Context) { <-ctx.Done() }

// Refresh fetches the list once, now. The error says what was wrong with the
// answer; the last good list then stays in force.
func (d *Directory) Refresh(ctx context.Context) error { return nil }

// Lookup finds a provider by its id, in whatever state it is.
func (d *Directory) Lookup(id string) (*Provider, bool) { return nil, false }

// List returns all providers, in the order of the registry after those of the
// configuration. The slice is shared and must not be changed.
func (d *Directory) List() []*Provider { return nil }

// Status returns how the Directory is doing.
func (d *Directory) Status() Status { return Status{} }
