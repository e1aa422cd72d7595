package gateway_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/replicas"
	"ebox-gateway/internal/simulator"
)

// together waits until replicas know of each other, and each knows that the others do.
func together(t *testing.T, houses []*house) {
	t.Helper()
	for _, h := range houses {
		eventually(t, "the replicas to know of each other", func() bool {
			s := h.status().Redis
			return s.Replicas == len(houses) && s.Apart == 0
		})
	}
	time.Sleep(600 * time.Millisecond) // until each has renewed its place once more
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
				h.waitForRedis(replicas.StateUp)
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
	time.Sleep(2 * time.Second)
	server.Freeze()
	time.Sleep(2 * time.Second)
	server.Thaw()
	time.Sleep(1500 * time.Millisecond)
	server.Stop()
	time.Sleep(2500 * time.Millisecond)
	server.Run()
	time.Sleep(2 * time.Second)
	done.Store(true)
	callers.Wait()
	took := time.Since(began).Seconds()
	n := float64(admitted.Load())
	t.Logf("%v calls in %.1f seconds, %d refused", n, took, refused.Load())
	// The burst once, and what the replicas keep for themselves for a second.
	if most := 1.1*60*took + 60 + 60; n > most {
		t.Errorf("%v calls were admitted, %v at most are promised", n, most)
	}
	if n < 0.5*60*took || refused.Load() == 0 {
		t.Errorf("%v calls in %v seconds", n, took)
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

// A circuit that opened in one replica is a hint to the others: it shows, it makes a few
// failures of their own enough, and it refuses nothing by itself.
func TestACircuitOfOneReplicaIsAHintToTheOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	houses := group(t, 2, add(redisSection(t, server, true)),
		providers("retry: {tries: 1}", "breaker: {minRequests: 20, window: 60s, open: 60s}"))
	first, other := houses[0], houses[1]
	for range 30 {
		other.get(box).want(t, 200)
		other.get(anothersBox).want(t, 200)
	}
	broken := first.fault(simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultStatus,
		Status: 503})
	eventually(t, "the circuit of the first replica to open", func() bool {
		first.get(box)
		first.get(anothersBox)
		return first.upstreamStatus("provider nsso").Circuit == "open"
	})
	eventually(t, "the other replica to hear of it", func() bool {
		return !other.upstreamStatus("provider nsso").SuspectedUntil.IsZero()
	})
	first.sim.RemoveFault(broken)
	for range 10 { // what is well for the other replica stays open to it
		other.get(box).want(t, 200)
		other.get(anothersBox).want(t, 200)
	}
	if s := other.upstreamStatus("provider nsso"); s.Circuit != "closed" || s.Opened != 0 {
		t.Fatalf("%+v", s)
	}
	if log := other.log.String(); !strings.Contains(log, "another replica's circuit is open") {
		t.Error("the log does not say why")
	}
	if s := first.upstreamStatus("provider nsso"); !s.SuspectedUntil.IsZero() {
		t.Errorf("a replica took its own hint: %+v", s)
	}
	other.fault(simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Kind: simulator.FaultStatus, Status: 503})
	calls := 0
	eventually(t, "the other circuit to open", func() bool {
		calls += 2
		other.get(box)
		other.get(anothersBox)
		return other.upstreamStatus("provider nsso").Circuit == "open"
	})
	if calls > 50 { // 20 that went well, and as many failures; without the hint eighty
		t.Errorf("it took %d failures", calls)
	}
}
