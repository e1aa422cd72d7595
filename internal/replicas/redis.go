// Package replicas keeps in Redis what the replicas of a gateway share: access
// tokens, so that ten replicas ask the Authorization Server once; the last good list
// of Document Providers, which outlives a restart of them all; and, as the second
// level of the response cache, upstreams' answers with the epochs that invalidate them.
//
// Redis is never needed. Every call has a few milliseconds; the first that gets no
// answer opens a circuit, and from then on nobody asks until a probe in the background
// has found Redis well. What could not be told the other replicas meanwhile is told
// before the circuit closes.
//
// Redis is not trusted either. Values are compressed and sealed with AES-256-GCM
// (NIST SP 800-38D), bound to the key that they stand under and to what they are for;
// keys are named by HMAC-SHA-256 (RFC 2104). Without encryption keys, nothing that
// belongs to an enterprise and no token is written.
//
// Replicas also spend rates together (Rate), each its own share of them while Redis is
// away, and warn each other of upstreams whose circuits have opened (Warn).
package replicas

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/cache"
)

// Defaults of Options.
const (
	// defaultPatience is half of what a request may wait in all: one that meets a frozen
	// Redis waits once.
	defaultPatience = 25 * time.Millisecond
	defaultProbe    = time.Second
	defaultReplicas = 3
)

// Options are what the shared store needs from outside.
type Options struct {
	// Address is where Redis is.
	Address Address
	// Keys seal what is written; the first writes, all read. Without any, nothing that
	// belongs to an enterprise and no token is written.
	Keys []Key
	// Namespace parts the gateways of one environment from those of another that use
	// the same server: it is part of every name.
	Namespace string
	// Patience is the longest that one call may keep a request waiting; 25 ms if 0.
	Patience time.Duration
	// Replicas is how many replicas share a rate as long as Redis has not told; 3 if 0.
	Replicas int
	// Probe is how often Redis is looked at in the background, and so how soon it is
	// used again after trouble; 1 s if 0.
	Probe time.Duration
	// Now tells the time; time.Now if nil.
	Now func() time.Time
	// Rand gives nonces and names; crypto/rand.Reader if nil. It is used concurrently.
	Rand io.Reader
	// Log receives what the platform team should know; discarded if nil.
	Log *slog.Logger
}

// Redis is the store that replicas share. It is safe for concurrent use. Its methods
// can be called before Run and after it; only while Run runs does it recover from
// trouble and hear of the other replicas.
type Redis struct {
	address  Address
	patience time.Duration
	pace     time.Duration
	now      func() time.Time
	random   io.Reader
	log      *slog.Logger
	ring     *ring
	client   redis.UniversalClient
	circuit  *circuit
	// prefix begins every name; epochs is the hash of the epochs, and channel is where
	// replicas tell each other of invalidations. Channels know no databases.
	prefix, epochs, channel string
	// circuits is the channel on which they warn each other of open circuits.
	circuits string
	// self tells this replica's news from the others'.
	self [8]byte

	// ears are told of the other replicas' invalidations.
	earsMu sync.Mutex
	ears   []Listener
	// heeding are told of the other replicas' open circuits.
	heeding []func(Circuit)
	// heard says that the subscription stands, deaf why it does not.
	heard atomic.Bool
	deaf  atomic.Pointer[Trouble]

	outbox outbox
	// warnings wait to be told to the other replicas.
	warnings chan Circuit
	// members are the replicas as this one sees them.
	members *members
	// slow counts the requests that Redis has kept for too long.
	slow slowness
	// lists wait to be stored: pointers to values, by their names.
	lists sync.Map
	// unreadable counts values that could not be opened.
	unreadable atomic.Uint64
}

// Listener follows the invalidations of the other replicas.
type Listener interface {
	// Apply does here what another replica did there.
	Apply(cache.Invalidation)
	// Flush forgets everything: some invalidation may have been missed.
	Flush()
}

// New checks the options. Redis is not called: it may be down, and come later.
func New(o Options) (*Redis, error) {
	r := &Redis{address: o.Address, patience: o.Patience, pace: o.Probe, now: o.Now, random: o.Rand, log: o.Log,
		warnings: make(chan Circuit, unpublished)}
	if r.patience <= 0 {
		r.patience = defaultPatience
	}
	if r.pace <= 0 {
		r.pace = defaultProbe
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.random == nil {
		r.random = rand.Reader
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	var err error
	r.prefix = "ebox:"
	if o.Namespace != "" {
		r.prefix += o.Namespace + ":"
	}
	r.epochs, r.channel = r.prefix+"epochs", r.prefix+"news:"+strconv.Itoa(o.Address.Database)
	r.circuits = r.prefix + "circuits:" + strconv.Itoa(o.Address.Database)
	r.members = newMembers(r, cmp.Or(max(o.Replicas, 0), defaultReplicas), r.now)
	if r.ring, err = newRing(o.Keys, r.prefix, r.random); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r.random, r.self[:]); err != nil {
		return nil, fmt.Errorf("naming this replica: %w", err)
	}
	if r.client, err = o.Address.client(r.patience); err != nil {
		return nil, err
	}
	r.circuit = newCircuit(r.pace, r.now, r.log)
	return r, nil
}

// Listen has the invalidations of the other replicas told to l, from Run on.
func (r *Redis) Listen(l Listener) {
	r.earsMu.Lock()
	defer r.earsMu.Unlock()
	r.ears = append(r.ears, l)
}

func (r *Redis) listeners() []Listener {
	r.earsMu.Lock()
	defer r.earsMu.Unlock()
	return r.ears
}

// Run looks after Redis until ctx is done: it finds out when Redis is well again, and
// hears what the other replicas do. At its end the connections are closed, and whoever
// still asks goes on without Redis. Run is called at most once.
func (r *Redis) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { r.subscribe(ctx) })
	loops.Go(func() { r.probing(ctx) })
	loops.Go(func() { r.mustering(ctx) })
	loops.Go(func() { r.warning(ctx) })
	loops.Wait()
	_ = r.client.Close() // nothing is left to be lost
}

// Close gives up the connections of a Redis that Run was never called for.
func (r *Redis) Close() { _ = r.client.Close() }

// Sealed tells whether encryption keys are set, and tokens and what belongs to an
// enterprise therefore shared.
func (r *Redis) Sealed() bool { return r.ring.sealed() }

// errAway is what a call gets while nobody asks Redis.
var errAway = errors.New("asking Redis: it is in trouble, and left alone until it is well")

// attempt makes a call that belongs to no request: with a patience of its own, or as the
// probe. See call.
func (r *Redis) attempt(ctx context.Context, probing bool, patience time.Duration,
	f func(ctx context.Context) error) error {
	done, err := r.circuit.admit(probing)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = f(limited)
	done(judge(ctx, err), err)
	return err
}
