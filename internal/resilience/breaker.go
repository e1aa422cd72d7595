package resilience

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
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

// breaker is the circuit of an upstream, with one for each enterprise that fails.
//
// An enterprise's failures always count for its own circuit. For the one of all they count
// only if another enterprise has failed as often in the window: what the worst one adds is
// never held against the others. So an enterprise whose every call fails (a mandate that an
// upstream answers with 503, a mailbox that times out) closes its own way alone, also when
// nobody else calls. Failures to connect, and those of calls for nobody, are the upstream's.
type breaker struct {
	settings        BreakerSettings
	name            string
	log             *slog.Logger
	all             *circuit
	opened, refused atomic.Uint64
	// watching is set while there are suspects or a silence: in good times a call that
	// succeeds takes no lock of the breaker's own.
	watching atomic.Bool

	mu       sync.Mutex
	suspects map[tenant]*suspect
	// answered is when one who is no suspect was last answered while there were suspects.
	answered time.Time
	silence  silence
	swept    time.Time
	// quietFrom is since when no probe of the half-open circuit has failed.
	quietFrom time.Time
}

// silence are time-outs without any answer between them. Two of them one after the other
// open the circuit, however few calls there are: an upstream that hangs gets few, since each
// of its callers waits for long.
type silence struct {
	since   time.Time // when the first of them ended; zero for none
	who     tenant
	several bool // they are more than one enterprise's
}

func newBreaker(o Options) *breaker {
	s := o.Settings.Breaker
	if s.FailureRatio <= 0 {
		s.FailureRatio = 0.5
	}
	if s.Window <= 0 {
		s.Window = 30 * time.Second
	}
	if s.Open <= 0 {
		s.Open = 15 * time.Second
	}
	b := &breaker{settings: s, name: o.Name, log: o.Log, suspects: make(map[tenant]*suspect)}
	b.all = newCircuit(s, b.changed)
	return b
}

// changed is told by the circuit of all. Whatever it becomes, suspicion begins anew.
func (b *breaker) changed(from, to gobreaker.State, n gobreaker.Counts) {
	b.mu.Lock()
	clear(b.suspects)
	b.silence = silence{}
	b.all.held.Store(0)
	b.quietFrom = *b.all.until.Load() // that was over perhaps long before anybody looked
	b.watching.Store(false)
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
	began    time.Time
	all, own pass
}

// probing tells whether the call decides about a half-open circuit.
func (t *try) probing() bool { return t.all.done != nil || t.own.done != nil }

// admit lets a call pass or says why not: the error is a 503 with the time left.
func (b *breaker) admit(who tenant) (try, error) {
	t := try{who: who, began: time.Now()}
	var wait time.Duration
	if t.all, wait = b.all.enter(); wait > 0 {
		return try{}, b.refuse("The upstream has been failing", wait)
	}
	if s := b.suspect(who); s != nil {
		if t.own, wait = s.enter(); wait > 0 {
			t.all.end(errNeutral, false)
			return try{}, b.refuse("The upstream has been failing for this enterprise", wait)
		}
	}
	return t, nil
}

func (b *breaker) refuse(why string, wait time.Duration) error {
	b.refused.Add(1)
	return problem.Unavailable(why+" and is not called for the moment, so that it can recover. "+
		"Nothing was sent. Try again after the time in Retry-After.", wait).Because(ErrCircuitOpen)
}

// settle reports what came of a call. One that began before the circuit changed says nothing
// any more.
func (b *breaker) settle(t *try, o outcome) {
	if t.all.done == nil && t.all.era != b.all.era.Load() {
		o = neutral
	}
	switch o {
	case neutral:
		t.all.end(errNeutral, false)
		t.own.end(errNeutral, false)
	case succeeded:
		if b.watching.Load() {
			b.answer(t)
		}
		t.all.end(nil, false)
		t.own.end(nil, false)
	case unreached:
		t.all.end(errFailed, false)
		t.own.end(errNeutral, false)
	case failed, timedOut:
		all, own := b.blame(t, o == timedOut)
		t.own.end(errFailed, own == atOnce)
		if all == held {
			t.all.end(errNeutral, false)
		} else {
			t.all.end(errFailed, all == atOnce)
		}
	}
}

// answer ends a silence, and notes who was answered.
func (b *breaker) answer(t *try) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.silence = silence{}
	if s := b.suspects[t.who]; s == nil {
		b.answered = now
	} else {
		s.answered = now
		b.attach(t, s)
	}
	if now.Sub(b.swept) > b.settings.Window {
		b.sweep(now)
	}
	b.watching.Store(len(b.suspects) > 0)
}

// weight is how a failure counts for a circuit: not, like any other, or enough to open it.
type weight uint8

const (
	held weight = iota
	counted
	atOnce
)

// blame says how a failure counts for the circuit of all and for the enterprise's own.
func (b *breaker) blame(t *try, silent bool) (all, own weight) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watching.Store(true)
	frozen := silent && b.silent(t, now)
	if t.who == (tenant{}) {
		if frozen {
			return atOnce, held
		}
		return counted, held
	}
	s := b.suspects[t.who]
	if s == nil {
		s = b.newSuspect(t.who, now)
	}
	all, own = held, counted
	if most := b.othersFailed(s, now); most == math.MaxUint32 || most > b.failures(s, now) {
		all = counted // with this one it failed as often
	}
	b.all.held.Store(b.worst(now))
	s.failed = now
	b.attach(t, s)
	switch {
	case frozen && b.silence.several:
		all = atOnce
	case frozen:
		own = atOnce
	}
	if t.all.done != nil && all == held {
		// The second enterprise to fail as a probe opens the circuit for all again. The
		// first can neither do that nor use up every probe.
		own = atOnce
		b.quietFrom = now
	}
	return all, own
}

// silent notes a time-out, and tells whether it came after another, not beside it.
func (b *breaker) silent(t *try, now time.Time) (frozen bool) {
	q := &b.silence
	if q.since.IsZero() {
		*q = silence{since: now, who: t.who, several: t.who == (tenant{})}
		return false
	}
	q.several = q.several || q.who != t.who
	return !t.began.Before(q.since)
}

// closedFor tells whether calls for who pass freely.
func (b *breaker) closedFor(who tenant) bool {
	s := b.suspect(who)
	return b.all.State() == gobreaker.StateClosed && (s == nil || s.State() == gobreaker.StateClosed)
}

// show fills in the state for people. If nobody for whom the circuit is closed was answered
// in the window, it is shown as it is for the others: more is not known of the upstream.
func (b *breaker) show(s *State) {
	s.Opened, s.RefusedOpen = b.opened.Load(), b.refused.Load()
	switch b.all.State() {
	case gobreaker.StateOpen:
		s.Circuit, s.Until = Open, *b.all.until.Load()
		return
	case gobreaker.StateHalfOpen:
		s.Circuit = HalfOpen
	case gobreaker.StateClosed:
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Circuit == HalfOpen && now.Sub(b.quietFrom) > b.settings.Window {
		s.UntriedSince = b.quietFrom
	}
	alone := s.Circuit == Closed && now.Sub(b.answered) > b.settings.Window
	for _, suspect := range b.suspects {
		alone = alone && (b.failures(suspect, now) == math.MaxUint32 || now.Sub(suspect.answered) > b.settings.Window)
	}
	for who, suspect := range b.suspects {
		if b.failures(suspect, now) != math.MaxUint32 {
			continue
		}
		s.OpenFor = append(s.OpenFor, who.String())
		switch until := *suspect.until.Load(); {
		case !alone:
		case !until.After(now):
			if s.Circuit == Closed {
				s.Circuit = HalfOpen
			}
		case s.Circuit != Open || until.Before(s.Until):
			s.Circuit, s.Until = Open, until
		}
	}
	slices.Sort(s.OpenFor)
}
