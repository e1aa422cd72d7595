package resilience

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// tenant is whom a call was for; zero is nobody.
type tenant struct {
	number enterprise.Number
	own    bool
}

func tenantOf(c *call.Call) tenant { return tenant{c.Enterprise, c.Own} }

func (t tenant) String() string {
	if t.own {
		return "own"
	}
	return t.number.String()
}

// breaker is the circuit of an upstream, with one more for each enterprise that fails.
//
// An enterprise's failures always count for its own circuit. For that of all, a failure is held until
// a call for another enterprise fails, and the two count as one. So an enterprise whose every call fails (a
// mandate that an upstream answers with 503, a mailbox that times out) opens its own circuit alone, also when
// nobody else calls. Failures to connect, and those of calls for nobody, are the upstream's.
type breaker struct {
	settings config.Breaker
	name     string
	log      *slog.Logger
	all      *circuit
	refused  atomic.Uint64
	// header is when the upstream last sent one, answered when somebody for whom the circuit is closed last
	// got an answer that is no failure; both in nanoseconds since 1970.
	header, answered atomic.Int64

	mu      sync.RWMutex        // never held while all is called
	own     map[tenant]*circuit // of enterprises that have failed lately
	held    tenant              // the enterprise whose failure is held
	silence silence
	// quietFrom is since when no probe of the half-open circuit has failed.
	quietFrom time.Time
}

// maxOwn bounds how many failing enterprises have a circuit. The failures of others
// count for that of all alone.
const maxOwn = 1000

func newBreaker(o Options) *breaker {
	b := &breaker{settings: o.Settings.Breaker, name: o.Name, log: o.Log, own: make(map[tenant]*circuit)}
	b.silence.enough = cmp.Or(o.HeaderTimeout, 30*time.Second) / 3
	b.all = newCircuit(b.settings, b.changed)
	return b
}

// changed is told by the circuit of all. Whatever it becomes, everybody begins anew.
func (b *breaker) changed(from, to gobreaker.State, calls, failures int) {
	b.mu.Lock()
	clear(b.own)
	b.held = tenant{}
	b.silence = silence{enough: b.silence.enough}
	b.quietFrom = *b.all.until.Load() // that was over perhaps long before anybody looked
	b.mu.Unlock()
	switch {
	case to == gobreaker.StateClosed:
		b.log.Info("circuit closed: the upstream answers again", "upstream", b.name)
	case to == gobreaker.StateHalfOpen:
		b.log.Info("circuit half-open: a few calls probe the upstream", "upstream", b.name)
	case from == gobreaker.StateHalfOpen:
		b.log.Warn("circuit open again: a probe failed", "upstream", b.name, "for", b.settings.Open)
	default:
		b.log.Warn("circuit open: too many calls failed, or none was answered", "upstream", b.name, "for", b.settings.Open,
			"calls", calls, "failures", failures)
	}
}

// try is one try that the breaker let pass. It must be settled exactly once.
type try struct {
	who      tenant
	caller   memory.Party
	began    time.Time
	all, own pass
}

// probing reports whether the call decides about a half-open circuit.
func (t *try) probing() bool { return t.all.probe != nil || t.own.probe != nil }

// admit lets a call pass or says why not: the error is a 503 with the time left.
func (b *breaker) admit(c *call.Call) (*try, error) {
	t := &try{who: tenantOf(c), caller: memory.PartyOf(c.Caller, c.Source), began: time.Now()}
	var wait time.Duration
	if t.all, wait = b.all.enter(); wait > 0 {
		return nil, b.refuse("The upstream has been failing", wait)
	}
	if own := b.ownOf(t.who); own != nil {
		if t.own, wait = own.enter(); wait > 0 {
			t.all.end(errIgnored)
			return nil, b.refuse("The upstream has been failing for this enterprise", wait)
		}
	}
	return t, nil
}

func (b *breaker) refuse(why string, wait time.Duration) error {
	b.refused.Add(1)
	return problem.Unavailable(why+" and is not called for the moment, so that it can recover. "+
		"Nothing was sent. Try again after the time in Retry-After.", wait).Because(ErrCircuitOpen)
}

// ownOf is the circuit of an enterprise that has failed, nil if it has not.
func (b *breaker) ownOf(who tenant) *circuit {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.own[who]
}

// closedFor reports whether calls for who pass freely.
func (b *breaker) closedFor(who tenant) bool {
	own := b.ownOf(who)
	return b.all.State() == gobreaker.StateClosed && (own == nil || own.State() == gobreaker.StateClosed)
}

// settle reports what came of a call. One that began before the circuit opened says nothing
// any more.
func (b *breaker) settle(t *try, o outcome) {
	all, own := errIgnored, errIgnored
	switch {
	case o == neutral || t.all.outdated():
	case o == succeeded:
		if t.own.probe == nil {
			b.answered.Store(time.Now().UnixNano())
		}
		all, own = nil, nil
	case o == unreached:
		all = errFailed
	default:
		all, own = b.fail(t, o)
	}
	t.own.end(own)
	t.all.end(all)
}

// fail says how a failure counts for the circuit of all and for the enterprise's own.
func (b *breaker) fail(t *try, o outcome) (all, own error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	frozenForAll, frozen := false, false
	if o != failed {
		frozenForAll, frozen = b.silence.add(t, now, time.Unix(0, b.header.Load()), o == timedOut, b.settings.Window)
	}
	if o == abandoned && !frozen {
		return errIgnored, errIgnored
	}
	all, own = errFailed, errFailed
	if frozen {
		own = errFrozen
	}
	if frozenForAll {
		all = errFrozen
	}
	if t.who == (tenant{}) {
		return all, own
	}
	switch {
	case frozenForAll:
	case b.held == t.who || b.held == tenant{}:
		b.held = t.who
		all = errHeld
		if t.all.probe != nil { // one enterprise must not use up every probe
			own = errFrozen
			b.quietFrom = now
		}
	default:
		b.held = tenant{}
	}
	if t.own.circuit == nil {
		t.own = b.begin(t.who, now)
	}
	return all, own
}

// begin gives an enterprise that fails its circuit; none if there are too many. b.mu is held.
func (b *breaker) begin(who tenant, now time.Time) pass {
	if c := b.own[who]; c != nil {
		return pass{circuit: c, opened: c.opened.Load()}
	}
	for who, c := range b.own {
		if b.forgotten(c, now) {
			delete(b.own, who)
		}
	}
	if len(b.own) >= maxOwn {
		return pass{}
	}
	log := b.log.With("upstream", b.name, "enterprise", who.String())
	c := newCircuit(b.settings, func(_, to gobreaker.State, _, _ int) {
		switch to {
		case gobreaker.StateOpen:
			log.Warn("circuit open for one enterprise: its calls failed", "for", b.settings.Open)
		case gobreaker.StateClosed:
			log.Info("circuit closed for one enterprise: its calls are answered again")
		case gobreaker.StateHalfOpen:
		}
	})
	b.own[who] = c
	return pass{circuit: c}
}

// forgotten tells that an enterprise is like any other again: none of its calls has failed in the window, or
// it has not called for so long after its circuit was open.
func (b *breaker) forgotten(c *circuit, now time.Time) bool {
	switch c.State() {
	case gobreaker.StateClosed:
		return c.Counts().TotalFailures == 0
	case gobreaker.StateHalfOpen:
		return now.Sub(*c.until.Load()) > b.settings.Window
	}
	return false
}

// show fills in the state for people. If nobody for whom the circuit is closed was answered
// in the window, it is shown as it is for the others: more is not known of the upstream.
func (b *breaker) show(s *State) {
	s.RefusedOpen = b.refused.Load()
	all := b.all.State()
	s.Opened = b.all.opened.Load()
	if all == gobreaker.StateOpen {
		s.Circuit, s.Until = Open, *b.all.until.Load()
		return
	}
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	if all == gobreaker.StateHalfOpen {
		s.Circuit = HalfOpen
		if now.Sub(b.quietFrom) > b.settings.Window {
			s.UntriedSince = b.quietFrom
		}
	}
	alone := all == gobreaker.StateClosed && now.Sub(time.Unix(0, b.answered.Load())) > b.settings.Window
	for who, c := range b.own {
		state, until := c.State(), *c.until.Load()
		if state == gobreaker.StateClosed || b.forgotten(c, now) {
			continue
		}
		s.OpenFor = append(s.OpenFor, who.String())
		switch {
		case !alone:
		case state == gobreaker.StateOpen && (s.Circuit != Open || until.Before(s.Until)):
			s.Circuit, s.Until = Open, until
		case s.Circuit == Closed:
			s.Circuit = HalfOpen
		}
	}
	slices.Sort(s.OpenFor)
}
