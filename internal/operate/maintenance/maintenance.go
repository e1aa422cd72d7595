// Package maintenance keeps what people have switched to maintenance, and refuses the calls
// that it concerns.
package maintenance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/problem"
)

// Options are what the switches need of the gateway.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Store is where replicas share the switches; it gives nil without Redis.
	Store func() directory.Shared
	// Known gives the problem of a provider that cannot be switched: there is none of that id.
	Known func(provider string) error
}

// Switches are what people have switched to maintenance: Document Providers, or the
// whole gateway. They outlive every configuration, and end by themselves, so that one
// that is forgotten does not stay. With Redis all replicas have the same within a
// second or two, and a restart keeps them; without, each replica has its own, until
// it ends.
type Switches struct {
	o Options
	// changing serialises changes and looks at the shared copy.
	changing sync.Mutex
	current  atomic.Pointer[switched]
	seen     []byte // the shared copy, as it was last seen
}

// switched is one state of the switches, in the form in which replicas share it. It
// does not change.
type switched struct {
	// Changed orders the states of all replicas.
	Changed   time.Time                    `json:"changed"`
	Gateway   *admin.Maintenance           `json:"gateway,omitempty"`
	Providers map[string]admin.Maintenance `json:"providers,omitempty"`
}

// New makes switches of which none is on.
func New(o Options) *Switches {
	s := &Switches{o: o}
	s.current.Store(new(switched))
	return s
}

// Gateway is the maintenance of the whole gateway, if it is in it.
func (s *Switches) Gateway() (admin.Maintenance, bool) {
	if m := s.current.Load().Gateway; m != nil && m.Until.After(s.o.Now()) {
		return *m, true
	}
	return admin.Maintenance{}, false
}

// Provider is the maintenance that a provider was switched to, if it is in it.
func (s *Switches) Provider(id string) (admin.Maintenance, bool) {
	m := s.current.Load().Providers[id]
	return m, m.Until.After(s.o.Now())
}

// List are those in force, the gateway's first, then by provider.
func (s *Switches) List() []admin.Maintenance {
	list := []admin.Maintenance{}
	if m, ok := s.Gateway(); ok {
		list = append(list, m)
	}
	for _, id := range slices.Sorted(maps.Keys(s.current.Load().Providers)) {
		if m, ok := s.Provider(id); ok {
			list = append(list, m)
		}
	}
	return list
}

// change makes the next state, with m, or without what m names if it has no end, and gives it to the
// other replicas. It returns false if there was nothing to end.
func (s *Switches) change(ctx context.Context, m admin.Maintenance) bool {
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.current.Load()
	next := &switched{Changed: s.o.Now().UTC(), Gateway: old.Gateway, Providers: make(map[string]admin.Maintenance)}
	if !next.Changed.After(old.Changed) { // the clock of another replica is ahead
		next.Changed = old.Changed.Add(time.Millisecond)
	}
	for _, m := range s.List() {
		if !m.Gateway {
			next.Providers[m.Provider] = m
		}
	}
	_, on := s.Provider(m.Provider)
	if m.Gateway {
		_, on = s.Gateway()
	}
	switch ends := m.Until.IsZero(); {
	case ends && !on:
		return false
	case m.Gateway && ends:
		next.Gateway = nil
	case m.Gateway:
		next.Gateway = &m
	case ends:
		delete(next.Providers, m.Provider)
	default:
		next.Providers[m.Provider] = m
	}
	s.current.Store(next)
	if store := s.o.Store(); store != nil {
		s.seen, _ = json.Marshal(next) // nothing in it fails
		store.Store(ctx, s.seen)
	}
	return true
}

// look adopts what another replica has switched since.
func (s *Switches) look(ctx context.Context, store directory.Shared) (changed bool) {
	s.changing.Lock()
	defer s.changing.Unlock()
	body, _, err := store.Load(ctx)
	if err != nil || bytes.Equal(body, s.seen) {
		return false
	}
	s.seen = body
	next := new(switched)
	if json.Unmarshal(body, next) != nil || !next.Changed.After(s.current.Load().Changed) || !next.plausible(s.o.Now()) {
		return false
	}
	s.current.Store(next)
	return true
}

// plausible reports whether a replica can have switched it: nothing in the days to come, nor
// for longer than anybody may. Whoever can write to Redis could otherwise have the
// gateway down for ever, and no switch after it passed on.
func (s *switched) plausible(now time.Time) bool {
	const skew = 24 * time.Hour // of another replica's clock
	all := slices.Collect(maps.Values(s.Providers))
	if s.Gateway != nil {
		all = append(all, *s.Gateway)
	}
	return !s.Changed.After(now.Add(skew)) && !slices.ContainsFunc(all, func(m admin.Maintenance) bool {
		return m.Until.After(now.Add(admin.MaxMaintenance + skew))
	})
}

// lookPeriod is how often a replica looks for the others' switches.
const lookPeriod = time.Second

// Follow adopts the other replicas' switches until ctx is done.
func (s *Switches) Follow(ctx context.Context) {
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	for {
		if store := s.o.Store(); store != nil && s.look(ctx, store) {
			s.o.Log.Info("another replica changed what is in maintenance", "switched", len(s.List()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Switch switches a Document Provider or the whole gateway to maintenance, or ends it if
// m.Until is zero. Its errors are problems.
func (s *Switches) Switch(ctx context.Context, m admin.Maintenance) error {
	if !m.Gateway && !m.Until.IsZero() {
		if err := s.o.Known(m.Provider); err != nil {
			return err
		}
	}
	what := "the whole gateway"
	if !m.Gateway {
		what = "provider " + m.Provider
	}
	if !s.change(ctx, m) {
		return problem.NotFound(fmt.Sprintf("Nothing ends: %s was not switched to maintenance. What the registry announces "+
			"cannot be ended here.", what))
	}
	if m.Until.IsZero() {
		s.o.Log.Warn("maintenance was ended", "what", what, "by", m.By)
	} else {
		s.o.Log.Warn("maintenance was switched on", "what", what, "by", m.By, "until", m.Until, "reason", m.Reason)
	}
	return nil
}

// Refused is the problem of a call to a provider that was switched to
// maintenance, nil if it was not. The reason that was given is for the platform team.
func (s *Switches) Refused(provider string) *problem.Problem {
	m, ok := s.Provider(provider)
	if !ok {
		return nil
	}
	return problem.UnavailableUntil("The Document Provider "+provider+" is in maintenance, switched by the platform "+
		"team. Try again after it ends.", m.Until)
}

// Closed is the problem of every call while the whole gateway is in maintenance, nil while
// it is not.
func (s *Switches) Closed() error {
	m, ok := s.Gateway()
	if !ok {
		return nil
	}
	return problem.UnavailableUntil("The gateway is in maintenance. Nothing was sent. Try again after it ends.", m.Until)
}

// Sentence says of a maintenance what the page and the health say.
func Sentence(m admin.Maintenance) string {
	text := "switched to maintenance until " + m.Until.UTC().Format("2006-01-02 15:04 MST")
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	return text
}
