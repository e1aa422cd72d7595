package redisstore_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// awaitTogether waits until replicas know of each other.
func awaitTogether(t testing.TB, list ...*redisstore.Store) {
	t.Helper()
	testkit.Await(t, "the replicas to know of each other", func() error {
		for _, r := range list {
			if n := r.Status().Replicas; n < len(list) {
				return fmt.Errorf("one knows of %d", n)
			}
		}
		return nil
	})
}

// rate is one that no call of a test waits for.
func rate(burst int) config.Rate { return config.Rate{PerSecond: 0.001, Burst: burst} }

func TestARateIsOneForAllReplicas(t *testing.T) {
	server := redistest.Start(t)
	replicas := []*redisstore.Store{idle(t, single(server)), idle(t, single(server)), idle(t, single(server))}
	spend := func(i int) bool {
		wait, err := replicas[i%3].Spend(context.Background(), nil, "enterprise "+number.String(), rate(60), 1, false)
		if err != nil || wait > 1000*time.Second {
			t.Errorf("%s to wait, %v", wait, err)
		}
		return wait == 0
	}
	var admitted atomic.Int64
	var all sync.WaitGroup
	for i := range 99 {
		all.Go(func() {
			if spend(i) {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n != 60 {
		t.Errorf("%d of 60 were admitted", n)
	}
	for _, name := range server.Keys() {
		if server.Do("TTL", name).(int64) < 0 {
			t.Errorf("%s never ends", name)
		}
	}
}

func TestAWaitThatNoBucketCanAskForIsNotUsed(t *testing.T) {
	var answer atomic.Int64
	address := config.RedisAddress{Hosts: []string{testkit.Accept(t, func(_ int, c net.Conn) {
		reply := "-ERR unknown command\r\n" // to HELLO
		for {
			if _, err := c.Read(make([]byte, 64<<10)); err != nil {
				return
			}
			_, _ = io.WriteString(c, reply)
			reply = fmt.Sprintf(":%d\r\n", answer.Load())
		}
	})}}
	for _, c := range []struct {
		micros    int64
		batchPart float64
		good      bool
	}{
		{0, 1, true}, {1, 1, true}, {5e6, 1, true}, {5e6 + 10, 1, false}, {-1, 1, false}, {math.MaxInt64, 1, false},
		{6e6, 0.7, true},
	} {
		answer.Store(c.micros)
		wait, err := idle(t, address).Spend(t.Context(), nil, "a", config.Rate{PerSecond: 2, Burst: 10}, c.batchPart, false)
		if (err == nil) != c.good || c.good && wait != time.Duration(c.micros)*time.Microsecond {
			t.Errorf("%+v: %s, %v", c, wait, err)
		}
	}
}

func TestWithoutRedisARateIsAnErrorAndTheReplicasAreKnown(t *testing.T) {
	server := redistest.Start(t)
	first, second := replica(t, single(server)), replica(t, single(server))
	awaitTogether(t, first, second)
	server.Stop()
	testkit.Await(t, "Redis to be away", func() error {
		if _, err := first.Spend(t.Context(), nil, "a", rate(1), 1, false); !leftAlone(err) {
			return fmt.Errorf("the error is %w", err)
		}
		return nil
	})
	if n := first.Replicas(); n != 2 {
		t.Errorf("%d replicas share a rate", n)
	}
	// A replica that has never reached Redis goes by the configuration.
	if n := idle(t, single(server), func(o *redisstore.Options) { o.Replicas = 5 }).Replicas(); n != 5 {
		t.Errorf("%d replicas share a rate, it is said", n)
	}
}

// counts has a replica look twice, and checks how many it then counts.
func counts(t *testing.T, r *redisstore.Store, want int) {
	t.Helper()
	_, err := r.Check(t.Context())
	testkit.Must(t, err)
	if n := r.Replicas(); n != want {
		t.Fatalf("%d replicas share a rate, not %d", n, want)
	}
}

func TestReplicasThatStopCountNoMore(t *testing.T) {
	server, stays := fresh(t)
	stops := idle(t, single(server))
	counts(t, stays, 1)
	counts(t, stops, 2)
	counts(t, stays, 2)
	server.Do("FLUSHALL")
	counts(t, stays, 2) // the other one has not looked yet
	counts(t, stops, 2)
	counts(t, stays, 2)
	// Two that left without a word, a stranger, and somebody who spoils it all.
	for _, id := range server.Do("HKEYS", members).([]any) {
		server.Do("HSET", members, id, "1 ")
	}
	server.Do("HSET", members, "stopped", "1 ", "garbage", "x")
	for range 5 { // ten looks
		counts(t, stays, 2)
	}
	counts(t, stays, 1)
	server.Do("DEL", members)
	server.Do("LPUSH", members, "x")
	if _, err := stays.Check(t.Context()); err == nil {
		t.Error("a list was taken for the members")
	}
	counts(t, stays, 1)
}

func TestARequestHasFiftyMillisecondsForRedisAltogether(t *testing.T) {
	server := redistest.Start(t)
	for spent, want := range map[time.Duration]bool{49 * time.Millisecond: true, 50 * time.Millisecond: false} {
		r := idle(t, single(server), withTimeout(short))
		var a call.Allowance
		a.Spend(spent)
		_, err := r.Spend(t.Context(), &a, "a", rate(60), 1, false)
		asked := err == nil || !strings.Contains(err.Error(), "waited for it long enough")
		if s := r.Status(); asked != want || !asked && s.State != redisstore.StateUp {
			t.Errorf("after %s: %v, %+v", spent, err, s)
		}
	}
}

func TestACallMayTakeWhatIsLeftOfItsRequest(t *testing.T) {
	server, r := fresh(t)
	server.Freeze()
	defer server.Thaw()
	var a call.Allowance
	const before = relaxed - 20*time.Millisecond
	a.Spend(before)
	if _, err := r.Spend(t.Context(), &a, "a", rate(60), 1, false); err == nil {
		t.Fatal("a frozen Redis answered")
	}
	if took := a.Spent() - before; took > relaxed/2 {
		t.Errorf("the call took %s", took)
	}
}

func TestARedisThatIsAlwaysSlowIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	slow := delay(t, server.Addr, 20*time.Millisecond)
	r := replica(t, config.RedisAddress{Hosts: []string{slow.addr}}, withTimeout(short), withKeys())
	testkit.Await(t, "Redis to be left alone", func() error {
		spent := new(call.Allowance)
		for i := range 4 {
			_, _, _ = r.Load(t.Context(), spent, sharedKey(fmt.Sprint("/referenceData/", i)))
		}
		if s := r.Status(); s.State != redisstore.StateAway || s.Opened == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	slow.by.Store(0)
	awaitUp(t, r)
}
