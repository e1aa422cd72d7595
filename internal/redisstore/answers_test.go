package redisstore_test

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

func TestRedisShowsNothingOfWhatIsKept(t *testing.T) {
	server, r := fresh(t)
	keep(t, r, keyOfAnswers("/messages/message-4711"), subject)
	(&issuer{t: t}).obtain(r, "")
	if _, err := r.Spend(t.Context(), nil, "enterprise "+number.String(), rate(60), 1, false); err != nil {
		t.Fatal(err)
	}
	all := string(server.Everything())
	for _, kind := range []string{"answer", "access", "gcra"} {
		if !strings.Contains(all, "ebox:"+kind+":{") {
			t.Errorf("no %s was kept: %q", kind, all)
		}
	}
	for _, secret := range []string{"Aanslag", "206731645", "message-4711", "messages", "provider.example",
		"payroll", "application/json", "very-secret-token", "as.example"} {
		if strings.Contains(all, secret) {
			t.Errorf("Redis shows %q", secret)
		}
	}
}

func TestWithoutEncryptionKeysOnlySharedAnswersAreKept(t *testing.T) {
	server := redistest.Start(t)
	r, other := idle(t, single(server), withKeys()), idle(t, single(server), withKeys())
	keep(t, r, keyOfAnswers("/messages"), subject)
	as := &issuer{t: t} // each replica gets its own tokens
	as.obtain(r, "")
	as.obtain(other, "")
	if names := server.Keys(); len(names) != 0 || kept(t, r, keyOfAnswers("/messages")) || as.asked.Load() != 2 {
		t.Fatalf("written for an enterprise: %v, %d tokens were asked for", names, as.asked.Load())
	}
	keep(t, r, sharedKey("/referenceData"), subject)
	if !kept(t, other, sharedKey("/referenceData")) {
		t.Fatal("what belongs to nobody is not shared")
	}
}

func TestABumpEndsWhatWasKeptBefore(t *testing.T) {
	server, writer := fresh(t)
	reader := idle(t, single(server))
	k := keyOfAnswers("/messages")
	for i, scope := range k.Scopes() {
		before := keep(t, reader, k, subject)
		if !kept(t, writer, k) {
			t.Fatal("not kept")
		}
		makeVoid(t, writer, scope)
		if kept(t, reader, k) || kept(t, writer, k) {
			t.Fatalf("scope %d: an answer of before the write is still there", i)
		}
		// A read that began before the write cannot put old data back.
		testkit.Must(t, reader.Save(t.Context(), k, answer("old"), before, time.Hour))
		if kept(t, reader, k) {
			t.Fatalf("scope %d: old data came back", i)
		}
	}
	makeVoid(t, writer, cache.ScopeOfRoute("another"))
	keep(t, reader, k, subject)
	if !kept(t, writer, k) {
		t.Fatal("another route's purge dropped it")
	}
}

func TestEpochsThatAreLostBringNothingBack(t *testing.T) {
	server, r := fresh(t)
	k := keyOfAnswers("/messages")
	field := uint32(k.Scopes()[0])
	keep(t, r, k, subject)
	for name, lose := range map[string]func(){
		"evicted":         func() { server.Do("DEL", epochs) },
		"one of them":     func() { server.Do("HDEL", epochs, field) },
		"another type":    func() { server.Do("DEL", epochs); server.Do("LPUSH", epochs, "x") },
		"no number":       func() { server.Do("HSET", epochs, field, "x") },
		"far ahead":       func() { server.Do("HSET", epochs, field, "9000000000000000") },
		"bumped and lost": func() { makeVoid(t, r, k.Scopes()[0]); server.Do("DEL", epochs) },
	} {
		t.Run(name, func(t *testing.T) {
			lose()
			for range 3 {
				if kept(t, r, k) {
					t.Fatal("an answer whose epoch is lost is given")
				}
			}
			keep(t, r, k, subject)
			if !kept(t, r, k) {
				t.Fatal("nothing can be kept any more")
			}
		})
	}
}

// Somebody who can write to Redis puts an old answer back, with the epochs of its time.
func TestAnOldAnswerWithItsOldEpochsIsNotUsed(t *testing.T) {
	k := keyOfAnswers("/messages")
	for who, write := range map[string]func(r, other *redisstore.Store){
		"this replica": func(r, _ *redisstore.Store) { makeVoid(t, r, k.Resource()) },
		"another one, and this one read then": func(r, other *redisstore.Store) {
			makeVoid(t, other, cache.Everything)
			kept(t, r, k)
		},
	} {
		server, r := fresh(t)
		other := idle(t, single(server))
		keep(t, r, k, "old")
		names := []string{nameOf(t, server, "answer"), epochs}
		copies := []any{server.Do("DUMP", names[0]), server.Do("DUMP", names[1])}
		write(r, other)
		for i, name := range names {
			server.Do("RESTORE", name, 0, copies[i], "REPLACE")
		}
		if !kept(t, idle(t, single(server)), k) {
			t.Fatal("what was put back is not what it was")
		}
		if kept(t, r, k) {
			t.Fatalf("written by %s: the old answer is given", who)
		}
		if s := r.Status(); s.Untold == 0 || !strings.Contains(s.Reason, "lower than before") {
			t.Errorf("nobody is told: %+v", s)
		}
		// The next look moves the epoch on, and then it counts for everybody.
		_, err := r.Check(t.Context())
		testkit.Must(t, err)
		if kept(t, r, k) || kept(t, other, k) {
			t.Fatal("the old answer came back")
		}
		keep(t, r, k, "new")
		if !kept(t, other, k) {
			t.Fatal("nothing can be kept any more")
		}
	}
}

func TestVariantsStandSideBySideAndAreBounded(t *testing.T) {
	_, r := fresh(t)
	k := keyOfAnswers("/messages")
	mark := keep(t, r, k, subject)
	save := func(language string) {
		e := answer(language)
		e.Selecting = []cache.Selecting{{Name: "Accept-Language", Value: language}}
		testkit.Must(t, r.Save(t.Context(), k, e, mark, time.Hour))
	}
	for range 2 { // the second takes the first's place
		save("nl")
		save("fr")
	}
	if list, _, err := r.Load(t.Context(), nil, k); err != nil || len(list) != 3 {
		t.Fatalf("%d variants, %v", len(list), err)
	}
	const most = 32
	for i := range 2 * most {
		save(fmt.Sprint(i))
	}
	if list, _, _ := r.Load(t.Context(), nil, k); len(list) > most {
		t.Fatalf("%d variants: a caller can fill Redis", len(list))
	}
}

func TestAnswersEndInRedisAndLargeOnesStayOut(t *testing.T) {
	server, r := fresh(t)
	k, large := keyOfAnswers("/messages"), keyOfAnswers("/large")
	mark := keep(t, r, k, subject)
	for _, keep := range []time.Duration{time.Minute, time.Hour, time.Second} { // the longest counts
		testkit.Must(t, r.Save(t.Context(), k, answer(subject), mark, keep))
	}
	_, mark, _ = r.Load(t.Context(), nil, large)
	e := answer("")
	e.Body = make([]byte, 2<<20)
	_, _ = rand.Read(e.Body) // which cannot be compressed
	if err := r.Save(t.Context(), large, e, mark, time.Hour); err != nil || kept(t, r, large) {
		t.Errorf("an answer of %d bytes is kept, or %v", len(e.Body), err)
	}
	for _, name := range server.Keys() {
		if left := server.Do("TTL", name).(int64); name != epochs && (left < 3000 || left > 3600) {
			t.Errorf("%s is kept for %d s", name, left)
		}
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	server := redistest.Start(t)
	const markSize = 8
	for name, spoil := range map[string]func(at, field, other string){
		"cut short": func(at, field, _ string) { server.Do("HSET", at, field, server.Do("HGET", at, field).(string)[:40]) },
		"another resource's, with this one's mark": func(at, field, other string) {
			mark := server.Do("HGET", at, field).(string)[:markSize]
			server.Do("HSET", at, field, mark+server.Do("HGET", other, field).(string)[markSize:])
		},
		"another type": func(at, _, _ string) { server.Do("SET", at, "x") },
		"another variant's": func(at, field, _ string) {
			server.Do("HSET", at, "other", server.Do("HGET", at, field))
			server.Do("HDEL", at, field)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server.Do("FLUSHALL")
			r := idle(t, single(server))
			k, other := keyOfAnswers("/messages"), keyOfAnswers("/other")
			keep(t, r, other, "another enterprise's secret")
			otherAt := nameOf(t, server, "answer")
			server.Do("RENAME", otherAt, "other")
			keep(t, r, k, subject)
			at := nameOf(t, server, "answer")
			spoil(at, answer("").Variant(), "other")
			if list, mark, err := r.Load(t.Context(), nil, k); len(list) != 0 || mark == 0 || err != nil {
				t.Fatalf("%d answers, mark %d, %v", len(list), mark, err)
			}
			if s := r.Status(); s.State != redisstore.StateTroubled {
				t.Errorf("nobody is told: %+v", s)
			}
			server.Do("HDEL", at, "other")
			keep(t, r, k, subject)
			if !kept(t, r, k) {
				t.Fatal("the place stays spoilt")
			}
		})
	}
}

func TestARotationOfEncryptionKeysLosesNoAnswerAndNoWrite(t *testing.T) {
	server := redistest.Start(t)
	k1, k2 := keyOf(t, "k1", 1), keyOf(t, "k2", 2)
	before := idle(t, single(server), withKeys(k1, k2))
	during := idle(t, single(server), withKeys(k2, k1))
	after := idle(t, single(server), withKeys(k2))
	as, k := &issuer{t: t}, keyOfAnswers("/messages")
	as.obtain(before, "")
	keep(t, before, k, subject)
	if !kept(t, during, k) {
		t.Fatal("what the first key has sealed is not found any more")
	}
	// A write at a replica that is further in the rotation counts for all.
	makeVoid(t, during, k.Scopes()[0])
	if kept(t, before, k) {
		t.Fatal("the write was not seen")
	}
	if as.obtain(during, "").Hash() != as.obtain(after, "").Hash() || as.asked.Load() != 2 {
		t.Fatalf("%d tokens were asked for, and not one for each first key", as.asked.Load())
	}
}

func TestAListIsTheSameForEveryReplicaAndReplacesWhatCannotBeRead(t *testing.T) {
	server := redistest.Start(t)
	for name, keys := range map[string][]redisstore.Key{"sealed": {keyOf(t, "k1", 1)}, "plain": nil} {
		registry := "https://registry.example/" + name
		writer := idle(t, single(server), withKeys(keys...))
		reader := idle(t, single(server), withKeys(keys...)).List(registry)
		writer.List(registry).Store(t.Context(), []byte("list"))
		at := nameOf(t, server, "list")
		server.Do("DEL", at)
		for what, spoil := range map[string]func(){
			"there is none": func() {},
			"garbage":       func() { server.Do("SET", at, "garbage") },
			"too short":     func() { server.Do("SET", at, "\x01\x00\x001234567") },
			"another type":  func() { server.Do("DEL", at); server.Do("LPUSH", at, "x") },
		} {
			spoil()
			if got, _, err := reader.Load(t.Context()); err == nil {
				t.Fatalf("%s, %s: %q", name, what, got)
			}
			began := time.Now()
			writer.List(registry).Store(t.Context(), []byte("list"))
			got, since, err := reader.Load(t.Context())
			if err != nil || string(got) != "list" || since.Before(began.Add(-time.Millisecond)) || since.After(time.Now()) {
				t.Fatalf("%s, %s: %q of %s, %v", name, what, got, since, err)
			}
			if _, _, err := writer.List(registry + "/other").Load(t.Context()); err == nil {
				t.Fatalf("%s: one registry's list is another's", name)
			}
			server.Do("DEL", at)
		}
	}
}

func TestAListThatCameWhileRedisWasAwayIsKept(t *testing.T) {
	server := redistest.Start(t)
	r := replica(t, single(server), withTimeout(100*time.Millisecond))
	awaitUp(t, r)
	server.Stop()
	r.List("https://registry.example").Store(t.Context(), []byte("old"))
	r.List("https://registry.example").Store(t.Context(), []byte("new"))
	server.Run()
	testkit.Await(t, "the list to be kept", func() error {
		list, _, err := idle(t, single(server)).List("https://registry.example").Load(t.Context())
		if err == nil && string(list) != "new" {
			t.Fatalf("%q", list)
		}
		return err
	})
}

// Without encryption keys, whoever writes to Redis can make a few bytes grow a thousandfold.
func TestCompressedAnswersCannotUseUpTheMemory(t *testing.T) {
	server, k := redistest.Start(t), sharedKey("/referenceData")
	r := idle(t, single(server), withKeys())
	mark := keep(t, r, k, subject)
	for i := range 16 {
		e := answer("")
		e.Body = make([]byte, 8<<20) // which becomes some kilobytes
		e.Selecting = []cache.Selecting{{Name: "Accept-Language", Value: strconv.Itoa(i)}}
		testkit.Must(t, r.Save(t.Context(), k, e, mark, time.Hour))
	}
	list, _, err := r.Load(t.Context(), nil, k)
	size := 0
	for _, e := range list {
		size += len(e.Body)
	}
	if err != nil || len(list) == 0 || size > (64+16)<<20 {
		t.Errorf("%d bytes of %d answers, %v", size, len(list), err)
	}
}
