package redisstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/printable"
)

// Trouble is what is wrong with Redis.
type Trouble struct {
	// Reason is Redis's own answer, or what the network said. It names the server and
	// holds no secret.
	Reason string
	Since  time.Time
	// Away says that Redis is not asked for the moment.
	Away bool
}

// health is how Redis is doing. The first call that finds it away keeps all others from
// it, so that one moment of trouble costs a request its time limit once. Only a look in
// the background ends that, so that no request waits to find out.
type health struct {
	now     func() time.Time
	log     *slog.Logger
	trouble atomic.Pointer[Trouble] // nil if all is well
	opened  atomic.Uint64           // how often Redis was found away

	mu    sync.Mutex // held while trouble is changed
	slow  int        // requests that used up their budget since begun
	begun time.Time
}

// Redis is left alone when slowRequests within slowWindow have used up their budget.
const (
	slowRequests = 5
	slowWindow   = 10 * time.Second
)

func newHealth(now func() time.Time, log *slog.Logger) *health { return &health{now: now, log: log} }

// away reports whether Redis is left alone.
func (h *health) away() bool {
	t := h.trouble.Load()
	return t != nil && t.Away
}

// tooSlow counts a request that used up its budget, and reports whether they are too many.
func (h *health) tooSlow() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); h.slow == 0 || now.Sub(h.begun) > slowWindow {
		h.slow, h.begun = 0, now
	}
	if h.slow++; h.slow < slowRequests {
		return false
	}
	h.slow = 0
	return true
}

// note takes in what a call said, or what a look in the background found. Trouble is remembered until a look
// finds none.
func (h *health) note(v verdict, err error, looked bool) {
	if v == neutral || v == well && !looked {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.trouble.Load()
	if v == well {
		h.trouble.Store(nil)
		if last != nil {
			h.log.Info("Redis is well again", "troubleSince", last.Since)
		}
		return
	}
	next := &Trouble{Reason: reason(err), Since: h.now(), Away: v == away}
	if last != nil {
		if last.Away && !next.Away && !looked {
			return // only a look ends an absence
		}
		next.Since = last.Since
	}
	h.trouble.Store(next)
	if last == nil || next.Away && !last.Away {
		if next.Away {
			h.opened.Add(1)
		}
		h.log.Warn("Redis is in trouble; the gateway goes on without it where it has to",
			"reason", next.Reason, "away", next.Away)
	}
}

// verdict is what a call said about Redis.
type verdict uint8

const (
	// well is the answer that was hoped for.
	well verdict = iota
	// neutral says nothing: the caller went away.
	neutral
	// poor is an answer at once, though not the one hoped for: nobody had to wait.
	poor
	// away is no answer in time, or one that says that there will be none for a while.
	away
)

// judge tells what an error says. outer is the context of whoever asked, without the time
// limit of the call.
func judge(outer context.Context, err error) verdict {
	var reply redis.Error
	var unexpected unexpectedError
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return well
	case ended(outer):
		return neutral
	case errors.As(err, &reply):
		return judgeReply(reply.Error())
	case errors.As(err, &unexpected):
		return poor
	default: // time-outs, refused connections, cut ones
		return away
	}
}

// ended tells that whoever asked waits no longer. A connection's deadline, which is the
// context's, may be over a moment before the context says so itself.
func ended(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// unexpectedError is an answer that came at once and makes no sense.
type unexpectedError string

func (e unexpectedError) Error() string { return string(e) }

// judgeReply tells errors of one key or command from those of a server that is of no use
// as a whole. A server that only reads is of no use, since no epoch can be moved on there.
func judgeReply(text string) verdict {
	for _, prefix := range []string{
		"LOADING ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "NOREPLICAS ", "NOAUTH ", "WRONGPASS ", "MISCONF ",
		"ERR max number of clients",
	} {
		if strings.HasPrefix(text, prefix) {
			return away
		}
	}
	return poor
}

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
		s.health.note(judge(ctx, err), err, true)
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
		s.untold.repeat(s.o.Now())
	}
	if err := s.tellAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := s.join(ctx); err != nil {
		return err
	}
	if s.health.away() && time.Since(began) > s.o.Timeout/2 { // requests ask more than once
		return errSlow
	}
	if err := s.storeLists(ctx); err != nil {
		return err
	}
	return s.compareKeys(ctx)
}

// Check looks at Redis once, as Run does, and tries the subscription. It tells how long
// one look took, and it is an error if that is longer than requests wait. It is for a Store
// that does not run.
func (s *Store) Check(ctx context.Context) (time.Duration, error) {
	defer s.leave()
	if err := s.look(ctx); err != nil { // which connects, too
		return 0, fmt.Errorf("asking Redis: %s", reason(err))
	}
	began := time.Now()
	if err := s.look(ctx); err != nil {
		return 0, fmt.Errorf("asking Redis: %s", reason(err))
	}
	took := time.Since(began)
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

// fewerAfter is how many looks must find fewer replicas before they count as fewer.
const fewerAfter = 10

// member notes in the hash KEYS[1] that the replica ARGV[1] is there, and gives how many
// are. Those that were not for ARGV[2] seconds are dropped.
var member = redis.NewScript(`
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local last = tonumber(all[i + 1])
  if not last or math.abs(now - last) > tonumber(ARGV[2]) then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
redis.call('HSET', KEYS[1], ARGV[1], now)
redis.call('PEXPIRE', KEYS[1], 86400000)
return redis.call('HLEN', KEYS[1])`)

// join counts the replicas, this one included. A Redis that has lost everything knows of the
// others only after their next look, so that they count as fewer only when fewerAfter looks
// have found so: otherwise the first one would take the whole rate for its share.
func (s *Store) join(ctx context.Context) error {
	n, err := member.Run(ctx, s.client, []string{s.members}, s.id, s.memberFor.Seconds()).Int64()
	if err != nil {
		return s.discard(ctx, s.members, err)
	}
	if n = max(n, 1); n < s.replicas.Load() && s.fewer < fewerAfter {
		s.fewer++
		return nil
	}
	s.replicas.Store(n)
	s.fewer = 0
	return nil
}

// leave has this replica counted no more.
func (s *Store) leave() {
	_ = s.within(context.Background(), backgroundFactor*s.o.Timeout, func(ctx context.Context) error {
		return s.client.HDel(ctx, s.members, s.id).Err()
	})
}

// keyFor is how long the replicas remember which key an id stands for.
const keyFor = time.Hour

// compareKeys compares the encryption keys with the other replicas': two keys of the same
// id would each take the other's values for broken.
func (s *Store) compareKeys(ctx context.Context) error {
	if !s.sealed() {
		return nil
	}
	pipe := s.client.Pipeline()
	known := make([]*redis.StringCmd, len(s.ring.keys))
	for i, k := range s.ring.keys {
		at := s.prefix + "key:" + k.id
		pipe.SetNX(ctx, at, k.check(), keyFor)
		known[i] = pipe.Get(ctx, at)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for i, k := range s.ring.keys {
		if v := known[i].Val(); v != "" && v != k.check() {
			return unexpectedError(fmt.Sprintf("comparing encryption keys: another replica has another key under the id %q; "+
				"give every key an id of its own", k.id))
		}
	}
	return nil
}

// check is a value that tells one key from another and nothing of it.
func (k *derived) check() string {
	mac := hmac.New(sha256.New, k.values)
	mac.Write([]byte("which key this is"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
