// Package directory keeps the list of Document Providers of the e-Box federation: which
// there are, where their Message Registries are and whether they can be called.
//
// The list comes from the Provider Registry (API description 1.3, a JSON array,
// or its successor with {"items": […]}, page by page) and is fetched anew every few
// minutes. The successor's names of members are not public: where the known ones are
// missing, what can be told by its shape is taken, with a warning. It
// is used entry by entry: a broken entry is reported and left out, while an
// answer that is no list, or a list without one usable entry, changes nothing, and
// the last good list stays in force for as long as it takes.
//
// The registry is not trusted with our tokens. A provider's URL must be https and
// its host must be one that the operator allowed; a provider elsewhere is shown
// and never called. The addresses that the host resolves to are the dialer's
// business (package egress).
//
// Activation, deactivation and planned maintenance are computed when a provider
// is looked up, so no timer can be late. Dates are days in Brussels.
package directory

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
)

// MaxBody is the most bytes of a registry's list that are read: 4 MB. Today's
// list holds a handful of providers.
const MaxBody = 4 << 20

// Answer is what the registry answered. A Fetch that reads the body from a socket
// need not read more than MaxBody+1 bytes of it: a longer one is refused.
type Answer struct {
	Status int
	Body   []byte
}

// Shared keeps the last good list where other replicas, and this one after a
// restart, can find it. What comes back is checked like the registry's own answer.
type Shared interface {
	// Load returns the list and when it was fetched, or an error if there is none.
	Load(ctx context.Context) ([]byte, time.Time, error)
	// Store replaces the list.
	Store(ctx context.Context, list []byte)
}

// Options is what a Directory needs.
type Options struct {
	// Registry is what the configuration says: where the list is, how often it is fetched, what its
	// members are called, which hosts are allowed, and providers of its own. The URLs of
	// these are the operator's own word and are not held against AllowedHosts; a
	// registry's provider of the same id is hidden by them.
	Registry config.Registry
	// Fetch gets the registry's list, or a page of it. Nil means that there is no
	// registry and the configuration's own providers are all there are.
	Fetch func(ctx context.Context, url string) (Answer, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives failures and changes; nil for none.
	Log *slog.Logger
	// Shared is a copy of the last good list elsewhere; nil means none.
	Shared Shared
}

// Directory is the list of Document Providers. It is safe for concurrent use.
type Directory struct {
	o   Options
	own []*Provider // the configuration's
	// inForce is what Lookup and List read, without a lock.
	inForce atomic.Pointer[snapshot]
	// lastTry is when the registry was last asked, and why in vain.
	lastTry atomic.Pointer[try]
	// changing is held while a list is fetched and put in force, so that the last one
	// that was asked for stays.
	changing sync.Mutex
}

// snapshot is one list, whole and immutable.
type snapshot struct {
	body     []byte // as it came; nil if all providers are the configuration's
	source   string
	fetched  time.Time
	problems []string
	list     []*Provider
	byID     map[string]*Provider
}

type try struct {
	at    time.Time
	error string // empty if there is a list of that time
}

// New makes a Directory that has the configuration's providers and, once Run or Refresh
// has fetched the list, the registry's.
func New(o Options) *Directory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{o: o}
	for _, p := range o.Registry.Providers {
		d.own = append(d.own, &Provider{
			ID: p.ID, Name: map[string]string{"": p.Name}, Base: p.URL, APIVersion: p.APIVersion,
		})
	}
	d.lastTry.Store(new(try))
	first := &snapshot{list: d.own, byID: byID(d.own)}
	if len(d.own) > 0 {
		first.source = fromConfiguration
	}
	d.inForce.Store(first)
	return d
}

func byID(list []*Provider) map[string]*Provider {
	ids := make(map[string]*Provider, len(list))
	for _, p := range list {
		ids[p.ID] = p
	}
	return ids
}

// Lookup finds a provider by its id, in whatever state it is.
func (d *Directory) Lookup(id string) (*Provider, bool) {
	p, ok := d.inForce.Load().byID[id]
	return p, ok
}

// List returns all providers, those of the configuration first, then those of the
// registry in its order. The slice is shared and must not be changed.
func (d *Directory) List() []*Provider { return d.inForce.Load().list }

// NoListYet reports whether the registry has given no list since the start.
func (d *Directory) NoListYet() bool {
	return d.o.Fetch != nil && d.inForce.Load().fetched.IsZero()
}

// ActiveIDs returns the ids of the providers that can be called now, in the order
// of List.
func (d *Directory) ActiveIDs() []string {
	now := d.o.Now()
	var ids []string
	for _, p := range d.List() {
		if p.State(now) == Active {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Where the list in force comes from.
const (
	fromConfiguration = "configuration"
	fromRegistry      = "registry"
	fromShared        = "shared"
)

// Status is how the Directory is doing, for the platform team: its texts name
// hosts.
type Status struct {
	// LastTry is when the registry was last asked, LastSuccess when the list in
	// force was fetched from it; zero means never. Age is the time since
	// LastSuccess.
	LastTry, LastSuccess time.Time
	Age                  time.Duration
	// LastError is why the last try failed; empty if it did not.
	LastError string
	// Source is where the list in force comes from: configuration, registry, shared (the copy elsewhere), or
	// empty before there is one.
	Source string
	// Providers counts the providers known, States the same by state.
	Providers int
	States    map[State]int
	// Problems are what could not be used of the list, and why.
	Problems []string
}

// Status returns how the Directory is doing.
func (d *Directory) Status() Status {
	now, tried, in := d.o.Now(), d.lastTry.Load(), d.inForce.Load()
	s := Status{
		LastTry: tried.at, LastError: tried.error, LastSuccess: in.fetched, Source: in.source,
		Providers: len(in.list), States: make(map[State]int), Problems: slices.Clone(in.problems),
	}
	if !s.LastSuccess.IsZero() {
		s.Age = now.Sub(s.LastSuccess)
	}
	for _, p := range in.list {
		s.States[p.State(now)]++
		if p.Refusal != "" {
			s.Problems = append(s.Problems, "provider "+p.ID+": "+p.Refusal)
		}
	}
	return s
}
