package authn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/flight"
)

// The way of a token, in the order of this file:
//
//  1. A caller asks (Token). A valid token at hand is the answer, without a lock.
//  2. Without one the caller joins the request that is under way, or begins it (wait, join,
//     begin). After a failure, callers get that failure again until its pause is over.
//  3. The request runs on a goroutine and a context of its own (fetch) and ends in one place
//     (end), which stores the token (store) or remembers the failure, and wakes who waits.
//  4. Before the token expires, if somebody uses it, Tokens.Run begins the next request
//     (renew, renewAt). The old token is handed out meanwhile.
//  5. An upstream's 401 drops the token (Refused), so that the next caller comes to 2.

// forcedPause is the least time between two renewals that the 401s of one upstream
// force. An upstream that refuses every token must not turn each of its callers into a
// token request.
const forcedPause = time.Minute

// Source keeps the token of one client for one set of scopes. It is safe for
// concurrent use, and is made by Tokens.Source.
type Source struct {
	client *client
	scopes []string // canonical

	// current is the token that callers get if it is valid; nil if there is none.
	current atomic.Pointer[held]

	// mu guards what follows. It is never held over the network.
	mu      sync.Mutex
	failure *Failure
	// due is when current is to be replaced in the background.
	due time.Time
	// suspect is the token that an upstream refused last. It comes back if the
	// Authorization Server turns out to be down: other upstreams may accept it.
	suspect *held
	// forced is when the 401 of an upstream, by name, last forced a renewal.
	forced map[string]time.Time
	// waits is until when an upstream, by name, may force no other renewal, although it
	// refuses the renewed token as well.
	waits map[string]time.Time

	// counted are the counters of its status.
	counted TokenStatus
}

// Client is the client's name in the configuration.
func (s *Source) Client() string { return s.client.name }

// Scopes are the scopes that tokens are asked with, sorted. They must not be changed.
func (s *Source) Scopes() []string { return s.scopes }

// Token returns a valid token, fetching one if need be. ctx ends the waiting and
// nothing else: the request goes on for the others. The error is a *Failure, or, if ctx was
// cancelled, has ctx's own in its chain.
//
// With a token at hand it takes no lock and allocates nothing.
func (s *Source) Token(ctx context.Context) (Token, error) {
	if h := s.current.Load(); h != nil && h.valid(s.client.tokens.o.Now()) {
		if !h.used.Load() { // a plain store would move the line between cores at every request
			h.used.Store(true)
		}
		return Token{h}, nil
	}
	return s.wait(ctx)
}

// wait is Token without one at hand. The error of a caller that went away, which is nobody's failure, is
// another than that of one whose time ran out before the Authorization Server answered.
func (s *Source) wait(ctx context.Context) (Token, error) {
	for ctx.Err() == nil {
		f, t, err := s.join()
		if f == nil {
			return t, err
		}
		t, err = f.Wait(ctx)
		if err != nil && ctx.Err() == nil {
			return Token{}, err
		}
		// A waiter may wake up after a token of a few seconds has run out.
		if t.Valid(s.client.tokens.o.Now()) {
			t.h.used.Store(true)
			return t, nil
		}
	}
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return Token{}, s.client.unavailable("the request's time ran out before the Authorization Server answered", err)
	}
	return Token{}, fmt.Errorf("waiting for a token of %s: %w", s.client.name, err)
}

// join returns the flight to wait for, beginning one if there is none, or else a
// token or the error that is remembered.
func (s *Source) join() (*flight.Flight[Token], Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.client.tokens.o.Now()
	if h := s.current.Load(); h != nil && h.valid(now) {
		h.used.Store(true)
		return nil, Token{h}, nil
	}
	if s.client.key.Load() == nil {
		return nil, Token{}, s.client.noKey()
	}
	if s.failure != nil && now.Before(s.failure.until) {
		return nil, Token{}, s.failure.at(now)
	}
	return s.begin(), Token{}, nil
}

// begin returns the request that is under way, or a new one. The caller holds mu.
func (s *Source) begin() *flight.Flight[Token] {
	f, leads := s.client.tokens.flights.Join(s)
	if !leads {
		return f
	}
	var stale string // the hash of the token that is to be replaced
	if h := s.current.Load(); h != nil {
		stale = h.hash
	} else if s.suspect != nil {
		stale = s.suspect.hash
	}
	if !s.client.tokens.spawn(func(ctx context.Context) { s.fetch(ctx, f, stale) }) {
		f.Land(Token{}, s.client.unavailable("the gateway is stopping", nil))
		return f
	}
	s.counted.Requests++
	return f
}

// fetch is what a flight does.
func (s *Source) fetch(ctx context.Context, f *flight.Flight[Token], stale string) {
	key := s.client.key.Load() // there is one: once loaded, it is replaced and never given up
	t, err := s.asking(key).obtain(ctx, stale)
	s.mu.Lock()
	defer s.mu.Unlock() // until it has landed, so that nobody joins what has ended
	f.Land(s.end(key, t, err))
}

// asking is what the source's tokens are asked for with, signed by a key.
func (s *Source) asking(key *Key) tokenRequest { return tokenRequest{s.client, key, s.scopes} }

// end stores what a request brought, or remembers its failure, and says how it ends for those
// who wait. key is the one that signed. The caller holds mu.
func (s *Source) end(key *Key, t Token, err error) (Token, error) {
	tokens := s.client.tokens
	if err == nil {
		s.counted.Granted++
		s.store(t.h, key)
		return t, nil
	}
	if tokens.base.Err() != nil { // what was cut off by our own end is nobody's failure
		return Token{}, s.client.unavailable("the gateway is stopping", nil)
	}
	now := tokens.o.Now()
	failed := failureOf(err).after(s.failure, now, rand.Float64())
	if failed.refused() {
		s.counted.Refusals++
	} else {
		s.counted.Outages++
	}
	if s.client.key.Load() == key {
		s.failure, s.due = failed, failed.until
		if failed.inRow == 1 { // callers log the rest
			tokens.o.Log.Warn("no token", "client", s.client.name, "scopes", s.scopes, "error", failed,
				"retry", failed.until)
		}
	} else {
		// The key that failed does not sign any more; its failure is not held
		// against the new one.
		s.failure, s.due = nil, now
	}
	if !failed.refused() && s.current.Load() == nil && s.suspect != nil && s.suspect.valid(now) {
		s.current.Store(s.suspect)
	}
	return Token{}, failed.at(now)
}

// store makes h the current token, obtained with key. The caller holds mu.
func (s *Source) store(h *held, key *Key) {
	tokens := s.client.tokens
	if s.failure != nil {
		tokens.o.Log.Info("tokens are issued again", "client", s.client.name, "scopes", s.scopes,
			"failingSince", s.failure.Since)
		s.failure = nil
	}
	if s.suspect != nil && s.suspect.hash != h.hash {
		s.suspect = nil
	}
	if old := s.current.Load(); len(s.scopes) > 0 && len(h.extra) > 0 && (old == nil || len(old.extra) == 0) {
		tokens.o.Log.Warn("the Authorization Server grants more scopes than were asked for: upstreams get a token that "+
			"opens more than they need", "client", s.client.name, "scopes", s.scopes, "extra", h.extra)
	}
	s.due = renewAt(h, rand.Float64())
	if s.client.key.Load() != key { // promoted while this token was on its way
		s.due = tokens.o.Now()
	}
	s.current.Store(h)
	tokens.o.Log.Debug("token obtained", "client", s.client.name, "scopes", s.scopes, "token", Token{h})
}

// renewAt is the moment to replace a token in the background: a fifth of its
// lifetime before it expires, or 5 minutes if that is less, and the second that Run may
// be late; up to half as much earlier, lest replicas that started together ask together. Of
// an hour, that is after 52 to 55 minutes; of 30 seconds, after 19 to 23. It is not before
// half of the lifetime.
func renewAt(h *held, jitter float64) time.Time {
	lifetime := h.expires.Sub(h.obtained)
	margin := min(lifetime/5, 5*time.Minute) + renewalPoll
	margin += time.Duration(jitter * float64(margin) / 2)
	return h.expires.Add(-min(margin, lifetime/2))
}

// renew begins to replace the token if its time has come. One that nobody used since it came
// is left to expire.
func (s *Source) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.client.tokens.o.Now()
	if h := s.current.Load(); h != nil && h.used.Load() && h.valid(now) && !now.Before(s.due) {
		s.begin()
	}
}

// retry ends the pause after a failure and asks.
func (s *Source) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return
	}
	s.failure.until = s.client.tokens.o.Now()
	s.begin()
}

// Refused takes note that the upstream answered 401 to the token, and reports whether the
// request is worth another one. If the token is still the current one, it is
// dropped and a renewal is forced, at most once a minute for one upstream;
// otherwise somebody has renewed it already. While the Authorization Server is
// known to fail, the token stays: other upstreams may accept it, and there is no
// other. wait is how long it takes until the upstream may force another renewal, if
// that is why there is none.
func (s *Source) Refused(t Token, upstream string) (again bool, wait time.Duration) {
	if t.h == nil {
		return false, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != t.h {
		return true, 0
	}
	now := s.client.tokens.o.Now()
	if s.failure != nil && now.Before(s.failure.until) {
		return false, 0
	}
	if at, once := s.forced[upstream]; once && now.Sub(at) < forcedPause {
		return false, forcedPause - now.Sub(at)
	}
	s.forced[upstream] = now
	s.counted.Forced++
	s.suspect = t.h
	s.current.Store(nil)
	s.client.tokens.o.Log.Warn("an upstream refused the token: it is dropped", "client", s.client.name, "scopes", s.scopes,
		"upstream", upstream, "token", t)
	return true, 0
}

// RefusedAgain notes, for the status, that callers of the upstream go without an answer for so
// long: it refuses the renewed token as well.
func (s *Source) RefusedAgain(upstream string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits == nil {
		s.waits = make(map[string]time.Time)
	}
	s.waits[upstream] = s.client.tokens.o.Now().Add(wait)
}

// adopt takes over a token of the generation before.
func (s *Source) adopt(h *held) {
	key := s.client.key.Load()
	if h == nil || key == nil || h.key != s.asking(key).tokenKey() || !h.valid(s.client.tokens.o.Now()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() == nil {
		s.store(h, key)
	}
}

// hasHadToken reports whether the source has, or had, a token.
func (s *Source) hasHadToken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted.Granted > 0 || s.current.Load() != nil
}
