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

// outcome is what a call said about the upstream.
type outcome uint8

const (
	// neutral says nothing: the caller went away, or the gateway itself failed.
	neutral outcome = iota
	// succeeded is an answer, whatever it says.
	succeeded
	// unreached is a connection that was never made, whoever the call was for.
	unreached
	// failed is a failure that may have to do with whom the call was for; timedOut is one
	// of no answer in time.
	failed
	timedOut
	// abandoned is a caller who went away before anything of an answer had come.
	abandoned
)

// tenant is whom a call was for, as far as the blame for a failure goes; zero is nobody.
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
// An enterprise's failures always count for its own circuit. For the one of all, those of the
// enterprise that fails most are held (see majority). So an enterprise whose every call fails
// (a mandate that an upstream answers with 503, a mailbox that times out) closes its own way
// alone, also when nobody else calls. Failures to connect, and those of calls for nobody, are
// the upstream's.
type breaker struct {
	settings        config.Breaker
	name            string
	log             *slog.Logger
	all             *circuit
	opened, refused atomic.Uint64
	// answered is when somebody for whom the circuit is closed was last answered, in
	// nanoseconds since 1970.
	answered atomic.Int64
	// silent says that there is a silence, which the next answer ends.
	silent atomic.Bool

	mu       sync.RWMutex        // never held while all is called
	circuits map[tenant]*suspect // of those that have failed lately
	swept    time.Time           // when those that have not were last forgotten
	most     majority
	silence  silence
	// quietFrom is since when no probe of the half-open circuit has failed.
	quietFrom time.Time
}

// suspect is an enterprise that has failed.
type suspect struct {
	*circuit
	failed time.Time // last
}

// maxSuspects bounds how many failing enterprises have a circuit. The failures of others
// count for the one of all.
const maxSuspects = 1000

func newBreaker(o Options) *breaker {
	b := &breaker{settings: o.Settings.Breaker, name: o.Name, log: o.Log, circuits: make(map[tenant]*suspect)}
	b.silence.enough = cmp.Or(o.HeaderTimeout, 30*time.Second) / 3
	b.all = newCircuit(b.settings, b.changed)
	return b
}

// changed is told by the circuit of all. Whatever it becomes, suspicion begins anew.
func (b *breaker) changed(from, to gobreaker.State, n gobreaker.Counts) {
	b.mu.Lock()
	clear(b.circuits)
	b.most = majority{}
	b.silence.end()
	b.quietFrom = *b.all.until.Load() // that was over perhaps long before anybody looked
	b.mu.Unlock()
	switch to {
	case gobreaker.StateClosed:
		b.log.Info("circuit closed: the upstream answers again", "upstream", b.name)
	case gobreaker.StateHalfOpen:
		b.log.Info("circuit half-open: a few calls probe the upstream", "upstream", b.name)
	case gobreaker.StateOpen:
		b.opened.Add(1)
		if from == gobreaker.StateHalfOpen {
			b.log.Warn("circuit open again: a probe failed", "upstream", b.name, "for", b.settings.Open)
			return
		}
		b.log.Warn("circuit open: too many calls failed, or none was answered", "upstream", b.name, "for", b.settings.Open,
			"calls", n.TotalSuccesses+n.TotalFailures, "failures", n.TotalFailures)
	}
}

// try is one try that the breaker let pass. It must be settled exactly once.
type try struct {
	who      tenant
	caller   memory.Party
	began    time.Time
	all, own pass
}

// probing tells whether the call decides about a half-open circuit.
func (t *try) probing() bool { return t.all.done != nil || t.own.done != nil }

// admit lets a call pass or says why not: the error is a 503 with the time left.
func (b *breaker) admit(c *call.Call) (*try, error) {
	t := &try{who: tenantOf(c), caller: memory.PartyOf(c.Caller, c.Source), began: time.Now()}
	var wait time.Duration
	if t.all, wait = b.all.enter(); wait > 0 {
		return nil, b.refuse("The upstream has been failing", wait)
	}
	if s := b.circuitOf(t.who); s != nil {
		if t.own, wait = s.enter(); wait > 0 {
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

// circuitOf is who's own circuit, nil if it has not failed.
func (b *breaker) circuitOf(who tenant) *suspect {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.circuits[who]
}

// settle reports what came of a call. One that began before the circuit changed says nothing
// any more.
func (b *breaker) settle(t *try, o outcome) {
	all, own := errIgnored, errIgnored
	switch {
	case o == neutral || t.all.outdated():
	case o == succeeded:
		if t.own.done == nil {
			b.answered.Store(time.Now().UnixNano())
		}
		all, own = nil, nil
	case o == unreached:
		all = errFailed
	default:
		all, own = b.blame(t, o)
	}
	t.own.end(own)
	t.all.end(all)
}

// noteAnswer ends a silence: something has come.
func (b *breaker) noteAnswer() {
	if b.silent.CompareAndSwap(true, false) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.silence.end()
	}
}

// blame says how a failure counts for the circuit of all and for the enterprise's own.
func (b *breaker) blame(t *try, o outcome) (all, own error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	frozen := false
	if o != failed {
		frozen = b.silence.add(t, now, o == timedOut, b.settings.Window)
		b.silent.Store(true)
	}
	all, own = errFailed, errFailed
	switch {
	case o == abandoned && !frozen:
		return errIgnored, errIgnored
	case frozen && b.silence.enterprises:
		all = errFrozen
	case t.who == (tenant{}):
	case b.most.is(t.who, now, b.settings):
		all = errHeld
		if frozen || t.all.done != nil {
			// The second enterprise to fail as a probe opens the circuit for all again. The
			// first can neither do that nor use up every probe.
			own = errFrozen
			b.quietFrom = now
		}
	case frozen:
		own = errFrozen
	}
	if s := b.suspect(t.who, now); s != nil && t.own.circuit == nil {
		t.own = pass{circuit: s.circuit, era: s.era.Load()}
	}
	return all, own
}

// suspect finds the circuit of an enterprise that fails, or makes it; nil for nobody's, or if
// there are too many.
func (b *breaker) suspect(who tenant, now time.Time) *suspect {
	s := b.circuits[who]
	switch {
	case s != nil:
		s.failed = now
		return s
	case who == (tenant{}):
		return nil
	case len(b.circuits) >= maxSuspects || now.Sub(b.swept) > b.settings.Window:
		b.swept = now
		for who, s := range b.circuits {
			if b.forgotten(s, now) {
				delete(b.circuits, who)
			}
		}
		if len(b.circuits) >= maxSuspects {
			return nil
		}
	}
	s = &suspect{failed: now}
	log := b.log.With("upstream", b.name, "enterprise", who.String())
	s.circuit = newCircuit(b.settings, func(from, to gobreaker.State, _ gobreaker.Counts) {
		switch to {
		case gobreaker.StateOpen:
			log.Warn("circuit open for one enterprise: its calls failed", "for", b.settings.Open)
		case gobreaker.StateClosed:
			log.Info("circuit closed for one enterprise: its calls are answered again")
		case gobreaker.StateHalfOpen:
		}
	})
	b.circuits[who] = s
	return s
}

// forgotten tells that an enterprise has not failed for so long that it is like any other.
func (b *breaker) forgotten(s *suspect, now time.Time) bool {
	return now.Sub(s.failed) > b.settings.Window+b.settings.Open
}

// closedFor tells whether calls for who pass freely.
func (b *breaker) closedFor(who tenant) bool {
	s := b.circuitOf(who)
	return b.all.State() == gobreaker.StateClosed && (s == nil || s.State() == gobreaker.StateClosed)
}

// show fills in the state for people. If nobody for whom the circuit is closed was answered
// in the window, it is shown as it is for the others: more is not known of the upstream.
func (b *breaker) show(s *State) {
	s.Opened, s.RefusedOpen = b.opened.Load(), b.refused.Load()
	all := b.all.State()
	switch all {
	case gobreaker.StateOpen:
		s.Circuit, s.Until = Open, *b.all.until.Load()
		return
	case gobreaker.StateHalfOpen:
		s.Circuit = HalfOpen
	case gobreaker.StateClosed:
	}
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	if all == gobreaker.StateHalfOpen && now.Sub(b.quietFrom) > b.settings.Window {
		s.UntriedSince = b.quietFrom
	}
	alone := all == gobreaker.StateClosed && now.Sub(time.Unix(0, b.answered.Load())) > b.settings.Window
	for who, suspect := range b.circuits {
		state, until := suspect.State(), *suspect.until.Load()
		if state == gobreaker.StateClosed || b.forgotten(suspect, now) {
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

// majority finds who fails most without counting everybody, by the vote of Boyer and Moore: a
// failure of the candidate is one vote for it, and one of anybody else a vote against it; who
// fails when there is no vote left is the next candidate. Whoever makes more than half of the
// failures is the candidate in the end, and where nobody does, half of the failures are those
// of somebody else than the candidate of the moment.
type majority struct {
	who    tenant
	votes  int
	failed time.Time // last
}

// is tells whether who, which has failed, is the candidate now.
func (m *majority) is(who tenant, now time.Time, s config.Breaker) bool {
	if m.votes == 0 || now.Sub(m.failed) > s.Window+s.Open {
		*m = majority{who: who}
	}
	if m.who != who {
		m.votes--
		return false
	}
	m.votes = min(m.votes+1, max(s.MinRequests, 1))
	m.failed = now
	return true
}
