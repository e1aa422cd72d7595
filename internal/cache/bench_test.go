package cache

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"ebox-gateway/internal/call"
)

func BenchmarkHit(b *testing.B) {
	r := &rig{policy: call.Policy{MaxBody: 1 << 20}, origin: always("body", "Cache-Control: max-age=3600", "Vary: Accept")}
	r.cache = New(r.options(16<<20, time.Now))
	defer r.cache.Close()
	r.get("/a", "Accept: application/json")
	x := r.call(asked{path: "/a", header: http.Header{"Accept": {"application/json"}}})
	ctx, hits := context.Background(), 0
	b.ReportAllocs()
	for b.Loop() {
		if a, err := r.cache.Do(ctx, x, r.send); err == nil && a.Body == nil {
			hits++
		}
	}
	if hits == 0 || r.count() != 1 {
		b.Fatalf("%d hits after %d requests", hits, r.count())
	}
}

func BenchmarkStore(b *testing.B) {
	m := newMemory(64<<20, new(epochs), time.Now)
	now := time.Now()
	p := call.Partition{Route: "route", Upstream: "http://upstream.test", Enterprise: example}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := KeyOf(p, fmt.Sprint("/", i%1_000_000))
		m.store(&k, filled(500), time.Hour, now)
	}
}
