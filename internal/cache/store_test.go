package cache

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/call"
)

// shelf is what replicas in one process share.
type shelf struct {
	mu       sync.Mutex
	entries  map[[32]byte]map[string]shelved
	counters map[Scope]uint64
	replicas []*replica
	down     bool
	loads    int
}

// replica is the Store of one of them.
type replica struct {
	*shelf
	cache *Cache
	// bumping, unless nil, is called once while an epoch is moved on.
	bumping func()
}

type shelved struct {
	b    []byte
	mark Mark
}

func newShelf() *shelf {
	return &shelf{entries: make(map[[32]byte]map[string]shelved), counters: make(map[Scope]uint64)}
}

// join makes the shelf the second level of a cache.
func (s *shelf) join(c *Cache) *replica {
	r := &replica{shelf: s, cache: c}
	s.replicas = append(s.replicas, r)
	c.UseStore(r)
	return r
}

func (s *shelf) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

var errAway = errors.New("the store is away")

func (s *shelf) mark(k *Key) (m Mark) {
	for _, scope := range k.Scopes() {
		m += Mark(s.counters[scope])
	}
	return m
}

func (s *shelf) Load(_ context.Context, _ *call.Allowance, k *Key) ([]*Entry, Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.down {
		return nil, 0, errAway
	}
	mark := s.mark(k)
	var found []*Entry
	for _, v := range s.entries[k.Digest()] {
		e := new(Entry)
		if v.mark == mark && e.UnmarshalBinary(v.b) == nil {
			found = append(found, e)
		}
	}
	return found, mark, nil
}

func (s *shelf) Save(_ context.Context, k *Key, e *Entry, begun Mark, _ time.Duration) error {
	b, err := e.MarshalBinary()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || err != nil {
		return errAway
	}
	if s.mark(k) != begun {
		return nil
	}
	d := k.Digest()
	if s.entries[d] == nil {
		s.entries[d] = make(map[string]shelved)
	}
	s.entries[d][e.Variant()] = shelved{b, begun}
	return nil
}

func (r *replica) Bump(_ context.Context, _ *call.Allowance, scope Scope) error {
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
		s.join(r.cache)
	}
	return a, b, s
}

func (r *rig) store() *replica { return r.cache.store().(*replica) }

// saved waits until what a replica stores has reached the second level.
func saved(t *testing.T, r *rig) {
	t.Helper()
	for end := time.Now().Add(time.Minute); len(r.cache.saves) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for what is saved")
		}
	}
}

func TestReplicasAnswerForEachOther(t *testing.T) {
	a, b, s := replicas(t, always("body", "Cache-Control: max-age=60", "Vary: Accept"))
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	saved(t, a)
	mustGet(t, b.get("/a"), 200, "body", "hit")
	loads := s.loads
	mustGet(t, b.get("/a"), 200, "body", "hit")
	if s.loads != loads || b.count() != 0 {
		t.Errorf("%d more loads, %d requests", s.loads-loads, b.count())
	}
	mustGet(t, b.get("/a", "Accept: x"), 200, "body", "fwd=vary-miss")
}

func TestAWriteIsSeenByTheOtherReplica(t *testing.T) {
	a, b, _ := replicas(t, always("body", "Cache-Control: max-age=60"))
	a.get("/a")
	saved(t, a)
	b.get("/a")
	a.do(asked{method: "POST", path: "/x"})
	mustGet(t, b.get("/a"), 200, "body", "fwd=uri-miss; stored")
	mustGet(t, a.get("/a"), 200, "body", "")
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
	s.setDown(true)
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	mustGet(t, a.get("/a"), 200, "body", "hit")
}

func TestAFlushLeavesTheSecondLevel(t *testing.T) {
	a, _, _ := replicas(t, always("body", "Cache-Control: max-age=60"))
	a.get("/a")
	saved(t, a)
	a.cache.Flush()
	if n := a.cache.Stats().Resources; n != 0 {
		t.Errorf("%d resources left", n)
	}
	mustGet(t, a.get("/a"), 200, "body", "hit")
	if a.count() != 1 {
		t.Errorf("%d requests", a.count())
	}
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
