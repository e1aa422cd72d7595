package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/printable"
)

// trouble is what is wrong with Redis.
type trouble struct {
	// reason is Redis's own answer, or what the network said. It names the server and
	// holds no secret.
	reason string
	since  time.Time
	// away says that Redis is not asked for the moment.
	away bool
}

// health is how Redis is doing. The first call that finds it away keeps all others from
// it, so that one moment of trouble costs a request its time limit once. Only a look in
// the background ends that, so that no request waits to find out.
type health struct {
	now     func() time.Time
	log     *slog.Logger
	mu      sync.Mutex              // held while trouble is changed
	trouble atomic.Pointer[trouble] // nil if all is well
	opened  atomic.Uint64           // how often Redis was found away
}

// away reports whether Redis is left alone.
func (h *health) away() bool {
	t := h.trouble.Load()
	return t != nil && t.away
}

// note takes in what a call said, or what a look in the background found. Trouble is remembered until a look
// finds none.
func (h *health) note(v verdict, err error, looked bool) {
	if v == well && !looked {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.trouble.Load()
	was := last != nil && last.away
	switch {
	case v == well:
		if h.trouble.Store(nil); last != nil {
			h.log.Info("Redis is well again", "troubleSince", last.since)
		}
		return
	case was && v == poor && !looked:
		return // only a look ends an absence
	}
	next := &trouble{reason: reason(err), since: h.now(), away: v == away}
	if last != nil {
		next.since = last.since
	}
	h.trouble.Store(next)
	if next.away && !was {
		h.opened.Add(1)
	}
	if last == nil || next.away && !was {
		h.log.Warn("Redis is in trouble; the gateway goes on without it where it has to",
			"reason", next.reason, "away", next.away)
	}
}

// verdict is what a call said about Redis.
type verdict uint8

const (
	// well is the answer that was hoped for.
	well verdict = iota
	// poor is an answer at once, though not the one hoped for: nobody had to wait.
	poor
	// away is no answer in time, or one that says that there will be none for a while.
	away
)

// judge sorts an error by what it says of Redis.
func judge(err error) verdict {
	var reply redis.Error
	var unexpected unexpectedError
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return well
	case errors.As(err, &reply):
		for _, prefix := range useless {
			if strings.HasPrefix(reply.Error(), prefix) {
				return away
			}
		}
		return poor
	case errors.As(err, &unexpected):
		return poor
	default: // time-outs, refused connections, cut ones
		return away
	}
}

// useless are the errors of a server that is of no use as a whole; others are of one key or
// command. A server that only reads is of no use, since no epoch can be moved on there.
var useless = [...]string{
	"LOADING ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "NOREPLICAS ", "NOAUTH ", "WRONGPASS ", "MISCONF ",
	"ERR max number of clients",
}

// ended reports whether whoever asked waits no longer. A connection's deadline, which is the
// context's, may be over a moment before the context says so itself.
func ended(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// unexpectedError is an answer that came at once and makes no sense.
type unexpectedError string

func (e unexpectedError) Error() string { return string(e) }

// maxReason is the most of an error that is shown, in bytes: Redis words what it answers as it likes.
const maxReason = 300

// reason says what an error means to the platform team, printable and clipped.
func reason(err error) string {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return "Redis did not answer in time"
	}
	// Several operations fail together, and mostly for the same reason.
	lines := slices.Compact(strings.Split(err.Error(), "\n"))
	return printable.Text(strings.Join(lines, "; "), maxReason)
}

// watch looks at Redis now and then until ctx is done. It alone ends an absence.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, s.o.Timeout)
		err := s.look(limited)
		cancel()
		if ctx.Err() == nil {
			s.health.note(judge(err), err, true)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look finds out whether Redis answers in time and can be written to, and does what was
// left undone while it was away.
func (s *Store) look(ctx context.Context) error {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		ping := func(ctx context.Context, n *redis.Client) error { return n.Ping(ctx).Err() }
		if err := c.ForEachMaster(ctx, ping); err != nil {
			return err
		}
	}
	if s.health.away() { // which may have been a failover
		s.written.tellAgain(s.o.Now())
	}
	if due, wanted := s.written.due(); len(due) > 0 {
		if err := s.tell(ctx, due); err != nil {
			return err
		}
		s.written.settle(wanted)
	}
	began := time.Now()
	if err := s.join(ctx); err != nil {
		return err
	}
	if s.health.away() && time.Since(began) > s.o.Timeout/2 { // requests ask more than once
		return errSlow
	}
	return s.storeLists(ctx)
}

// Check looks at Redis, as Run does, and tries the subscription. It returns how long
// a look took, with an error if that is longer than requests wait. It is for a Store
// that does not run.
func (s *Store) Check(ctx context.Context) (took time.Duration, err error) {
	for range 2 { // the first one connects, too
		began := time.Now()
		if err := s.look(ctx); err != nil {
			return 0, fmt.Errorf("asking Redis: %s", reason(err))
		}
		took = time.Since(began)
	}
	sub := subscribe(ctx, s.client, s.channel)
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(ctx, dialLimit); err != nil {
		return took, fmt.Errorf("subscribing to %s: %s", s.channel, reason(err))
	}
	if took > s.o.Timeout {
		return took, fmt.Errorf("asking Redis: one look took %s, and no request waits longer than %s",
			took.Round(time.Millisecond), s.o.Timeout)
	}
	return took, nil
}

const (
	// memberFor is how long a replica counts that left.
	memberFor = 10 * time.Second
	// fewerAfter is how many looks must find fewer replicas before they count as fewer.
	fewerAfter = 10
)

// member notes in the hash KEYS[1] that the replica ARGV[1] is there and what it says,
// ARGV[2]. It gives what all say that were there in the last ARGV[3] seconds, and drops the others.
var member = redis.NewScript(`
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], 86400000)
local all, there = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local last, says = string.match(all[i + 1], '^(%d+) (.*)$')
  if last and math.abs(now - last) <= tonumber(ARGV[3]) then
    there[#there + 1] = says
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return there`)

// join counts the replicas, this one included. A Redis that has lost everything knows of the
// others only after their next look. So they count as fewer only when fewerAfter looks
// have found so: otherwise the first one would take the whole rate for its share.
//
// It also compares the encryption keys with the other replicas': two keys of the same id
// would each take the other's values for broken.
func (s *Store) join(ctx context.Context) error {
	checks := make(url.Values)
	for _, k := range s.ring.keys { // a value that tells one key from another and nothing of it
		checks.Set(k.id, base64.RawURLEncoding.EncodeToString(mac(k.values, []byte("which key this is"))))
	}
	there, err := member.Run(ctx, s.client, []string{s.members}, s.id, checks.Encode(), memberFor.Seconds()).StringSlice()
	if err != nil {
		return s.discard(ctx, s.members, err)
	}
	if n := int64(max(len(there), 1)); n >= s.replicas.Load() || s.fewer >= fewerAfter {
		s.replicas.Store(n)
		s.fewer = 0
	} else {
		s.fewer++
	}
	for _, says := range there {
		others, _ := url.ParseQuery(says) // what cannot be read is nobody's
		for id := range checks {
			if others.Has(id) && others.Get(id) != checks.Get(id) {
				return unexpectedError(fmt.Sprintf("comparing encryption keys: another replica has another key under the id %q; "+
					"give every key an id of its own", id))
			}
		}
	}
	return nil
}
