package gateway

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"reflect"
	"slices"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/redisstore"
)

// redis is what a generation shares with other replicas, and what it was made of.
type redis struct {
	shared *redisstore.Store // nil if there is none
	keys   []redisstore.Key
	ca     []byte // content of redis.caFile
}

// newRedis makes the store that replicas share, or takes that of the generation
// before, which is connected already. Nothing is called: Redis may be down.
func (g *generation) newRedis(old *generation) error {
	c := g.cfg.Redis
	if c.URL == "" {
		return nil
	}
	for _, k := range c.EncryptionKeys {
		key, err := redisstore.LoadKey(k.ID, k.File)
		if err != nil {
			return err
		}
		g.redis.keys = append(g.redis.keys, key)
	}
	if c.CAFile != "" {
		var err error
		if g.redis.ca, err = files.Text(c.CAFile, files.Most); err != nil {
			return fmt.Errorf("reading redis.caFile: %w", err)
		}
	}
	if old != nil && g.cfg.Environment == old.cfg.Environment && reflect.DeepEqual(c, old.cfg.Redis) &&
		bytes.Equal(g.redis.ca, old.redis.ca) && slices.EqualFunc(g.redis.keys, old.redis.keys, redisstore.Key.Same) {
		g.redis.shared = old.redis.shared
		return nil
	}
	address, err := c.Address()
	if err != nil {
		return fmt.Errorf("reading redis.url: %w", err)
	}
	var roots *x509.CertPool
	if g.redis.ca != nil {
		if roots, err = files.Trusted(g.redis.ca); err != nil {
			return fmt.Errorf("reading redis.caFile %s: %w", c.CAFile, err)
		}
	}
	if g.redis.shared, err = redisstore.New(redisstore.Options{
		Address: address, Roots: roots, Keys: g.redis.keys, Namespace: string(g.cfg.Environment), Timeout: c.Timeout,
		Replicas: c.Replicas, Listener: g.pool.cache, Now: g.now, Log: g.log,
	}); err != nil {
		return err
	}
	if len(g.redis.keys) == 0 {
		g.log.Warn("redis.encryptionKeys is not set: replicas share neither tokens nor what belongs to an enterprise")
	}
	return nil
}

// tokens are those that replicas share, nil for none.
func (r *redis) tokens() authn.Shared {
	if r.shared == nil {
		return nil
	}
	return r.shared.Tokens()
}

// useRedis makes the store of a generation the second level of the cache, and counts the
// rates of the cluster there. Invalidations that the store before could not tell are
// told by the new one.
func (g *generation) useRedis() {
	before := g.pool.shared.Swap(g.redis.shared)
	if g.redis.shared == nil {
		g.pool.cache.UseStore(nil)
		return
	}
	g.pool.cache.UseStore(g.redis.shared.Answers())
	if before != nil && before != g.redis.shared {
		g.redis.shared.TellLater(before.Untold())
	}
}

// discard gives up a generation that never came to serve.
func (g *generation) discard(old *generation) {
	g.pool.stacks.leaveAll(g)
	if r := g.redis.shared; r != nil && (old == nil || old.redis.shared != r) {
		r.Close()
	}
}
