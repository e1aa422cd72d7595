package redisstore

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/authn"
)

// Tokens gives the tokens that replicas share.
//
// A token stands sealed under a name made of its TokenKey and the first encryption key, and
// is gone from Redis when it expires. Whoever misses it takes a lock, which expires too, and asks the
// Authorization Server; the others look again until the token is there. The lock is
// the fence: a replica that lost it, by a pause longer than the lock lasts, uses the
// token that it got and does not store it over a newer one.
func (s *Store) Tokens() authn.Shared { return tokens{s} }

type tokens struct{ s *Store }

// fetcher asks the Authorization Server.
type fetcher = func(context.Context) (authn.Token, error)

const (
	// askedFor is how long a replica may be asking if its context has no end.
	askedFor = 10 * time.Second
	// slack is the time that a value may have been under way to Redis.
	slack = 2 * time.Second

	firstLook, lastLook = 10 * time.Millisecond, 100 * time.Millisecond
	// looks bounds the values of no use that are removed in one call.
	looks = 3

	tagSize = 16
)

// take gives the token under KEYS[1] and its remaining time, unless it begins with the
// tag ARGV[3]; otherwise it tries to take the lock KEYS[2] for ARGV[1], and says whether it
// did.
var take = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
if value then
  if string.sub(value, 1, 16) ~= ARGV[3] then
    return {value, redis.call('PTTL', KEYS[1])}
  end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {false, 1}
end
return {false, 0}`)

// give stores a token if the lock is still ARGV[1]'s, and gives the lock up. With an
// empty ARGV[2] there is no token.
var give = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
local stored = 0
if ARGV[2] ~= '' then
  stored = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2])
return stored`)

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
func (t tokens) Obtain(ctx context.Context, key authn.TokenKey, stale string, fetch fetcher) (authn.Token, error) {
	if !t.s.sealed() {
		return fetch(ctx)
	}
	what := []byte("token\x00" + key.Digest())
	c := &claim{
		s: t.s, key: key, stale: stale, owner: rand.Text(),
		token: t.s.ring.names(forToken, what)[0], lock: t.s.ring.names(forLock, what)[0],
	}
	limit := askedFor
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end) / 2 // the other half is for asking ourselves
	}
	return c.obtain(ctx, limit, fetch)
}

func (c *claim) obtain(ctx context.Context, limit time.Duration, fetch fetcher) (authn.Token, error) {
	deadline := time.Now().Add(limit)
	tries, pause := 0, firstLook
	for {
		value, left, mine, err := c.take(ctx, limit+slack)
		switch {
		case err != nil:
			return fetch(ctx)
		case mine:
			return c.ask(ctx, fetch)
		case value != nil:
			t, err := c.open(value, left)
			if err == nil {
				return t, nil
			}
			c.s.unreadableValue(err)
			if tries++; tries == looks {
				return fetch(ctx)
			}
			_ = c.s.ask(ctx, nil, func(ctx context.Context) error { return c.s.client.Del(ctx, c.token).Err() })
			continue
		}
		timer := time.NewTimer(pause) // another replica is asking
		select {
		case <-ctx.Done():
			timer.Stop()
			return fetch(ctx) // which says what that means
		case <-timer.C:
		}
		if time.Now().After(deadline) {
			return fetch(ctx)
		}
		pause = min(2*pause, lastLook)
	}
}

// take looks for a token, and takes the lock if there is none.
func (c *claim) take(ctx context.Context, lock time.Duration) (
	value []byte, left time.Duration, mine bool, err error,
) {
	err = c.s.ask(ctx, nil, func(ctx context.Context) error {
		reply, err := take.Run(ctx, c.s.client, []string{c.token, c.lock},
			c.owner, max(lock.Milliseconds(), 1), c.tag(c.stale)).Slice()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			c.s.client.Del(ctx, c.token, c.lock) // nobody else has a use for it
			return err
		}
		if err != nil {
			return err
		}
		if len(reply) != 2 {
			return errGarbage
		}
		n, _ := reply[1].(int64)
		if text, ok := reply[0].(string); ok {
			value, left = []byte(text), time.Duration(n)*time.Millisecond
			return nil
		}
		mine = n == 1
		return nil
	})
	return value, left, mine, err
}

// ask fetches the token and shares it. Whatever happens, the lock is given up.
func (c *claim) ask(ctx context.Context, fetch fetcher) (authn.Token, error) {
	t, err := fetch(ctx)
	var value []byte
	left := t.Expires().Sub(c.s.o.Now()) - slack
	if err == nil && left > 0 {
		value = c.seal(t)
	}
	_ = c.s.ask(context.WithoutCancel(ctx), nil, func(ctx context.Context) error {
		return give.Run(ctx, c.s.client, []string{c.token, c.lock},
			c.owner, value, max(left.Milliseconds(), 1)).Err()
	})
	return t, err
}

// tag tells the values of one token from those of others, without showing which.
func (c *claim) tag(hash string) []byte {
	if hash == "" {
		return nil
	}
	mac := hmac.New(sha256.New, c.s.ring.keys[0].names)
	mac.Write([]byte("tag\x00" + hash))
	return mac.Sum(nil)[:tagSize]
}

func (c *claim) seal(t authn.Token) []byte {
	secret, err := t.MarshalSecret()
	if err != nil {
		return nil
	}
	value, err := c.s.ring.seal(forToken, c.token, secret)
	if err != nil {
		return nil
	}
	return append(c.tag(t.Hash()), value...)
}

var errNoEnd = errors.New("opening a token: Redis would keep it for ever, which is none of the gateway's doing")

func (c *claim) open(value []byte, left time.Duration) (authn.Token, error) {
	if len(value) < tagSize {
		return authn.Token{}, errGarbage
	}
	if left <= 0 {
		return authn.Token{}, errNoEnd
	}
	secret, err := c.s.ring.open(forToken, c.token, value[tagSize:])
	if err != nil {
		return authn.Token{}, err
	}
	t, err := authn.RestoreToken(secret, c.key, c.s.o.Now(), left)
	if err == nil && t.Hash() == c.stale {
		return authn.Token{}, errSeal // under another tag than its own
	}
	return t, err
}
