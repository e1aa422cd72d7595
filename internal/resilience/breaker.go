package resilience

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
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
// An enterprise's failures always count for its own circuit, and for that of all only if the failure
// before was another's. So an enterprise whose every call fails (a mandate that an upstream answers with
// 503, a mailbox that times out) opens its own circuit alone, also when nobody else calls. Failures to
// connect, and those of calls for nobody, are the upstream's.
type breaker struct {
	settings config.Breaker
	log      *slog.Logger

	mu              sync.Mutex
	all             *circuit
	own             map[tenant]*circuit // of enterprises that have failed lately
	failed          tenant              // the enterprise that failed last
	answered        time.Time           // when a call was last answered whose circuits were closed
	opened, refused uint64
}

// maxOwn bounds how many failing enterprises have a circuit. The failures of others
// count for that of all alone.
const maxOwn = 1000

func newBreaker(o Options) *breaker {
	b := &breaker{settings: o.Settings.Breaker, log: o.Log.With("upstream", o.Name), own: make(map[tenant]*circuit)}
	b.all = newCircuit(b.settings, &b.mu, b.log, func(to gobreaker.State) { // everybody begins anew
		clear(b.own)
		b.failed = tenant{}
		if to == gobreaker.StateOpen {
			b.opened++
		}
	})
	return b
}

// try is one try that the breaker let pass. It must be settled exactly once.
type try struct {
	who   tenant
	began time.Time
	// all and own, unless nil, are the second steps of a probe of these circuits.
	all, own func(error)
}

// probing reports whether the call decides about a half-open circuit.
func (t *try) probing() bool { return t.all != nil || t.own != nil }

// admit lets a call pass or says why not: the error is a 503 with the time left.
func (b *breaker) admit(c *call.Call) (*try, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &try{who: tenantOf(c), began: time.Now()}
	why := "The upstream has been failing"
	var wait time.Duration
	t.all, wait = b.all.enter()
	if own := b.own[t.who]; own != nil && wait == 0 {
		if t.own, wait = own.enter(); wait > 0 {
			why += " for this enterprise"
			b.all.end(t.all, t.began, errIgnored)
		}
	}
	if wait == 0 {
		return t, nil
	}
	b.refused++
	return nil, problem.Unavailable(why+" and is not called for the moment, so that it can recover. "+
		"Nothing was sent. Try again after the time in Retry-After.", wait).Because(ErrCircuitOpen)
}

// settle reports what came of a call. One that began before the circuit of all opened says nothing any more.
func (b *breaker) settle(t *try, o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, own := errIgnored, errIgnored
	switch {
	case o == neutral || !t.began.After(b.all.opened):
	case o == succeeded:
		all, own = nil, nil
		if t.own == nil {
			b.answered = time.Now()
		}
	case o == unreached || t.who == tenant{}:
		all = errFailed
	default:
		all, own = errHeld, errFailed
		if b.failed != t.who && b.failed != (tenant{}) {
			all = errFailed
		}
		b.failed = t.who
		b.remember(t.who)
	}
	if c := b.own[t.who]; c != nil {
		c.end(t.own, t.began, own)
	}
	b.all.end(t.all, t.began, all)
}

// remember gives an enterprise that fails its circuit; none if there are too many. b.mu is held.
func (b *breaker) remember(who tenant) {
	if b.own[who] != nil {
		return
	}
	maps.DeleteFunc(b.own, func(_ tenant, c *circuit) bool { return b.forgotten(c) })
	if len(b.own) < maxOwn {
		b.own[who] = newCircuit(b.settings, &b.mu, b.log.With("enterprise", who.String()), func(gobreaker.State) {})
	}
}

// forgotten reports whether an enterprise is like any other again: none of its calls has failed for as long
// as its circuit may have been open, and a window after it.
func (b *breaker) forgotten(c *circuit) bool {
	return time.Since(c.failed) > b.settings.Open+b.settings.Window
}

// show fills in the state for people. If nobody for whom the circuit is closed was answered
// in the window, it is shown as it is for the others: more is not known of the upstream.
func (b *breaker) show(s *State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Circuit = Circuit(b.all.State().String())
	s.Opened, s.RefusedOpen = b.opened, b.refused
	alone := false
	switch s.Circuit {
	case Open:
		s.Until = b.all.until()
	case HalfOpen:
		quiet := b.all.until() // that was over perhaps long before anybody looked
		if b.all.failed.After(quiet) {
			quiet = b.all.failed
		}
		if time.Since(quiet) > b.settings.Window {
			s.UntriedSince = quiet
		}
	case Closed:
		alone = time.Since(b.answered) > b.settings.Window
	}
	for who, c := range b.own {
		state := Circuit(c.State().String())
		if state == Closed || b.forgotten(c) {
			continue
		}
		s.OpenFor = append(s.OpenFor, who.String())
		switch {
		case !alone:
		case state == Open && (s.Circuit != Open || c.until().Before(s.Until)):
			s.Circuit, s.Until = Open, c.until()
		case s.Circuit == Closed:
			s.Circuit = HalfOpen
		}
	}
	slices.Sort(s.OpenFor)
}
