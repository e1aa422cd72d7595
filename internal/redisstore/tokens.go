package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/authn"
)

const (
	// askedFor is how long a replica may be asking if its context has no end.
	askedFor = 10 * time.Second
	// slack is the time that a value may have been under way to Redis.
	slack = 2 * time.Second

	firstLook, lastLook = 10 * time.Millisecond, 100 * time.Millisecond
)

// give gives up the lock KEYS[2] if it is still ARGV[1]'s, and stores the token ARGV[2] before,
// for ARGV[3] milliseconds, unless it is empty.
var give = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' then
  redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return redis.call('DEL', KEYS[2])`)

// claim is one call of Obtain.
type claim struct {
	s *Store
	// key is what the token has to be for, stale the hash of the one that it must not be.
	key   authn.TokenKey
	stale string
	// token and lock are the names in Redis, by the first encryption key.
	token, lock, owner string
}

// Obtain implements authn.Shared.
//
// A token stands sealed under a name made of its TokenKey and the first encryption key, and
// is gone from Redis when it expires. Whoever misses it takes a lock, which expires too, and asks the
// Authorization Server; the others look again until the token is there. The lock is
// the fence: a replica that lost it, by a pause longer than the lock lasts, uses the
// token that it got and does not store it over a newer one.
func (s *Store) Obtain(
	ctx context.Context, key authn.TokenKey, stale string, fetch func(context.Context) (authn.Token, error),
) (authn.Token, error) {
	if !s.ring.sealed() {
		return fetch(ctx)
	}
	what := []byte("token\x00" + key.Digest())
	c := &claim{
		s: s, key: key, stale: stale, owner: rand.Text(),
		token: s.ring.names(forToken, what)[0], lock: s.ring.names(forLock, what)[0],
	}
	limit := askedFor
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end) / 2 // the other half is for asking ourselves
	}
	for deadline, pause := time.Now().Add(limit), firstLook; ; pause = min(2*pause, lastLook) {
		token, found, mine, err := c.look(ctx, limit+slack)
		switch {
		case found:
			if mine {
				c.give(ctx, nil, 0)
			}
			return token, nil
		case mine:
			return c.ask(ctx, fetch)
		case err != nil || time.Now().After(deadline):
			return fetch(ctx)
		}
		select {
		case <-ctx.Done():
			return fetch(ctx) // which says what that means
		case <-time.After(pause): // another replica is asking
		}
	}
}

// look tries to take the lock for a time, and then looks for the token: what the lock's last
// holder has stored is there by then.
func (c *claim) look(ctx context.Context, lock time.Duration) (t authn.Token, found, mine bool, err error) {
	var value []byte
	var left time.Duration
	err = c.s.ask(ctx, nil, func(ctx context.Context) error {
		pipe := c.s.client.Pipeline()
		taken := pipe.SetNX(ctx, c.lock, c.owner, max(lock, time.Millisecond))
		ends, got := pipe.PTTL(ctx, c.token), pipe.Get(ctx, c.token)
		_, _ = pipe.Exec(ctx) // each command has its own error
		mine, left = taken.Val(), ends.Val()
		if value, err = got.Bytes(); errors.Is(err, redis.Nil) {
			return taken.Err()
		}
		return err // also of another type, which is written over
	})
	const gone = -2 // what PTTL says; somebody has stored it since
	if value == nil || left == gone {
		return authn.Token{}, false, mine, err
	}
	t, err = c.open(value, left)
	if err != nil {
		c.s.unreadableValue(err)
	}
	return t, err == nil && t.Hash() != c.stale, mine, nil
}

// ask fetches the token and shares it. Whatever happens, the lock is given up.
func (c *claim) ask(ctx context.Context, fetch func(context.Context) (authn.Token, error)) (authn.Token, error) {
	t, err := fetch(ctx)
	var value []byte
	left := t.Expires().Sub(c.s.o.Now()) - slack
	if err == nil && left > 0 {
		if secret, err := t.MarshalSecret(); err == nil {
			value, _ = c.s.ring.seal(forToken, c.token, secret) // nothing is stored if it fails
		}
	}
	c.give(ctx, value, left)
	return t, err
}

// give gives the lock up, and stores a token for a time before, unless it is nil.
func (c *claim) give(ctx context.Context, token []byte, left time.Duration) {
	_ = c.s.ask(context.WithoutCancel(ctx), nil, func(ctx context.Context) error {
		return give.Run(ctx, c.s.client, []string{c.token, c.lock},
			c.owner, token, max(left.Milliseconds(), 1)).Err()
	})
}

var errNoEnd = errors.New("opening a token: Redis would keep it for ever, which is none of the gateway's doing")

func (c *claim) open(value []byte, left time.Duration) (authn.Token, error) {
	if left <= 0 {
		return authn.Token{}, errNoEnd
	}
	secret, err := c.s.ring.open(forToken, c.token, value)
	if err != nil {
		return authn.Token{}, err
	}
	return authn.RestoreToken(secret, c.key, c.s.o.Now(), left)
}
