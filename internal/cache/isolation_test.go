package cache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
)

// TestNoByteOfOneReachesAnother hammers the handler with whatever enterprises, clients,
// methods, header fields, timings, sharing and failures come, two replicas behind one
// store, and looks at every answer: its body says for whom and with which authority the
// origin made it.
func TestNoByteOfOneReachesAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sharing := rapid.SampledFrom([]config.Sharing{config.SharedNever, config.SharedNever, config.SharedPublic}).
			Draw(t, "sharing")
		seed := rapid.Uint64().Draw(t, "seed")
		store := newShelf()
		origin := secretive(sharing)
		var rigs []*rig
		for range 2 {
			r := &rig{origin: origin, policy: call.Policy{MaxBody: 100, Heuristics: true, CachePolicy: config.CachePolicy{
				Shared: sharing, DefaultTTL: time.Duration(rapid.IntRange(0, 1).Draw(t, "ttl")) * time.Hour,
				StaleWhileRevalidate: time.Hour, StaleIfError: time.Hour,
			}}}
			r.cache = cache.New(r.options(100<<10, wander(seed)))
			defer r.cache.Close()
			if rapid.Bool().Draw(t, "second level") {
				store.join(r.cache)
			}
			rigs = append(rigs, r)
		}
		var wg sync.WaitGroup
		leaks := make(chan string, 1)
		for g := range 4 {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			wg.Go(func() {
				for range 60 {
					if leak := attack(rigs[rnd.IntN(len(rigs))], rnd); leak != "" {
						select {
						case leaks <- leak:
						default:
						}
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case leak := <-leaks:
			t.Fatal(leak)
		default:
		}
	})
}

// wander is a clock that jumps ahead, differently at each look.
func wander(seed uint64) func() time.Time {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 99))
	now := time.Unix(1_700_000_000, 0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(20) == 0 {
			now = now.Add(time.Duration(rnd.IntN(100)) * time.Second)
		}
		return now
	}
}

const (
	authority = "X-Test-Authority" // for whom the origin answers
	public    = "for everybody"
)

// secretive makes an origin whose answers name whom they are for. What it marks public
// is the same for everybody, if that may be shared at all.
func secretive(sharing config.Sharing) origin {
	return func(r *http.Request) (*http.Response, error) {
		n := rand.IntN(100)
		if n < 5 {
			return nil, errDown
		}
		secret := r.Header.Get(authority)
		fields := []string{`ETag: "` + fmt.Sprint(n%3) + `"`}
		switch n % 6 {
		case 0:
			fields = append(fields, "Cache-Control: max-age=50")
		case 1:
			fields = append(fields, "Cache-Control: no-cache", "Vary: Accept")
		case 2:
			fields = append(fields, "Cache-Control: max-age=20, stale-while-revalidate=50", "Vary: Accept")
		case 3:
			fields = append(fields, "Cache-Control: s-maxage=50")
		case 4:
			if sharing == config.SharedPublic {
				secret = public
				fields = append(fields, "Cache-Control: public, max-age=50")
			}
		}
		status := 200
		switch {
		case n < 8:
			status = []int{401, 403, 404, 410, 500, 503}[rand.IntN(6)]
		case n < 40 && r.Header.Get("If-None-Match") != "":
			return reply(304, ""), nil
		}
		resp := reply(status, secret, fields...)
		if n%7 == 0 {
			resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
		}
		if n%11 == 0 {
			resp.ContentLength, resp.Body = int64(len(secret))+1, cut(secret)
		}
		return resp, nil
	}
}

// attack makes one request and returns what of somebody else's came back, if anything.
func attack(r *rig, rnd *rand.Rand) string {
	who := []enterprise.Number{206731645, 212148896, 474028805, 403101811}[rnd.IntN(4)]
	client := []string{"", "a", "b"}[rnd.IntN(3)]
	secret := fmt.Sprintf("secret of %s with client %q", who, client)
	a := asked{who: who, client: client, path: []string{"/a", "/b", "/a?x", "/a?x=1"}[rnd.IntN(4)],
		header: http.Header{authority: {secret}}}
	a.method = []string{"GET", "GET", "GET", "GET", "GET", "HEAD", "POST"}[rnd.IntN(7)]
	a.open = rnd.IntN(20) == 0
	for _, f := range []string{
		"Accept: text/plain", "Accept: application/json", "Cache-Control: max-stale", "Cache-Control: no-cache",
		"Cache-Control: only-if-cached",
		"Range: bytes=0-9", `If-None-Match: "1"`, "Pragma: no-cache", "Authorization: Basic eA==", "Cache-Control: no-store",
		`If-Range: "1"`,
	} {
		if rnd.IntN(12) == 0 {
			name, value, _ := strings.Cut(f, ": ")
			a.header.Add(name, value)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rnd.IntN(10) == 0 {
		cancel()
	}
	a.ctx = ctx
	g := r.do(a)
	if rnd.IntN(30) == 0 {
		r.cache.Flush()
	}
	if g.body != "" && !strings.HasPrefix(secret, g.body) && !strings.HasPrefix(public, g.body) {
		return fmt.Sprintf("%s %s for %s (client %q) was answered %d %q: %s", a.method, a.path, who, client, g.status,
			g.body, g.cache)
	}
	return ""
}
