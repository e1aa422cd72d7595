package redisstore

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/cache"
)

// An invalidation moves the epoch of a scope on in Redis, which ends what is kept there
// under the old one, and is published for the memories of the other replicas.

const (
	// silence is how long a subscription may be silent before a PING is sent on it. One
	// that does not answer within the same time is lost: well within the
	// second in which the replicas have to know.
	silence = 300 * time.Millisecond
	// scopesPerCall is how many scopes are told in one call.
	scopesPerCall = 128
)

// bump moves epochs of the hash KEYS[1] on and tells the other replicas on the channel
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
		message, err := s.message(scope)
		if err != nil {
			return err
		}
		args = append(args, uint32(scope), s.seen.highest(scope), message)
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

// tellAll tells what could not be told before. It is part of a look, whose time may not be
// enough for all: what was told by then is not told again by the next.
func (s *Store) tellAll(ctx context.Context) error {
	due := s.untold.list()
	for part := range slices.Chunk(slices.Collect(maps.Keys(due)), scopesPerCall) {
		if err := s.tell(ctx, part); err != nil {
			return err
		}
		s.untold.settle(due, part)
	}
	return nil
}

// message is what the other replicas get: who tells it, and what.
func (s *Store) message(scope cache.Scope) ([]byte, error) {
	body, err := scope.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return s.ring.seal(forNews, s.channel, append([]byte(s.id), body...))
}

// Untold gives the scopes that the other replicas have still to be told of, and TellLater
// takes those of a Store that this one replaces.
func (s *Store) Untold() []cache.Scope { return slices.Collect(maps.Keys(s.untold.list())) }

// TellLater has the other replicas told of scopes before anything is read from Redis.
func (s *Store) TellLater(scopes []cache.Scope) {
	for _, scope := range scopes {
		s.untold.keep(scope)
	}
}

// subscribe follows the other replicas' invalidations until ctx is done.
func (s *Store) subscribe(ctx context.Context) {
	for {
		err := s.receive(ctx)
		lost := s.subscribed.Swap(false)
		if ctx.Err() != nil {
			return
		}
		trouble := &Trouble{Reason: "the other replicas' invalidations do not arrive: " + reason(err), Since: s.o.Now()}
		if last := s.unsubscribed.Load(); last != nil {
			trouble.Since = last.Since
		}
		s.unsubscribed.Store(trouble)
		if lost {
			s.o.Log.Warn("the subscription to the other replicas' invalidations is lost: the memory of the cache is cleared",
				"reason", reason(err))
			s.flush() // before anything else: what the others do now does not arrive
		}
		timer := time.NewTimer(min(silence, s.o.Interval))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

var errSilent = errors.New("following the other replicas: the subscription is silent")

// receive subscribes and applies what comes until the subscription is lost; the error
// says how.
func (s *Store) receive(ctx context.Context) error {
	sub := subscribe(ctx, s.client)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	limited, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	if err := sub.Subscribe(limited, s.channel); err != nil {
		return err
	}
	asked := false
	for {
		received, err := sub.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		switch {
		case err == nil:
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
			continue
		}
		asked = false
		switch m := received.(type) {
		case *redis.Subscription:
			if !s.subscribed.Swap(true) {
				s.unsubscribed.Store(nil)
				s.flush() // what was kept while nothing arrived
				s.untold.repeat(s.o.Now())
			}
		case *redis.Message:
			s.apply([]byte(m.Payload))
		}
	}
}

// apply does here what another replica has told.
func (s *Store) apply(message []byte) {
	content, err := s.ring.open(forNews, s.channel, message)
	var scope cache.Scope
	if err == nil && len(content) > idSize {
		if string(content[:idSize]) == s.id {
			return
		}
		err = scope.UnmarshalBinary(content[idSize:])
	} else if err == nil {
		err = errGarbage
	}
	if err != nil { // something was invalidated, and nobody knows what
		s.unreadableValue(err)
		s.flush()
		return
	}
	if s.o.Listener != nil {
		s.o.Listener.Apply(scope)
	}
}

func (s *Store) flush() {
	if s.o.Listener != nil {
		s.o.Listener.Flush()
	}
}

// outbox holds the scopes of which the other replicas have still to be told, and those of
// which they were told lately: a failover may have lost that, and telling it twice costs a
// few misses.
type outbox struct {
	mu sync.Mutex
	// due are the scopes to be told, each with the number of the write that was last:
	// one that comes while the scope is being told has to be told anew.
	due    map[cache.Scope]uint64
	writes uint64
	late   map[cache.Scope]time.Time
}

const (
	// repeatFor is for how long what was told is told again after trouble.
	repeatFor = 30 * time.Second
	// maxScopes bounds either list; what does not fit becomes everything.
	maxScopes = 4096
)

func (o *outbox) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.due)
}

// keep notes a scope that could not be told.
func (o *outbox) keep(s cache.Scope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(s)
}

func (o *outbox) add(s cache.Scope) {
	if o.due == nil {
		o.due = make(map[cache.Scope]uint64)
	}
	if _, known := o.due[s]; !known && len(o.due) >= maxScopes {
		clear(o.due)
		s = cache.Everything
	}
	o.writes++
	o.due[s] = o.writes
}

// told notes a scope that was told.
func (o *outbox) told(s cache.Scope, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.late == nil {
		o.late = make(map[cache.Scope]time.Time)
	}
	if _, known := o.late[s]; !known && len(o.late) >= maxScopes {
		maps.DeleteFunc(o.late, func(_ cache.Scope, at time.Time) bool { return now.Sub(at) > repeatFor })
		if len(o.late) >= maxScopes {
			clear(o.late)
			s = cache.Everything
		}
	}
	o.late[s] = now
}

// repeat makes what was told lately due once more.
func (o *outbox) repeat(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s, at := range o.late {
		if now.Sub(at) <= repeatFor {
			o.add(s)
		}
	}
	clear(o.late)
}

// list gives what is due.
func (o *outbox) list() map[cache.Scope]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.due)
}

// settle takes out scopes that list gave and that were told, but for those written since.
func (o *outbox) settle(due map[cache.Scope]uint64, told []cache.Scope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range told {
		if o.due[s] == due[s] {
			delete(o.due, s)
		}
	}
}

// seen holds the highest epoch of each scope that this replica has seen in its life, some
// 20 MB if it has seen all there are. An epoch that is lower than that was lost by a
// failover, or put back together with the answers that it ended.
type seen struct {
	mu     sync.Mutex
	epochs map[cache.Scope]uint64
}

// maxAhead is how far an epoch may be ahead of this replica's clock. Epochs begin with the
// time and are moved on by one, so that one which is further ahead is nobody's.
const maxAhead = time.Hour

// errBackwards is an epoch that is lower than it was.
var errBackwards error = unexpectedError("reading epochs: one is lower than before: Redis has lost writes, " +
	"or somebody has put old values back; it is moved on")

func (s *seen) highest(scope cache.Scope) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epochs[scope]
}

// note takes in an epoch, and reports whether it is not lower than before.
func (s *seen) note(scope cache.Scope, epoch uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch < s.epochs[scope] {
		return false
	}
	if s.epochs == nil {
		s.epochs = make(map[cache.Scope]uint64)
	}
	s.epochs[scope] = epoch
	return true
}
