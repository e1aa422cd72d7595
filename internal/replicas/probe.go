package replicas

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// probing looks after Redis until ctx is done. It alone closes the circuit.
func (r *Redis) probing(ctx context.Context) {
	tick := time.NewTicker(r.pace)
	defer tick.Stop()
	for {
		r.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probe finds out whether Redis answers in time and can be written to, and tells what
// is still to be told. If the circuit was open, a probe that was answered closes it.
func (r *Redis) probe(ctx context.Context) {
	err := r.attempt(ctx, true, r.patience, r.look)
	switch {
	case ctx.Err() != nil || errors.Is(err, errAway): // too early for another look
	case err != nil:
		r.circuit.found(err, judge(ctx, err) == away)
	default:
		r.circuit.clear()
	}
}

func (r *Redis) look(ctx context.Context) error {
	if c, ok := r.client.(*redis.ClusterClient); ok {
		if err := c.ForEachMaster(ctx, func(ctx context.Context, n *redis.Client) error {
			return n.Ping(ctx).Err()
		}); err != nil {
			return err
		}
	}
	if !r.circuit.closed() { // the trouble may have been a failover
		r.outbox.again(r.now())
	}
	if due := r.outbox.list(); len(due) > 0 {
		within := func(ctx context.Context, f func(context.Context) error) error { return f(ctx) }
		if err := r.tell(ctx, within, slices.Collect(maps.Keys(due))); err != nil {
			return err
		}
		r.outbox.settle(due)
	}
	began := time.Now()
	if err := r.client.Set(ctx, r.prefix+"probe:"+base64.RawURLEncoding.EncodeToString(r.self[:]), r.now().UnixMilli(),
		10*r.pace).Err(); err != nil {
		return err
	}
	if !r.circuit.closed() && time.Since(began) > r.patience/2 { // requests ask more than once
		return errSlow
	}
	if err := r.storeLists(ctx); err != nil {
		return err
	}
	return r.sameKeys(ctx)
}

// Check looks at Redis once, as the probe does, and tries the subscription. It tells
// how long one look took, and it is an error if that is longer than requests wait.
func (r *Redis) Check(ctx context.Context) (time.Duration, error) {
	if err := r.look(ctx); err != nil { // which connects, too
		return 0, fmt.Errorf("asking Redis: %w", err)
	}
	began := time.Now()
	if err := r.look(ctx); err != nil {
		return 0, fmt.Errorf("asking Redis: %w", err)
	}
	took := time.Since(began)
	s := r.client.Subscribe(ctx, r.channel, r.circuits) // both at once, as hear does
	defer s.Close()
	if _, err := s.ReceiveTimeout(ctx, dialLimit); err != nil {
		return took, fmt.Errorf("subscribing to %s and %s: %w", r.channel, r.circuits, err)
	}
	if took > r.patience {
		return took, fmt.Errorf("asking Redis: one look took %s, and no request waits longer than %s",
			took.Round(time.Millisecond), r.patience)
	}
	return took, nil
}

// keyFor is how long the replicas remember which key an id stands for.
const keyFor = time.Hour

// sameKeys compares the encryption keys with the other replicas': two keys of the same
// id would each take the other's values for broken.
func (r *Redis) sameKeys(ctx context.Context) error {
	if !r.Sealed() {
		return nil
	}
	pipe := r.client.Pipeline()
	known := make([]*redis.StringCmd, len(r.ring.keys))
	for i, k := range r.ring.keys {
		at := r.prefix + "key:" + k.id
		pipe.SetNX(ctx, at, k.check(), keyFor)
		known[i] = pipe.Get(ctx, at)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for i, k := range r.ring.keys {
		if v := known[i].Val(); v != "" && v != k.check() {
			return odd(fmt.Sprintf("comparing encryption keys: another replica has another key under the id %q; give every "+
				"key an id of its own", k.id))
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
