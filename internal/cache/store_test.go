package cache_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/testkit"
)

// shelf is what replicas in one process share.
type shelf struct {
	mu       sync.Mutex
	entries  []shelved
	counters map[cache.Scope]uint64
	replicas []*replica
	down     bool
	loads    int
}

type shelved struct {
	of   [32]byte
	wire []byte
	mark cache.Mark
}

// replica is the Store of one of them.
type replica struct {
	*shelf
	cache *cache.Cache
	// loading and bumping, unless nil, are called once: while something is loaded, and while an epoch is moved on.
	loading, bumping func()
	saves            atomic.Uint64
}

func newShelf() *shelf { return &shelf{counters: make(map[cache.Scope]uint64)} }

// join makes the shelf the second level of a cache.
func (s *shelf) join(c *cache.Cache) *replica {
	r := &replica{shelf: s, cache: c}
	s.replicas = append(s.replicas, r)
	c.UseStore(r)
	return r
}

var errAway = errors.New("the store is away")

func (s *shelf) mark(k *cache.Key) cache.Mark {
	m := cache.Mark(1)
	for _, scope := range k.Scopes() {
		m += cache.Mark(s.counters[scope])
	}
	return m
}

func (s *replica) Load(_ context.Context, _ *call.Allowance, k *cache.Key) ([]*cache.Entry, cache.Mark, error) {
	if during := s.loading; during != nil {
		s.loading = nil
		during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.down {
		return nil, 0, errAway
	}
	mark := s.mark(k)
	var found []*cache.Entry
	for _, v := range s.entries {
		e := new(cache.Entry)
		if v.of == k.Digest() && v.mark == mark && e.UnmarshalBinary(v.wire) == nil {
			found = append(found, e)
		}
	}
	return found, mark, nil
}

func (s *replica) Save(_ context.Context, k *cache.Key, e *cache.Entry, begun cache.Mark, _ time.Duration) error {
	defer s.saves.Add(1)
	wire, err := e.MarshalBinary()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || err != nil {
		return errAway
	}
	s.entries = append(s.entries, shelved{k.Digest(), wire, begun})
	return nil
}

func (r *replica) Bump(_ context.Context, _ *call.Allowance, scope cache.Scope) error {
	if during := r.bumping; during != nil {
		r.bumping = nil
		during()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errAway
	}
	r.counters[scope]++
	for _, other := range r.replicas {
		if other != r {
			other.cache.Apply(scope)
		}
	}
	return nil
}

// replicas are caches before one origin, behind one shelf.
func replicas(t *testing.T, origin origin) (a, b *rig, s *shelf) {
	s = newShelf()
	a, b = newRig(t, origin), newRig(t, origin)
	for _, r := range []*rig{a, b} {
		r.second = s.join(r.cache)
	}
	return a, b, s
}

// saved waits until what a replica stores has reached the second level.
func saved(t *testing.T, r *rig) {
	t.Helper()
	testkit.Eventually(t, "what is saved", func() bool { return r.second.saves.Load() >= r.cache.Stats().Stored })
}

func TestReplicasAnswerForEachOther(t *testing.T) {
	a, b, s := replicas(t, always("body", "Cache-Control: max-age=60", "Vary: Accept"))
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	saved(t, a)
	for range 2 { // the second time from memory
		mustGet(t, b.get("/a"), 200, "body", "hit")
	}
	b.cache.Flush() // which leaves what is shared
	mustGet(t, b.get("/a"), 200, "body", "hit")
	if s.loads != 3 || b.count() != 0 { // that of the first replica is among them
		t.Errorf("%d loads, %d requests", s.loads, b.count())
	}
	mustGet(t, b.get("/a", "Accept: x"), 200, "body", "fwd=vary-miss")
}

func TestAReadOfOneReplicaDoesNotOutliveAWriteOfAnother(t *testing.T) {
	a, b, _ := replicas(t, nil)
	reading, written := make(chan struct{}), make(chan struct{})
	a.origin = func(*http.Request) (*http.Response, error) {
		close(reading)
		<-written
		return reply(200, "old", "Cache-Control: max-age=60"), nil
	}
	b.origin = always("new", "Cache-Control: max-age=60")
	var wg sync.WaitGroup
	wg.Go(func() { a.get("/a") })
	<-reading
	b.do(asked{method: "POST", path: "/x"})
	close(written)
	wg.Wait()
	saved(t, a)
	mustGet(t, b.get("/a"), 200, "new", "fwd=uri-miss; stored")
}

func TestAStoreThatIsAwayIsAMiss(t *testing.T) {
	a, _, s := replicas(t, always("body", "Cache-Control: max-age=60"))
	s.down = true
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	mustGet(t, a.get("/a"), 200, "body", "hit")
}

func TestWithoutMemoryTheStoreAnswers(t *testing.T) {
	a, b, _ := replicas(t, always("body", "Cache-Control: max-age=60"))
	for _, r := range []*rig{a, b} {
		r.cache.Resize(0)
	}
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	saved(t, a)
	for _, r := range []*rig{a, b, a} {
		mustGet(t, r.get("/a"), 200, "body", "hit")
	}
	if n := a.cache.Stats().Resources + b.cache.Stats().Resources; n != 0 {
		t.Errorf("%d in memory", n)
	}
	b.do(asked{method: "PUT", path: "/a"})
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
}

// Replicas of two versions share the epochs while one replaces the other, so a scope has the
// same number in each.
func TestScopesKeepTheirNumbers(t *testing.T) {
	p := call.Partition{Route: "route", Upstream: "https://upstream.test", Client: "c", Scopes: "s", Enterprise: example}
	k := cache.KeyOf(p, "/ebox/messages?page=1")
	if want := []cache.Scope{238197, 480253, 583968, 590418, 590848}; !slices.Equal(k.Scopes(), want) {
		t.Errorf("%d, want %d", k.Scopes(), want)
	}
	own := p
	own.Own = true
	if other := cache.KeyOf(own, "/ebox/messages?page=1"); k.Scopes()[0] == other.Scopes()[0] {
		t.Error("an enterprise and the office's own share a scope")
	}
}
