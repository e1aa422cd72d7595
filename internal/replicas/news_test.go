package replicas

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/redistest"
)

func TestEveryOtherReplicaHearsOfAWrite(t *testing.T) {
	server := redistest.Start(t)
	for _, keys := range [][]Key{{keyOf(t, "k1", 1)}, nil} {
		writer, first, second := replica(t, single(server), withKeys(keys...)), replica(t, single(server), withKeys(keys...)),
			replica(t, single(server), withKeys(keys...))
		ears := []*ear{{}, {}, {}}
		for i, r := range []*Redis{writer, first, second} {
			r.Listen(ears[i])
			awaitUp(t, r)
		}
		// The best of a few: a busy machine is late now and then, and news that are not
		// told at once but fetched are late each time.
		best := time.Hour
		for n := 1; n <= 5 && best > time.Second; n++ {
			scope := keyOfAnswers(fmt.Sprintf("/messages/%d", n)).Scopes()[0]
			began := time.Now()
			if err := writer.Answers().Bump(t.Context(), nil, scope); err != nil {
				t.Fatal(err)
			}
			for _, e := range ears[1:] {
				redistest.Eventually(t, "the news", func() error {
					if news, _ := e.heard(); len(news) != n || news[n-1].Scope != scope {
						return fmt.Errorf("heard %v", news)
					}
					return nil
				})
			}
			best = min(best, time.Since(began))
		}
		if best > time.Second {
			t.Errorf("it took %s or more", best)
		}
		if news, _ := ears[0].heard(); len(news) != 0 {
			t.Errorf("the writer heard itself: %v", news)
		}
	}
}

func TestNewsThatCannotBeReadEmptiesTheMemory(t *testing.T) {
	server := redistest.Start(t)
	r := replica(t, single(server))
	e := new(ear)
	r.Listen(e)
	awaitUp(t, r)
	_, before := e.heard()
	server.Do("PUBLISH", r.channel, "nonsense")
	redistest.Eventually(t, "the memory to be emptied", func() error {
		if _, n := e.heard(); n != before+1 {
			return fmt.Errorf("flushed %d times", n-before)
		}
		return nil
	})
}

func TestGatewaysOfTwoEnvironmentsDoNotMeet(t *testing.T) {
	server := redistest.Start(t)
	in := func(namespace string, database int, key byte) *Redis {
		a := single(server)
		a.Database = database
		return replica(t, a, withKeys(keyOf(t, "k1", key)), func(o *Options) { o.Namespace = namespace })
	}
	// One server, with a namespace or a database each; the ids of their keys are the same.
	ours := in("production", 0, 1)
	others := []*Redis{in("acceptance", 0, 2), in("production", 1, 3)}
	e := new(ear)
	for _, r := range append(others, ours) {
		r.Listen(e)
		awaitUp(t, r)
	}
	_, before := e.heard()
	k := keyOfAnswers("/messages")
	keep(t, ours, k, subject)
	for _, r := range others {
		if kept(t, r, k) {
			t.Error("an answer of another environment")
		}
		if err := r.Answers().Bump(t.Context(), nil, cache.Everything); err != nil {
			t.Fatal(err)
		}
		awaitUp(t, r)
	}
	if !kept(t, ours, k) {
		t.Error("another environment's purge counts here")
	}
	if news, flushed := e.heard(); len(news) > 0 || flushed != before {
		t.Errorf("heard of another environment: %v, flushed %d times", news, flushed-before)
	}
}

func TestALostSubscriptionEmptiesTheMemory(t *testing.T) {
	for name, lose := range map[string]struct{ lose, back func(*redistest.Server) }{
		"cut":    {func(s *redistest.Server) { s.Do("CLIENT", "KILL", "TYPE", "pubsub") }, func(*redistest.Server) {}},
		"frozen": {(*redistest.Server).Freeze, (*redistest.Server).Thaw},
		"gone":   {(*redistest.Server).Stop, (*redistest.Server).Run},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			r := replica(t, single(server))
			e := new(ear)
			r.Listen(e)
			awaitUp(t, r)
			// The best of a few, since the machine may be busy: who waits longer than two
			// beats does so each time.
			best := time.Hour
			for range 5 {
				_, before := e.heard()
				lose.lose(server)
				began := time.Now()
				redistest.Eventually(t, "the memory to be emptied", func() error {
					if _, n := e.heard(); n == before {
						return errors.New("it is not")
					}
					return nil
				})
				best = min(best, time.Since(began))
				lose.back(server)
				redistest.Eventually(t, "it to be emptied of what came meanwhile", func() error {
					if _, n := e.heard(); n < before+2 {
						return errors.New("it is not")
					}
					return nil
				})
				awaitUp(t, r)
				if best <= 1200*time.Millisecond {
					return
				}
			}
			t.Errorf("each time after %s or more", best)
		})
	}
}

func TestAReplicaThatMayNotListenIsShownSo(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "deaf", "on", ">p", "~*", "+@all", "resetchannels")
	r := replica(t, Address{Kind: Single, Hosts: []string{server.Addr}, Username: "deaf", Password: "p"})
	s := awaitState(t, r, StateTroubled)
	if !strings.Contains(s.Reason, "NOPERM") || s.Subscribed {
		t.Fatalf("%+v", s)
	}
}

func TestWhatCouldNotBeToldIsToldBeforeRedisIsReadAgain(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	writer, other := replica(t, single(server), withPatience(100*time.Millisecond)), idle(t, single(server))
	e := new(ear)
	listener := replica(t, single(server))
	listener.Listen(e)
	awaitUp(t, writer)
	k := keyOfAnswers("/messages")
	keep(t, other, k, subject)
	server.Stop()
	if err := writer.Answers().Bump(t.Context(), nil, k.Scopes()[0]); err == nil {
		t.Fatal("it was told to nobody")
	}
	if n := writer.Status().Untold; n != 1 {
		t.Fatalf("%d untold", n)
	}
	server.Run()
	// As soon as the writer reads again, or has told all, nothing old is there.
	redistest.Eventually(t, "the writer to read again", func() error {
		list, mark, err := writer.Answers().Load(t.Context(), nil, k)
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

func TestTheOutboxForgetsNothing(t *testing.T) {
	var o outbox
	now := time.Now()
	for i := range cache.Scope(maxScopes) {
		o.keep(i)
	}
	if n := len(o.list()); n != maxScopes {
		t.Fatalf("%d of %d", n, maxScopes)
	}
	o.keep(maxScopes) // one too many
	if due := o.list(); len(due) != 1 || due[cache.Everything] == 0 {
		t.Fatalf("%v", due)
	}

	o = outbox{}
	o.keep(1)
	told := o.list()
	o.keep(1) // written again while it was being told
	o.settle(told)
	if !o.pending() {
		t.Fatal("the second write is forgotten")
	}
	o.settle(o.list())
	if o.pending() {
		t.Fatal("what was told is still due")
	}

	o = outbox{}
	o.told(1, now.Add(-2*remembered))
	o.told(2, now)
	o.again(now)
	if due := o.list(); len(due) != 1 || due[2] == 0 {
		t.Fatalf("told again: %v", due)
	}
	o = outbox{}
	for i := range cache.Scope(maxScopes + 1) {
		o.told(i, now)
	}
	o.again(now)
	if due := o.list(); due[cache.Everything] == 0 {
		t.Fatalf("%d scopes, and not everything", len(due))
	}
}
