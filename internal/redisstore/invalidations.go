package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/cache"
)

// An invalidation moves the epoch of a scope on in Redis, which ends what is kept there
// under the old one, and is published for the memories of the other replicas.

// silence is how long a subscription may be silent before a PING is sent on it. One
// that does not answer within the same time is lost: well within the
// second in which the replicas have to know.
const silence = 300 * time.Millisecond

// bump moves epochs of the hash KEYS[1] on and publishes them to the other replicas on the channel
// ARGV[1]. Then come, for each scope, its number, the highest epoch that this replica has
// seen there, and the message. A scope without an epoch begins with the time in
// microseconds. An epoch that cannot be written, for want of memory, is removed: it begins
// anew at the next read, where it never was. The new epochs are given back.
var bump = redis.NewScript(`
local t = redis.call('TIME')
local epochs = {}
for i = 2, #ARGV, 3 do
  local last = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '') or t[1] * 1000000 + t[2]
  local epoch = string.format('%.0f', math.max(last, tonumber(ARGV[i + 1])) + 1)
  local done = redis.pcall('HSET', KEYS[1], ARGV[i], epoch)
  if type(done) == 'table' and done.err then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
  redis.call('PUBLISH', ARGV[1], ARGV[i + 2])
  epochs[#epochs + 1] = epoch
end
return epochs`)

// tell invalidates scopes in Redis and at the other replicas, in one call.
func (s *Store) tell(ctx context.Context, scopes []cache.Scope) error {
	args := []any{s.channel}
	for _, scope := range scopes {
		body := binary.BigEndian.AppendUint32([]byte(s.id), uint32(scope))
		message, err := s.ring.seal(forNews, s.channel, body)
		if err != nil {
			return err
		}
		args = append(args, uint32(scope), s.seen[scope].Load(), message)
	}
	epochs, err := bump.Run(ctx, s.client, []string{s.epochs}, args...).StringSlice()
	if err != nil {
		return s.discard(ctx, s.epochs, err)
	}
	for i, scope := range scopes[:min(len(scopes), len(epochs))] {
		if n, err := strconv.ParseUint(epochs[i], 10, 64); err == nil {
			s.seen.note(scope, n)
		}
	}
	return nil
}

// Untold gives the scopes that the other replicas have still to be told of.
func (s *Store) Untold() []cache.Scope {
	scopes, _ := s.written.due()
	return scopes
}

// TellLater has the other replicas told of scopes before anything is read from Redis: those
// of a Store that this one replaces, for one.
func (s *Store) TellLater(scopes ...cache.Scope) {
	for _, scope := range scopes {
		s.written.add(scope, s.o.Now())
	}
	s.written.tellAgain(s.o.Now())
}

// subscribe follows the other replicas' invalidations until ctx is done.
func (s *Store) subscribe(ctx context.Context) {
	for {
		err := s.receive(ctx)
		lost := s.subscribed.Swap(false)
		if ctx.Err() != nil {
			return
		}
		why := &trouble{reason: "the other replicas' invalidations do not arrive: " + reason(err), since: s.o.Now()}
		if last := s.unsubscribed.Load(); last != nil {
			why.since = last.since
		}
		s.unsubscribed.Store(why)
		if lost {
			s.o.Log.Warn("the subscription to the other replicas' invalidations is lost: the memory of the cache is cleared",
				"reason", reason(err))
			s.o.Listener.Flush() // before anything else: what the others do now does not arrive
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(silence, s.o.Interval)):
		}
	}
}

var errSilent = errors.New("following the other replicas: the subscription is silent")

// receive subscribes and applies what comes until the subscription is lost; the error
// says how.
func (s *Store) receive(ctx context.Context) error {
	sub := subscribe(ctx, s.client, s.channel)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	asked := false
	for {
		received, err := sub.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return err
		case asked || !s.subscribed.Load():
			return errSilent
		default:
			asked = true
			limited, cancel := context.WithTimeout(ctx, silence)
			err := sub.Ping(limited)
			cancel()
			if err != nil {
				return err
			}
		}
		switch m := received.(type) {
		case *redis.Subscription:
			s.subscribed.Store(true)
			s.unsubscribed.Store(nil)
			s.o.Listener.Flush() // of what was kept while nothing arrived
			s.written.tellAgain(s.o.Now())
		case *redis.Message:
			s.apply([]byte(m.Payload))
		}
	}
}

// apply does here what another replica has told.
func (s *Store) apply(message []byte) {
	content, err := s.ring.open(forNews, s.channel, message)
	if err == nil && len(content) != idSize+4 {
		err = errGarbage
	}
	switch {
	case err != nil: // something was invalidated, and nobody knows what
		s.unreadableValue(err)
		s.o.Listener.Flush()
	case string(content[:idSize]) != s.id:
		s.o.Listener.Apply(cache.Scope(binary.BigEndian.Uint32(content[idSize:])))
	}
}

// written are the scopes that this replica has made void lately. After trouble all of them
// are told, also those that were told before: a failover may have lost that, and telling it
// twice costs a few misses.
type written struct {
	mu     sync.Mutex
	lately map[cache.Scope]time.Time
	// wanted counts how often they had to be told, and done is what it was when that was done last.
	wanted, done uint64
}

const (
	// repeatFor is for how long a scope that was told is told again after trouble.
	repeatFor = 30 * time.Second
	// maxScopes is how many are told in one call; more become everything.
	maxScopes = 2048
)

// add notes a scope before it is told.
func (w *written) add(s cache.Scope, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.lately[s]; !known && len(w.lately) >= maxScopes {
		w.forget(now)
		if len(w.lately) >= maxScopes {
			clear(w.lately)
			s = cache.Everything
		}
	}
	if w.lately == nil {
		w.lately = make(map[cache.Scope]time.Time)
	}
	w.lately[s] = now
}

// forget drops what was told long enough ago. mu is held.
func (w *written) forget(now time.Time) {
	if w.wanted == w.done {
		maps.DeleteFunc(w.lately, func(_ cache.Scope, at time.Time) bool { return now.Sub(at) > repeatFor })
	}
}

// tellAgain has all of them told before anything is read from Redis.
func (w *written) tellAgain(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.forget(now); len(w.lately) > 0 {
		w.wanted++
	}
}

// due gives what has to be told, and what settle wants when that is done.
func (w *written) due() (scopes []cache.Scope, wanted uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted != w.done {
		scopes = slices.Collect(maps.Keys(w.lately))
	}
	return scopes, w.wanted
}

// settle notes that what due gave was told; what was written since then may not have been.
func (w *written) settle(wanted uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = wanted
}

// untold is how many have to be told.
func (w *written) untold() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted == w.done {
		return 0
	}
	return len(w.lately)
}

// seen holds the highest epoch of each scope that this replica has seen in its life. An epoch
// that is lower than that was lost by a failover, or put back together with the answers that it
// ended.
type seen [cache.ScopeCount]atomic.Uint64

// maxAhead is how far an epoch may be ahead of this replica's clock. Epochs begin with the
// time and are moved on by one, so that one which is further ahead is nobody's.
const maxAhead = time.Hour

// errBackwards is an epoch that is lower than it was.
var errBackwards error = unexpectedError("reading epochs: one is lower than before: Redis has lost writes, " +
	"or somebody has put old values back; it is moved on")

// note takes in an epoch, and reports whether it is not lower than before.
func (s *seen) note(scope cache.Scope, epoch uint64) bool {
	for {
		last := s[scope].Load()
		if epoch < last {
			return false
		}
		if s[scope].CompareAndSwap(last, epoch) {
			return true
		}
	}
}
