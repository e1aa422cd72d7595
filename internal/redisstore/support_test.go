package redisstore_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// The library looks once a second whether a server that refused it is back, and notices
// only then that its client was closed.
func TestMain(m *testing.M) {
	testkit.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// short is the time limit of a gateway by default.
const short = 25 * time.Millisecond

// relaxed is the time limit of tests that are not about time: the machine may be busy.
const relaxed = time.Minute

func single(s *redistest.Server) config.RedisAddress {
	return config.RedisAddress{Hosts: []string{s.Addr}}
}

// replica makes the Redis of one replica, which runs until the test ends.
func replica(t testing.TB, address config.RedisAddress, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	r := idle(t, address, change...)
	testkit.Running(t, r.Run)
	return r
}

// idle makes one that nothing runs for.
func idle(t testing.TB, address config.RedisAddress, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	o := redisstore.Options{
		Address: address, Keys: []redisstore.Key{keyOf(t, "k1", 1)}, Timeout: relaxed, Interval: 50 * time.Millisecond,
		Listener: new(listener), Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	r := redisstore.New(o)
	t.Cleanup(r.Close)
	return r
}

// fresh starts a server, and makes a Store there that nothing runs for.
func fresh(t testing.TB, args ...string) (*redistest.Server, *redisstore.Store) {
	t.Helper()
	server := redistest.Start(t, args...)
	return server, idle(t, single(server))
}

func withKeys(keys ...redisstore.Key) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Keys = keys }
}

func withTimeout(d time.Duration) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Timeout = d }
}

func withRoots(p *x509.CertPool) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Roots = p }
}

func withListener(l redisstore.Listener) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Listener = l }
}

// user makes a user of a server, with the password "p@ss", and gives how to log in.
func user(server *redistest.Server, name string, rights ...any) config.RedisAddress {
	server.Do(append([]any{"ACL", "SETUSER", name, "on", ">p@ss"}, rights...)...)
	a := single(server)
	a.Username, a.Password = name, "p@ss"
	return a
}

// awaitUp waits until Redis is well and the other replicas' invalidations arrive.
func awaitUp(t testing.TB, r *redisstore.Store) {
	t.Helper()
	testkit.Await(t, "Redis to be well", func() error {
		if s := r.Status(); s.State != redisstore.StateUp || !s.Subscribed || s.Untold > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// awaitState waits for a state and gives the status.
func awaitState(t testing.TB, r *redisstore.Store, state string) (s redisstore.Status) {
	t.Helper()
	testkit.Await(t, "Redis to be "+state, func() error {
		if s = r.Status(); s.State != state {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return s
}

// keyOf makes an encryption key of 32 equal bytes.
func keyOf(t testing.TB, id string, fill byte) redisstore.Key {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	testkit.Write(t, file, hex.EncodeToString(bytes.Repeat([]byte{fill}, 32)))
	k, err := redisstore.LoadKey(id, file)
	testkit.Must(t, err)
	return k
}

var payroll = authn.TokenKey{
	TokenURL: "https://as.example/token", Audience: "https://as.example", ClientID: "payroll",
	KeyFingerprint: "f", Scopes: "a",
}

// tokenOf makes a token.
func tokenOf(t testing.TB, key authn.TokenKey, secret string, lifetime time.Duration) authn.Token {
	t.Helper()
	b, err := json.Marshal(map[string]any{"key": key.Digest(), "secret": secret, "obtained": time.Now().UnixNano(),
		"lifetime": lifetime})
	testkit.Must(t, err)
	token, err := authn.RestoreToken(b, key, time.Now(), lifetime)
	testkit.Must(t, err)
	return token
}

// issuer is an Authorization Server that counts.
type issuer struct {
	t     testing.TB
	asked atomic.Int64
}

func (i *issuer) fetch(context.Context) (authn.Token, error) {
	n := i.asked.Add(1)
	return tokenOf(i.t, payroll, fmt.Sprintf("very-secret-token-%d", n), time.Hour), nil
}

func (i *issuer) obtain(r *redisstore.Store, stale string) authn.Token {
	i.t.Helper()
	return obtain(i.t, r, stale, i.fetch)
}

// obtaining is how long the caller of Obtain waits here, whatever else the machine does.
const obtaining = time.Hour

func obtain(
	t testing.TB, r *redisstore.Store, stale string, fetch func(context.Context) (authn.Token, error),
) authn.Token {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), obtaining)
	defer cancel()
	token, err := r.Obtain(ctx, payroll, stale, fetch)
	if err != nil {
		t.Error(err)
	}
	return token
}

const number = enterprise.Number(206731645)

var partition = call.Partition{
	Route: "ebox", Upstream: "https://provider.example/v3", Client: "payroll", Scopes: "read", Enterprise: number,
}

// keyOfAnswers is a key of an enterprise's answers.
func keyOfAnswers(target string) *cache.Key {
	k := cache.KeyOf(partition, target)
	return &k
}

func sharedKey(target string) *cache.Key {
	k := cache.KeyOf(partition.SharedByAll(), target)
	return &k
}

const subject = "Aanslagbiljet vennootschapsbelasting"

func answer(body string) *cache.Entry {
	now := time.Now()
	return &cache.Entry{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}, "Etag": {`"1"`}},
		Body: bytes.Repeat([]byte(body), 20), ProtoMajor: 1, ProtoMinor: 1, Requested: now, Received: now,
	}
}

// keep stores an answer the way the cache does: with the mark of the time before.
func keep(t testing.TB, r *redisstore.Store, k *cache.Key, body string) cache.Mark {
	t.Helper()
	_, mark, err := r.Load(t.Context(), nil, k)
	testkit.Must(t, err)
	testkit.Must(t, r.Save(t.Context(), k, answer(body), mark, time.Hour))
	return mark
}

// makeVoid makes a scope void.
func makeVoid(t testing.TB, r *redisstore.Store, scope cache.Scope) {
	t.Helper()
	testkit.Must(t, r.Bump(t.Context(), nil, scope))
}

// kept reports whether an answer is found.
func kept(t testing.TB, r *redisstore.Store, k *cache.Key) bool {
	t.Helper()
	list, _, err := r.Load(t.Context(), nil, k)
	if err != nil {
		t.Logf("loading: %v", err)
	}
	return len(list) > 0
}

// leftAlone reports whether Redis was not asked.
func leftAlone(err error) bool {
	return err != nil && strings.Contains(err.Error(), "left alone until it is well")
}

// The names in Redis that are no digests.
const epochs, members, channel = "ebox:epochs", "ebox:replicas", "ebox:news:0"

// nameOf is the name of the one key of a kind, such as "answer".
func nameOf(t testing.TB, server *redistest.Server, kind string) string {
	t.Helper()
	for _, name := range server.Keys() {
		if strings.HasPrefix(name, "ebox:"+kind+":{") {
			return name
		}
	}
	t.Fatalf("Redis keeps no %s", kind)
	return ""
}

// listener is a cache that notes what it is told.
type listener struct {
	mu      sync.Mutex
	applied []cache.Scope
	flushed int
}

func (l *listener) Apply(s cache.Scope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = append(l.applied, s)
}

func (l *listener) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushed++
}

func (l *listener) told() (applied []cache.Scope, flushed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.applied), l.flushed
}

// await has a replica make a scope void until the listener is told. A subscription that was
// lost in the meantime, on a busy machine, brings nothing of what was told by then.
func (l *listener) await(t testing.TB, r *redisstore.Store, scope cache.Scope) {
	t.Helper()
	testkit.Await(t, "the invalidation", func() error {
		if applied, _ := l.told(); !slices.Contains(applied, scope) {
			makeVoid(t, r, scope)
			return fmt.Errorf("told of %v", applied)
		}
		return nil
	})
}
