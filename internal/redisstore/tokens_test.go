package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

func TestTenReplicasAskForOneToken(t *testing.T) {
	server := redistest.Start(t)
	as := &issuer{t: t}
	var replicas []*redisstore.Store
	for range 10 {
		replicas = append(replicas, idle(t, single(server)))
	}
	hashes := make([]string, len(replicas))
	for round := range 2 { // in the second, the token was refused or is to be renewed
		var all sync.WaitGroup
		for i, r := range replicas {
			all.Go(func() { hashes[i] = as.obtain(r, hashes[i]).Hash() })
		}
		all.Wait()
		if n := as.asked.Load(); n != int64(round+1) {
			t.Fatalf("the Authorization Server was asked %d times for token %d", n, round+1)
		}
		for _, h := range hashes {
			if h != hashes[0] {
				t.Fatal("two tokens are in use")
			}
		}
	}
	if all := string(server.Everything()); strings.Contains(all, hashes[0]) {
		t.Errorf("Redis shows the hash of a token: %q", all)
	}
	for _, name := range server.Keys() { // it ends there before it expires
		if left := server.Do("PTTL", name).(int64); left <= 0 || left > (time.Hour-2*time.Second).Milliseconds() {
			t.Errorf("%s is kept for %d ms", name, left)
		}
	}
}

func TestAReplicaWhoseRequestFailsLetsTheNextAsk(t *testing.T) {
	server, r := fresh(t)
	refused := errors.New("refused")
	if _, err := r.Obtain(t.Context(), payroll, "", func(context.Context) (authn.Token, error) {
		return authn.Token{}, refused
	}); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if names := server.Keys(); len(names) != 0 {
		t.Fatalf("left behind: %v", names)
	}
	as := &issuer{t: t}
	if as.obtain(idle(t, single(server)), ""); as.asked.Load() != 1 {
		t.Fatal("the next replica did not ask")
	}
}

// A replica that stopped while it was asking, or sleeps for longer than its lock lasts, holds
// nobody up. What it gets at last is not stored over a newer token.
func TestALockEndsByItselfAndWithItTheRightToStore(t *testing.T) {
	server, slow := fresh(t)
	as := &issuer{t: t}
	var newer authn.Token
	older := obtain(t, slow, "", func(ctx context.Context) (authn.Token, error) {
		token, err := as.fetch(ctx)
		limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel() // whoever waits for the lock asks itself when half of its time is over
		if _, err := idle(t, single(server)).Obtain(limited, payroll, "", as.fetch); err != nil {
			t.Error(err)
		}
		for _, lock := range server.Keys() {
			if left := server.Do("PTTL", lock).(int64); left <= 0 || left > (obtaining/2+2*time.Second).Milliseconds() {
				t.Errorf("the lock lasts for another %d ms", left)
			}
			server.Do("PEXPIRE", lock, 1)
		}
		newer = as.obtain(idle(t, single(server)), "")
		return token, err
	})
	if n := as.asked.Load(); n != 3 {
		t.Fatalf("asked %d times", n)
	}
	if got := as.obtain(idle(t, single(server)), ""); got.Hash() != newer.Hash() || got.Hash() == older.Hash() {
		t.Fatal("the older token took the newer one's place")
	}
}

func TestWhatIsNoTokenIsReplaced(t *testing.T) {
	s := redistest.Start(t)
	for name, spoil := range map[string]func(at string){
		"garbage":       func(at string) { s.Do("SET", at, "garbage", "EX", 1000) },
		"long garbage":  func(at string) { s.Do("SET", at, strings.Repeat("g", 5000), "EX", 1000) },
		"nothing":       func(at string) { s.Do("SET", at, "", "EX", 1000) },
		"one bit":       func(at string) { s.Do("SETBIT", at, 900, 1-s.Do("GETBIT", at, 900).(int64)) },
		"a list":        func(at string) { s.Do("DEL", at); s.Do("LPUSH", at, "x") },
		"kept for ever": func(at string) { s.Do("PERSIST", at) },
		"another key's value": func(at string) {
			other := payroll
			other.Scopes = "everything"
			if _, err := idle(t, single(s)).Obtain(t.Context(), other, "", func(context.Context) (authn.Token, error) {
				return tokenOf(t, other, "powerful", time.Hour), nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, name := range s.Keys() {
				if name != at {
					s.Do("COPY", name, at, "REPLACE")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.Do("FLUSHALL")
			as := &issuer{t: t}
			as.obtain(idle(t, single(s)), "")
			spoil(nameOf(t, s, "access"))
			r := idle(t, single(s))
			if got := as.obtain(r, ""); as.asked.Load() != 2 || got.Key() != payroll {
				t.Fatalf("asked %d times", as.asked.Load())
			}
			if st := r.Status(); name != "nothing" && (st.State != redisstore.StateTroubled || st.Reason == "") {
				t.Errorf("nobody is told: %+v", st)
			}
			// The place is good again, for everybody.
			as.obtain(idle(t, single(s)), "")
			as.obtain(idle(t, single(s)), "")
			if n := as.asked.Load(); n > 3 {
				t.Fatalf("asked %d times: the value of no use stays", n)
			}
		})
	}
}

func TestReplicasWithDifferentKeysOfOneIDAreReported(t *testing.T) {
	server, right := fresh(t)
	wrong := idle(t, single(server), withKeys(keyOf(t, "k1", 9)))
	_, err := right.Check(t.Context())
	testkit.Must(t, err)
	if _, err := wrong.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `"k1"`) {
		t.Fatal(err)
	}
	as := &issuer{t: t}
	as.obtain(right, "")
	as.obtain(wrong, "")
	if n := as.asked.Load(); n != 2 {
		t.Fatalf("asked %d times", n)
	}
}
