package replicas

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

const (
	// beat is how long a subscription may be silent before it is asked whether it
	// lives. One that does not answer within another beat is lost: well within the
	// second in which the replicas have to know.
	beat = 300 * time.Millisecond
	// batch is how many scopes are told in one call.
	batch = 128
)

// bump moves the epochs on and tells the other replicas. ARGV is the time in
// microseconds, the channel, and then scopes, each with its message. An epoch that
// cannot be counted up, for want of memory, is removed: it begins anew at the next
// read, where it never was.
var bump = redis.NewScript(`
for i = 3, #ARGV, 2 do
  local done
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    done = redis.pcall('HINCRBY', KEYS[1], ARGV[i], 1)
  else
    done = redis.pcall('HSET', KEYS[1], ARGV[i], ARGV[1])
  end
  if type(done) == 'table' and done.err then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
  redis.call('PUBLISH', ARGV[2], ARGV[i + 1])
end
return 1`)

// tell bumps scopes and has the other replicas hear of it. call is how: as a request,
// or as the probe that closes the circuit.
func (r *Redis) tell(ctx context.Context, within func(context.Context, func(context.Context) error) error,
	scopes []cache.Scope) error {
	for part := range slices.Chunk(scopes, batch) {
		args := make([]any, 0, 2+2*len(part))
		args = append(args, r.now().UnixMicro(), r.channel)
		for _, s := range part {
			message, err := r.message(s)
			if err != nil {
				return err
			}
			args = append(args, strconv.FormatUint(uint64(s), 10), message)
		}
		if err := within(ctx, func(ctx context.Context) error {
			return r.discard(ctx, r.epochs, bump.Run(ctx, r.client, []string{r.epochs}, args...).Err())
		}); err != nil {
			return err
		}
	}
	return nil
}

// message is one piece of news: who tells it, and what.
func (r *Redis) message(s cache.Scope) ([]byte, error) {
	body, err := cache.Invalidation{Scope: s}.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return r.ring.seal(forNews, r.channel, append(r.self[:len(r.self):len(r.self)], body...))
}

// subscribe hears the other replicas until ctx is done.
func (r *Redis) subscribe(ctx context.Context) {
	for {
		err := r.hear(ctx)
		heard := r.heard.Swap(false)
		if ctx.Err() != nil {
			return
		}
		r.deaf.CompareAndSwap(nil, &Trouble{Reason: "the other replicas' invalidations are not heard: " + reason(err),
			Since: r.now()})
		if heard {
			r.log.Warn("the subscription to the other replicas' invalidations is lost: the memory of the cache is cleared",
				"reason", reason(err))
			r.flush() // before anything else: what the others do now is not heard
		}
		timer := time.NewTimer(min(beat, r.pace))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

var errSilent = errors.New("hearing the other replicas: the subscription is silent")

// hear subscribes and listens until the subscription is lost, which the error says how.
func (r *Redis) hear(ctx context.Context) error {
	s := r.client.Subscribe(ctx)
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	limited, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	if err := s.Subscribe(limited, r.channel, r.circuits); err != nil {
		return err
	}
	asked := false
	for {
		news, err := s.ReceiveTimeout(ctx, beat)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked && r.heard.Load():
			asked = true
			limited, cancel := context.WithTimeout(ctx, beat)
			err := s.Ping(limited)
			cancel()
			if err != nil {
				return err
			}
			continue
		case err != nil && errors.As(err, &timeout) && timeout.Timeout():
			return errSilent
		case err != nil:
			return err
		}
		asked = false
		switch n := news.(type) {
		case *redis.Subscription:
			if n.Channel == r.channel && !r.heard.Swap(true) {
				r.deaf.Store(nil)
				r.flush() // what was kept while nobody listened
				r.outbox.again(r.now())
			}
		case *redis.Message:
			if n.Channel == r.circuits {
				r.heed([]byte(n.Payload))
			} else {
				r.apply([]byte(n.Payload))
			}
		}
	}
}

// apply tells the listeners what another replica has told.
func (r *Redis) apply(message []byte) {
	content, err := r.ring.open(forNews, r.channel, message)
	var news cache.Invalidation
	if err == nil && len(content) > len(r.self) {
		if [8]byte(content[:len(r.self)]) == r.self {
			return
		}
		err = news.UnmarshalBinary(content[len(r.self):])
	} else if err == nil {
		err = errGarbage
	}
	if err != nil { // something was invalidated, and nobody knows what
		r.unreadableValue(err)
		r.flush()
		return
	}
	for _, l := range r.listeners() {
		l.Apply(news)
	}
}

func (r *Redis) flush() {
	for _, l := range r.listeners() {
		l.Flush()
	}
}

// outbox holds what the other replicas have still to be told, and what they were told
// of late: a failover may have lost it, and telling it twice costs a few misses.
type outbox struct {
	mu sync.Mutex
	// due are the scopes to be told, each with the number of the write that was last:
	// one that comes while the scope is being told has to be told anew.
	due    map[cache.Scope]uint64
	writes uint64
	late   map[cache.Scope]time.Time
}

const (
	// remembered is for how long what was told is told again after trouble.
	remembered = 30 * time.Second
	// maxScopes bounds either list; what does not fit becomes everything.
	maxScopes = 4096
)

// pending tells whether something has still to be told.
func (o *outbox) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.due) > 0
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
		for old, at := range o.late {
			if now.Sub(at) > remembered {
				delete(o.late, old)
			}
		}
		if len(o.late) >= maxScopes {
			clear(o.late)
			s = cache.Everything
		}
	}
	o.late[s] = now
}

// again makes what was told of late due once more.
func (o *outbox) again(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s, at := range o.late {
		if now.Sub(at) <= remembered {
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

// settle takes out what list gave and was told, but for what was written since.
func (o *outbox) settle(told map[cache.Scope]uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.due, func(s cache.Scope, write uint64) bool { return told[s] == write })
}
