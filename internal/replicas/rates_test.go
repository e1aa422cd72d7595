package replicas

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/redistest"
)

// awaitTogether waits until replicas know of each other and each has its part.
func awaitTogether(t testing.TB, list ...*Redis) {
	t.Helper()
	redistest.Eventually(t, "the replicas to know of each other", func() error {
		for _, r := range list {
			last := r.members.last.Load()
			if last == nil || last.known != len(list) || last.share < 0.99/float64(len(list)) {
				return fmt.Errorf("%+v", last)
			}
		}
		return nil
	})
}

// calls counts the commands of a kind that a server has had.
func calls(server *redistest.Server, command string) (n int) {
	for line := range strings.Lines(server.Do("INFO", "commandstats").(string)) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n
}

func TestManyCallsAtOnceAskTogether(t *testing.T) {
	server := redistest.Start(t)
	r := replica(t, single(server))
	awaitTogether(t, r)
	rate := r.Rate("upstream nsso", Spec{PerSecond: 1, Burst: 700})
	rate.Take(t.Context(), nil, false)
	before := calls(server, "get")
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if rate.Take(context.Background(), nil, false) == 0 {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n < 699 || n > 701+5 { // what came back while it lasted
		t.Errorf("%d of 699 were admitted", n)
	}
	if n := calls(server, "get") - before; n > 300 {
		t.Errorf("a thousand calls asked Redis %d times", n)
	}
	// An empty bucket is not asked for what it cannot have.
	before = calls(server, "get")
	for range 1000 {
		rate.Take(t.Context(), nil, false)
	}
	if n := calls(server, "get") - before; n > 20 {
		t.Errorf("a thousand refusals asked Redis %d times", n)
	}
}

func TestARateShowsNothingOfWhoseItIs(t *testing.T) {
	server := redistest.Start(t)
	r := replica(t, single(server))
	awaitTogether(t, r)
	if short := r.Rate("enterprise "+number.String(), Spec{PerSecond: 1, Burst: 1}).Take(t.Context(), nil,
		false); short != 0 {
		t.Fatal(short)
	}
	all := string(server.Everything())
	if !strings.Contains(all, "ebox:rate:{") {
		t.Fatalf("there is nothing to look at: %s", all)
	}
	if strings.Contains(all, number.String()) || strings.Contains(all, "206731645") {
		t.Error(all)
	}
	for _, name := range server.Keys() {
		if server.Do("TTL", name).(int64) < 0 {
			t.Errorf("%s never ends", name)
		}
	}
}

func TestABucketThatHoldsSomethingElseIsBegunAnew(t *testing.T) {
	server := redistest.Start(t)
	r := replica(t, single(server))
	awaitTogether(t, r)
	rate := r.Rate("a", Spec{PerSecond: 0.001, Burst: 2})
	for what, spoil := range map[string][]any{
		"garbage": {"SET", rate.name, "garbage"}, "another type": {"LPUSH", rate.name, "x"},
		"numbers of no use": {"SET", rate.name, "1 . ."},
	} {
		server.Do("DEL", rate.name)
		server.Do(spoil...)
		rate.empty = time.Time{}
		rate.Take(t.Context(), nil, false) // of its own share, if Redis had no answer
		rate.empty, rate.ahead = time.Time{}, 0
		if short := rate.Take(t.Context(), nil, false); short != 0 {
			t.Errorf("%s: %s to wait", what, short)
		}
	}
	server.Do("DEL", "ebox:replicas")
	server.Do("LPUSH", "ebox:replicas", "x")
	redistest.Eventually(t, "the places to be taken anew", func() error {
		if kind := server.Do("TYPE", "ebox:replicas"); kind != "hash" {
			return fmt.Errorf("%v", kind)
		}
		return nil
	})
	server.Do("HSET", "ebox:replicas", "somebody", "garbage", "clock", "garbage")
	awaitTogether(t, r)
}

func TestWithoutRedisEachReplicaHasItsShare(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	first, second := replica(t, single(server)), replica(t, single(server))
	awaitTogether(t, first, second)
	spec := Spec{PerSecond: 100, Burst: 100}
	one, other := first.Rate("a", spec), second.Rate("a", spec)
	one.Take(t.Context(), nil, false)
	other.Take(t.Context(), nil, false)
	server.Stop()
	awaitState(t, first, StateAway)
	awaitState(t, second, StateAway)
	redistest.Eventually(t, "the places to be over", func() error {
		for _, r := range []*Redis{first, second} {
			if _, left, _ := r.members.apart(r.now()); left > 0 {
				return fmt.Errorf("one lasts for %s", left)
			}
		}
		return nil
	})
	for _, r := range []*Rate{one, other} {
		for r.Take(t.Context(), nil, false) == 0 { // what has gathered
		}
	}
	began, admitted := time.Now(), 0
	for time.Since(began) < time.Second {
		for _, r := range []*Rate{one, other} {
			if r.Take(t.Context(), nil, false) == 0 {
				admitted++
			}
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began).Seconds(); float64(admitted) < 80*took || float64(admitted) > 105*took+2 {
		t.Errorf("%d calls in %.2f seconds", admitted, took)
	}
	// One that has never reached Redis goes by what it was told.
	stranger := idle(t, single(server), func(o *Options) { o.Replicas = 5 }).Rate("a", Spec{PerSecond: 5, Burst: 5})
	if short := stranger.Take(t.Context(), nil, false); short != 0 {
		t.Errorf("%s to wait for the first call", short)
	}
	if short := stranger.Take(t.Context(), nil, false); short < 250*time.Millisecond || short > time.Second {
		t.Errorf("%s to wait for a fifth of five a second", short)
	}
}

func TestAReplicaThatStopsGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stays := replica(t, single(server))
	stops := idle(t, single(server))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { stops.Run(ctx) })
	awaitTogether(t, stays, stops)
	if s := stays.Status(); s.Replicas != 2 || s.Apart != 0 {
		t.Errorf("%+v", s)
	}
	cancel()
	running.Wait()
	awaitTogether(t, stays)
}

func TestARequestWaitsForASlowRedisOnceAndNoLonger(t *testing.T) {
	server := redistest.Start(t)
	best := time.Hour
	for range 4 {
		slow := delay(t, server.Addr, 0)
		var r *Redis
		redistest.Eventually(t, "a connection", func() error { // a busy machine may be slow by itself
			r = idle(t, Address{Kind: Single, Hosts: []string{slow.addr}}, withPatience(0)) // no probe looks at it
			_, _, err := r.Answers().Load(t.Context(), nil, keyOfAnswers("/messages"))
			return err
		})
		slow.set(20 * time.Millisecond)
		c := call.New()
		began := time.Now()
		for i := range 10 { // rates, partitions, a write
			_, _, _ = r.Answers().Load(t.Context(), &c.Redis, keyOfAnswers(fmt.Sprint("/messages/", i)))
		}
		took := time.Since(began)
		if took < 20*time.Millisecond || c.Redis.Spent() < 20*time.Millisecond {
			t.Fatalf("it took %s, of which %s for Redis: nobody waited", took, c.Redis.Spent())
		}
		best = min(best, took)
	}
	if best > 2*budget { // every call would have waited 20 ms
		t.Errorf("ten calls of one request took %s", best)
	}
}

func TestARedisThatIsAlwaysSlowIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	slow := delay(t, server.Addr, 20*time.Millisecond)
	r := replica(t, Address{Kind: Single, Hosts: []string{slow.addr}}, withPatience(0), withKeys())
	redistest.Eventually(t, "Redis to be left alone", func() error {
		spent := new(call.Allowance)
		for i := range 4 {
			_, _, _ = r.Answers().Load(t.Context(), spent, sharedKey(fmt.Sprint("/referenceData/", i)))
		}
		if s := r.Status(); s.State != StateAway || s.Opened == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	// Probes are answered in time, and yet requests stay away from it.
	time.Sleep(300 * time.Millisecond)
	if s := r.Status(); s.State != StateAway || !strings.Contains(s.Reason, "slow") &&
		!strings.Contains(s.Reason, "in time") {
		t.Errorf("%+v", s)
	}
	slow.hurry()
	awaitUp(t, r)
}
