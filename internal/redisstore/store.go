// Package redisstore keeps in Redis what the replicas of a gateway share:
//
//   - access tokens, so that ten replicas ask the Authorization Server once (Obtain);
//   - upstreams' answers, as the second level of the response cache, and the epochs that
//     invalidate them (Load, Save, Bump, Options.Listener);
//   - rates for all replicas (Spend);
//   - the last list of Document Providers and what was switched to maintenance (List).
//
// Redis is never needed. Each call has a time limit of a few milliseconds. The first that
// gets no answer marks Redis as away; from then on nobody asks, until a look in the
// background has found it well. Invalidations that Redis did not take are sent before
// anything is read from it again.
//
// Redis is not trusted either. Values are compressed and sealed with AES-256-GCM
// (NIST SP 800-38D), bound to the key that they stand under and to what they are for;
// keys are named by HMAC-SHA-256 (RFC 2104). Without encryption keys, nothing that
// belongs to an enterprise and no token is written. docs/redis.md says what somebody who
// can write to Redis can do.
package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

const (
	// idSize is that of Store.id: 40 random bits.
	idSize = 8
	// backgroundFactor is how many times Options.Timeout a call may take that no request
	// waits for.
	backgroundFactor = 4
)

// Options are what a Store needs from outside.
type Options struct {
	// Address is where Redis is and how to log in.
	Address config.RedisAddress
	// Roots are the authorities that vouch for servers over TLS; those of the system if nil.
	Roots *x509.CertPool
	// Keys seal what is written; the first writes, all read. Without any, nothing that
	// belongs to an enterprise and no token is written.
	Keys []Key
	// Namespace separates the gateways of one environment from those of another that use
	// the same server: it is part of every name.
	Namespace string
	// Timeout is the longest that a request waits for one call.
	Timeout time.Duration
	// Replicas is how many replicas share a rate as long as Redis was never reached.
	Replicas int
	// Interval is the time between two looks at Redis in the background, and so how soon it
	// is used again after trouble; 1 s if 0.
	Interval time.Duration
	// Listener receives the other replicas' invalidations.
	Listener Listener
	Now      func() time.Time
	// Log receives what the platform team should know.
	Log *slog.Logger
}

// Listener follows the invalidations of the other replicas.
type Listener interface {
	// Apply does here what another replica did there.
	Apply(cache.Scope)
	// Flush forgets everything: some invalidation may have been missed.
	Flush()
}

// client is a redis.UniversalClient, by what is used of it. Through a field of that type, or
// through the type that Subscribe gives, each package that knows of Store would compile
// thousands of the library's methods anew; see subscribe.
type client interface {
	redis.Scripter
	Pipeline() redis.Pipeliner
	Get(ctx context.Context, key string) *redis.StringCmd
	Set(ctx context.Context, key string, value any, keep time.Duration) *redis.StatusCmd
	Del(ctx context.Context, keys ...string) *redis.IntCmd
	Close() error
}

func subscribe(ctx context.Context, c client, channels ...string) *redis.PubSub {
	return c.(redis.UniversalClient).Subscribe(ctx, channels...)
}

// Store is what replicas share, as one of them sees it. It is safe for concurrent use.
// Its methods can be called before Run and after it; only while Run runs does it recover
// from trouble and follow the other replicas.
type Store struct {
	o      Options
	client client
	ring   *ring
	health health
	// epochs is the hash of the epochs, members that of the replicas. On channel replicas tell
	// one another of invalidations; channels know no databases, so that its name has the
	// database's number.
	epochs, members, channel string
	// id tells this replica from the others, in idSize bytes.
	id string

	written written
	seen    *seen
	// subscribed says that the other replicas' invalidations arrive, unsubscribed why not.
	subscribed   atomic.Bool
	unsubscribed atomic.Pointer[trouble]
	// replicas is how many share rates, 0 if Redis was never reached. fewer is how many looks
	// in a row have found fewer; nothing but looks uses it.
	replicas atomic.Int64
	fewer    int
	// lists wait to be stored: pointers to values, by their names.
	lists sync.Map
	// unreadable counts values that could not be opened.
	unreadable atomic.Uint64
}

// New makes a Store. Redis is not called: it may be down, and come later.
func New(o Options) *Store {
	o.Interval = cmp.Or(o.Interval, time.Second)
	prefix := "ebox:"
	if o.Namespace != "" {
		prefix += o.Namespace + ":"
	}
	return &Store{
		o: o, client: newClient(o.Address, o.Roots, o.Timeout), ring: newRing(o.Keys, prefix),
		health: health{now: o.Now, log: o.Log}, seen: new(seen), id: rand.Text()[:idSize],
		epochs: prefix + "epochs", members: prefix + "replicas",
		channel: prefix + "news:" + strconv.Itoa(o.Address.Database),
	}
}

// Run looks after Redis until ctx is done: it finds out when Redis is well again, and
// follows what the other replicas do. At its end the connections are closed, and whoever
// still asks goes on without Redis. Run is called at most once.
func (s *Store) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { s.subscribe(ctx) })
	loops.Go(func() { s.watch(ctx) })
	loops.Wait()
	_ = s.client.Close() // nothing is left to be lost
}

// Close gives up the connections of a Store that Run was never called for.
func (s *Store) Close() { _ = s.client.Close() }

// budget is how long one request may wait for Redis altogether, however often it asks:
// for the rates of its enterprise, its caller and its upstream, for two partitions of the
// cache. A Redis that answers each time just before the time limit would otherwise cost
// it many times that.
const budget = 50 * time.Millisecond

var (
	// errAway is what a call gets while nobody asks Redis.
	errAway = errors.New("asking Redis: it is in trouble, and left alone until it is well")
	// errSpent is what a request gets that has waited for Redis long enough.
	errSpent = errors.New("asking Redis: this request has waited for it long enough")
	errSlow  = errors.New("asking Redis: it answers, but so slowly that requests use up the time that they may wait")
)

// ask makes one call of a request, or a few, bounded as a whole by Options.Timeout and by
// what is left of the request's allowance (nil for none). While Redis is away the error
// comes at once. Whoever gets an error goes on without Redis. A request that uses up its
// allowance gets no answer in time, and so has Redis left alone.
func (s *Store) ask(ctx context.Context, a *call.Allowance, f func(context.Context) error) error {
	if a == nil {
		return s.within(ctx, s.o.Timeout, f)
	}
	whole := max(budget, s.o.Timeout)
	if a.Spent() >= whole {
		return errSpent
	}
	began := time.Now()
	err := s.within(ctx, min(s.o.Timeout, whole-a.Spent()), f)
	a.Spend(time.Since(began))
	return err
}

// within makes a call, or a few, that may take as long as limit. See ask.
func (s *Store) within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	if s.health.away() {
		return errAway
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := f(limited)
	if !ended(ctx) { // then the error says nothing about Redis
		s.health.note(judge(err), err, false)
	}
	return err
}

// discard removes what has another type than the gateway ever writes there, so that the
// next one can. It gives back the error.
func (s *Store) discard(ctx context.Context, at string, err error) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		s.client.Del(ctx, at)
	}
	return err
}

// unreadableValue notes a value that could not be opened. It is trouble until the next
// look: somebody has written there who should not, or keys differ.
func (s *Store) unreadableValue(err error) {
	s.unreadable.Add(1)
	s.health.note(poor, err, false)
}

// Status is what the platform team may know of Redis. It holds no secret.
type Status struct {
	Kind  string   `json:"kind"`
	Hosts []string `json:"hosts"`
	// Encrypted says that encryption keys are set, Keys their ids; the first seals.
	Encrypted bool     `json:"encrypted"`
	Keys      []string `json:"keys,omitempty"`
	// State is one of the State… constants, Reason why it is not StateUp, since Since.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Subscribed says that the other replicas' invalidations arrive here.
	Subscribed bool `json:"subscribed"`
	// Untold counts invalidations that the other replicas have not been told yet.
	Untold int `json:"untold"`
	// Replicas counts the replicas that share rates, this one included; 0 if Redis was
	// never reached.
	Replicas int `json:"replicas,omitempty"`
	// Opened counts how often Redis had to be left alone, Unreadable the values that
	// could not be opened.
	Opened     uint64 `json:"opened"`
	Unreadable uint64 `json:"unreadable"`
}

// States of Redis.
const (
	// StateUp is Redis as it should be.
	StateUp = "up"
	// StateTroubled is Redis that answers, but not as it should.
	StateTroubled = "troubled"
	// StateAway is Redis that is left alone until it is well.
	StateAway = "away"
)

// Status says how Redis is doing.
func (s *Store) Status() Status {
	now := Status{
		Kind: string(s.o.Address.Kind), Hosts: s.o.Address.Hosts, Encrypted: s.ring.sealed(), State: StateUp,
		Subscribed: s.subscribed.Load(), Untold: s.written.untold(), Replicas: int(s.replicas.Load()),
		Opened: s.health.opened.Load(), Unreadable: s.unreadable.Load(),
	}
	for _, k := range s.ring.keys {
		now.Keys = append(now.Keys, k.id)
	}
	if t := cmp.Or(s.health.trouble.Load(), s.unsubscribed.Load()); t != nil {
		now.State, now.Reason, now.Since = StateTroubled, t.reason, t.since
		if t.away {
			now.State = StateAway
		}
	}
	return now
}
