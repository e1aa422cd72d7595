package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// awaitFlush waits until a cache was emptied more than so many times.
func awaitFlush(t *testing.T, l *listener, before int) {
	t.Helper()
	testkit.Await(t, "the memory to be emptied", func() error {
		if _, n := l.told(); n <= before {
			return fmt.Errorf("%d times until now", n)
		}
		return nil
	})
}

func TestAnInvalidationThatCannotBeReadEmptiesTheMemory(t *testing.T) {
	server := redistest.Start(t)
	var l listener
	r := replica(t, single(server), withListener(&l))
	awaitUp(t, r)
	_, before := l.told()
	server.Do("PUBLISH", channel, "nonsense")
	awaitFlush(t, &l, before)
}

func TestGatewaysOfTwoEnvironmentsDoNotMeet(t *testing.T) {
	server := redistest.Start(t)
	in := func(namespace string, database int, key byte, l *listener) *redisstore.Store {
		a := single(server)
		a.Database = database
		named := func(o *redisstore.Options) { o.Namespace = namespace }
		return replica(t, a, withKeys(keyOf(t, "k1", key)), withListener(l), named)
	}
	// One server, with a namespace or a database each; the ids of their keys are the same.
	var l listener
	ours, sibling := in("production", 0, 1, &l), in("production", 0, 1, new(listener))
	awaitUp(t, ours)
	k := keyOfAnswers("/messages")
	keep(t, ours, k, subject)
	for _, r := range []*redisstore.Store{in("acceptance", 0, 2, new(listener)), in("production", 1, 3, new(listener))} {
		if kept(t, r, k) {
			t.Error("an answer of another environment")
		}
		makeVoid(t, r, cache.Everything)
	}
	if !kept(t, ours, k) {
		t.Error("another environment's purge counts here")
	}
	l.await(t, sibling, k.Resource()) // which comes behind what was published before
	if applied, _ := l.told(); slices.Contains(applied, cache.Everything) {
		t.Errorf("told of another environment: %v", applied)
	}
}

func TestALostSubscriptionEmptiesTheMemory(t *testing.T) {
	for name, way := range map[string]struct{ lose, back func(*redistest.Server) }{
		"cut":    {func(s *redistest.Server) { s.Do("CLIENT", "KILL", "TYPE", "pubsub") }, func(*redistest.Server) {}},
		"frozen": {(*redistest.Server).Freeze, (*redistest.Server).Thaw},
		"gone":   {(*redistest.Server).Stop, (*redistest.Server).Run},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			var l listener
			r := replica(t, single(server), withListener(&l))
			awaitUp(t, r)
			_, before := l.told()
			way.lose(server)
			awaitFlush(t, &l, before)
			way.back(server)
			awaitFlush(t, &l, before+1) // of what came meanwhile
			awaitUp(t, r)
		})
	}
}

func TestInvalidationsThatFailedAreRepeatedBeforeRedisIsReadAgain(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	writer, other := replica(t, single(server), withTimeout(100*time.Millisecond)), idle(t, single(server))
	awaitUp(t, writer)
	k := keyOfAnswers("/messages")
	keep(t, other, k, subject)
	server.Stop()
	if err := writer.Bump(t.Context(), nil, k.Resource()); err == nil {
		t.Fatal("it was told to nobody")
	}
	if n := writer.Status().Untold; n != 1 {
		t.Fatalf("%d untold", n)
	}
	// A Store with other settings that takes this one's place tells it as well.
	next := idle(t, single(server))
	next.TellLater(writer.Untold()...)
	if _, _, err := next.Load(t.Context(), nil, k); !leftAlone(err) {
		t.Fatalf("the next store reads before it has told: %v", err)
	}
	server.Run()
	// As soon as the writer reads again, or has told all, nothing old is there.
	testkit.Await(t, "the writer to read again", func() error {
		list, mark, err := writer.Load(t.Context(), nil, k)
		if len(list) > 0 {
			t.Fatal("the writer is given what it has written over")
		}
		if err == nil && mark == 0 {
			return errors.New("no mark")
		}
		return err
	})
	if kept(t, idle(t, single(server)), k) {
		t.Fatal("the others are given what was written over")
	}
}

func TestTheOutboxKeepsEverything(t *testing.T) {
	server := redistest.Start(t)
	tell := func(r *redisstore.Store) {
		_, err := r.Check(t.Context())
		testkit.Must(t, err)
	}
	const long = time.Minute // is twice as long as what was told is told again
	for name, c := range map[string]struct {
		write func(r *redisstore.Store, sleep func(time.Duration))
		want  []cache.Scope
	}{
		"told, and all is well": {func(r *redisstore.Store, _ func(time.Duration)) { makeVoid(t, r, 1) }, nil},
		"told lately, before trouble": {func(r *redisstore.Store, sleep func(time.Duration)) {
			makeVoid(t, r, 1)
			sleep(long)
			makeVoid(t, r, 2)
			r.TellLater()
		}, []cache.Scope{2}},
		"not told for long": {func(r *redisstore.Store, sleep func(time.Duration)) {
			r.TellLater(1)
			sleep(long)
			r.TellLater()
		}, []cache.Scope{1}},
		"told again": {func(r *redisstore.Store, _ func(time.Duration)) {
			r.TellLater(1)
			tell(r)
		}, nil},
		"more than can be told": {func(r *redisstore.Store, _ func(time.Duration)) {
			for i := range cache.Scope(257) {
				r.TellLater(i)
			}
		}, []cache.Scope{cache.Everything}},
	} {
		now := time.Now()
		r := idle(t, single(server), func(o *redisstore.Options) { o.Now = func() time.Time { return now } })
		c.write(r, func(d time.Duration) { now = now.Add(d) })
		if got := r.Untold(); !slices.Equal(got, c.want) || r.Status().Untold != len(c.want) {
			t.Errorf("%s: %v are untold", name, got)
		}
	}
}

func TestWhatIsWrittenAgainWhileItIsBeingToldIsToldAgain(t *testing.T) {
	server := redistest.Start(t)
	way := delay(t, server.Addr, 0)
	r := idle(t, config.RedisAddress{Hosts: []string{way.addr}})
	epoch := func() (n int64) {
		_, err := fmt.Sscan(server.Do("HGET", epochs, 1).(string), &n)
		testkit.Must(t, err)
		return n
	}
	tell := func() {
		r.TellLater(1)
		_, err := r.Check(t.Context()) // which looks twice
		testkit.Must(t, err)
	}
	tell()
	before := epoch()
	way.beforeNext.Store(new(func() { r.TellLater(1) }))
	if tell(); epoch() != before+2 {
		t.Errorf("it was told %d times", epoch()-before)
	}
}
