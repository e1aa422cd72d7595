package cache

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ebox-gateway/internal/exchange"
)

// silent is an exchange that delivers to nobody, so that the cache alone is measured.
type silent struct {
	ex
	answered int
}

func (x *silent) Answer(*http.Response, []byte, *Extra) { x.answered++ }

func BenchmarkHit(b *testing.B) {
	r := &rig{policy: Policy{MaxBody: 1 << 20}, origin: always("body", "Cache-Control: max-age=3600", "Vary: Accept")}
	r.cache = New(Options{Memory: 16 << 20, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	defer r.cache.Close()
	r.get("/a", "Accept: application/json")
	req := httptest.NewRequest("GET", "http://upstream.test/a", nil).WithContext(exchange.With(context.Background(), new(exchange.Record)))
	req.Header.Set("Accept", "application/json")
	x := &silent{ex: ex{rig: r, r: req}}
	task := &Task{Partition: Partition{Route: "route", Upstream: "http://upstream.test", Scopes: "s", Enterprise: example}, Target: "/a", Policy: &r.policy}
	b.ReportAllocs()
	for b.Loop() {
		r.cache.Serve(x, task)
	}
	if x.answered == 0 {
		b.Fatal("no hit")
	}
}

func BenchmarkStore(b *testing.B) {
	m := newMemory(64<<20, new(epochs))
	now := time.Now()
	p := Partition{Route: "route", Upstream: "http://upstream.test", Enterprise: example}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := p.Key(fmt.Sprint("/", i%1_000_000))
		m.store(&k, filled(500), time.Hour, now)
	}
}
