// Inside, since the first level is judged alone, by its bytes and counts.

package cache

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"ebox-gateway/internal/call"
)

func filled(size int) *Entry {
	return (&Entry{Status: 200, Header: http.Header{}, Body: make([]byte, size)}).prepare()
}

func keyOf(i int) *Key {
	k := KeyOf(call.Partition{Route: "r", Enterprise: 206731645}, fmt.Sprint("/", i))
	return &k
}

func TestMemoryIsBounded(t *testing.T) {
	const limit = 1 << 20
	now := time.Now()
	m := newMemory(limit, new(epochs), time.Now)
	for i := range 5000 {
		m.store(keyOf(i), filled(i%7000), time.Hour, now)
		if n := m.bytes(); n > limit {
			t.Fatalf("%d bytes after %d entries", n, i+1)
		}
	}
	if m.evicts.Load() == 0 || m.count() < 50 {
		t.Errorf("%d evicted, %d kept", m.evicts.Load(), m.count())
	}
	if m.store(keyOf(1), filled(limit), time.Hour, now) {
		t.Error("an entry larger than all is kept")
	}
	m.clear()
	if m.bytes() != 0 || m.count() != 0 {
		t.Errorf("%d bytes, %d resources after clearing", m.bytes(), m.count())
	}
}

func TestWhatHasExpiredMakesRoom(t *testing.T) {
	now := time.Now()
	m := newMemory(64<<20, new(epochs), func() time.Time { return now })
	for i := range 2000 {
		m.store(keyOf(i), filled(100), time.Second, now)
	}
	now = now.Add(5 * time.Second)
	for i := 2000; i < 4000; i++ {
		m.store(keyOf(i), filled(100), time.Hour, now)
	}
	if n := m.count(); n != 2000 {
		t.Errorf("%d resources are kept, of 2000 that are of use", n)
	}
	for i := 2000; i < 4000; i++ {
		if v, _ := m.load(keyOf(i), 0, now); len(v) != 1 {
			t.Fatalf("%d is gone", i)
		}
	}
}

func TestVariantsAreBounded(t *testing.T) {
	now := time.Now()
	m := newMemory(64<<20, new(epochs), time.Now)
	k := keyOf(0)
	for i := range 3 * maxVariants {
		e := filled(10)
		e.Selecting = []Selecting{{Name: "Accept", Value: fmt.Sprint(i)}}
		m.store(k, e, time.Hour, now)
	}
	v, _ := m.load(k, 0, now)
	if len(v) != maxVariants || v[0].Selecting[0].Value != fmt.Sprint(3*maxVariants-1) {
		t.Errorf("%d variants, the first %v", len(v), v[0].Selecting)
	}
}
