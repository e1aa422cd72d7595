package whole_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/simulator"
)

// together waits until replicas know of each other.
func together(t *testing.T, houses []*house) {
	t.Helper()
	for _, h := range houses {
		eventually(t, "the replicas to know of each other", func() bool { return h.status().Redis.Replicas == len(houses) })
	}
}

func TestARateOfTheClusterIsSpentByAllReplicas(t *testing.T) {
	const slow = "rate: {perSecond: 0.01, burst: 6, scope: cluster}"
	for _, c := range []struct {
		name, path string
		edit       func(*testing.T, string) string
	}{
		{"of an enterprise", box, edit("{number: 0206.731.645,", "{number: 0206.731.645, "+slow+",")},
		{"of a caller", box, edit("tenancy:\n", "callers:\n  - {name: desk, networks: [127.0.0.1/32], "+slow+
			"}\ntenancy:\n")},
		{"of a provider", box, providers(slow)},
		{"of a route", mandates, ofRoute("grant-citizen", slow)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var houses []*house
			section := add(redisSection(t, server, true))
			for range 3 {
				if houses == nil {
					houses = append(houses, build(t, c.edit, section))
				} else {
					houses = append(houses, buildBefore(t, houses[0].sim, clientDir, nil, c.edit, section))
				}
			}
			for _, h := range houses {
				eventually(t, "the first list", func() bool { return !h.status().Directory.LastSuccess.IsZero() })
				h.waitForRedis(redisstore.StateUp)
			}
			together(t, houses)
			for i := range 6 {
				houses[i%3].get(c.path).want(t, 200)
			}
			for _, h := range houses { // a token comes after 100 seconds
				got := h.get(c.path).want(t, 429)
				if wait := retryAfterOf(t, got); wait < 60*time.Second || wait > 101*time.Second {
					t.Errorf("%s to wait", wait)
				}
			}
			if all := string(server.Everything()); strings.Contains(all, mandated) || strings.Contains(all, "desk") {
				t.Error("Redis shows whose rate it is")
			}
		})
	}
}

// Three gateways under more load than their rate allows, while Redis freezes, ends and
// comes back: the sum holds all the time, and nobody gets anything but an answer or a
// refusal that says when to come back.
func TestARateOfTheClusterHoldsWhileRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	section := strings.Replace(redisSection(t, server, true), "timeout: 5s", "timeout: 25ms", 1)
	houses := group(t, 3, add(section), providers("rate: {perSecond: 60, burst: 60, scope: cluster}"))
	together(t, houses)
	houses[0].sim.ResetRequests()
	began := time.Now()
	var done atomic.Bool
	var admitted, refused atomic.Int64
	var callers sync.WaitGroup
	for _, h := range houses {
		for range 2 {
			callers.Go(func() {
				for !done.Load() {
					switch got := h.get(box); got.status {
					case 200:
						admitted.Add(1)
					case 429:
						refused.Add(1)
						if got.header.Get("Retry-After") == "" {
							t.Error("a refusal does not say when to come back")
						}
						time.Sleep(10 * time.Millisecond) // a caller who is impatient
					default:
						t.Errorf("status %d: %s", got.status, got.body)
						return
					}
				}
			})
		}
	}
	// apart is how long the replicas were not of one mind about Redis.
	var apart time.Duration
	passes := func(state string) {
		t.Helper()
		changed := time.Now()
		for _, h := range houses {
			h.waitForRedis(state)
		}
		apart += time.Since(changed)
		calls, turned := admitted.Load()+60, refused.Load()+60
		eventually(t, "calls to pass and to be refused with Redis "+state, func() bool {
			return admitted.Load() > calls && refused.Load() > turned
		})
	}
	passes(redisstore.StateUp)
	server.Freeze()
	passes(redisstore.StateAway)
	server.Thaw()
	passes(redisstore.StateUp)
	server.Stop()
	passes(redisstore.StateAway)
	server.Run()
	passes(redisstore.StateUp)
	done.Store(true)
	callers.Wait()
	took := time.Since(began).Seconds()
	n := float64(admitted.Load())
	t.Logf("%v calls in %.1f seconds, %d refused", n, took, refused.Load())
	// The burst at first, and once more in Redis and in the shares for each absence. While
	// one replica spends its share and another asks Redis already, both are spent.
	if most := 60*(took+apart.Seconds()) + 60 + 2*(60+60); n > most {
		t.Errorf("%v calls were admitted, %v at most are promised", n, most)
	}
	if sent := houses[0].sim.RequestCount(simulator.ProviderUpstream("nsso")); float64(sent) < n {
		t.Errorf("%d calls were sent", sent)
	}
}

func TestBatchIsPacedThroughTheClustersRate(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	houses := group(t, 2, add(redisSection(t, server, true)), edit("tenancy:\n", twoClasses),
		providers("rate: {perSecond: 20, burst: 10, scope: cluster}"))
	together(t, houses)
	began := time.Now()
	var wg sync.WaitGroup
	const calls = 25
	for i := range calls {
		wg.Go(func() {
			if got := houses[i%2].as("127.0.0.2", "GET", box); got.status != 200 {
				t.Errorf("a batch call got %d %s", got.status, got.body)
			}
		})
	}
	eventually(t, "batch to have spent its part", func() bool { return houses[0].sim.RequestCount("provider:nsso") >= 7 })
	for i := range 3 { // while they wait in line, nobody else has to
		houses[i%2].get(box).want(t, 200)
	}
	wg.Wait()
	if took, least := time.Since(began), time.Second*(calls-7)/14; took < least-50*time.Millisecond {
		t.Errorf("%d calls took %s, not %s", calls, took, least)
	}
}
