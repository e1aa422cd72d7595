package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/redistest"
)

func TestTenReplicasAskForOneToken(t *testing.T) {
	server := redistest.Start(t)
	as := &issuer{t: t}
	var replicas []*Store
	for range 10 {
		replicas = append(replicas, idle(t, single(server)))
	}
	var all sync.WaitGroup
	hashes := make([]string, len(replicas))
	for i, r := range replicas {
		all.Go(func() { hashes[i] = as.obtain(r, "").Hash() })
	}
	all.Wait()
	if n := as.asked.Load(); n != 1 {
		t.Fatalf("the Authorization Server was asked %d times", n)
	}
	for _, h := range hashes {
		if h != hashes[0] {
			t.Fatal("two tokens are in use")
		}
	}
	// A token that an upstream refused, or that is to be renewed, is replaced once.
	for i, r := range replicas {
		all.Go(func() { hashes[i] = as.obtain(r, hashes[i]).Hash() })
	}
	all.Wait()
	if n := as.asked.Load(); n != 2 {
		t.Fatalf("asked %d times, with one renewal", n)
	}
	// What Redis has shows neither token nor client.
	all2 := string(server.Everything())
	for _, secret := range []string{"very-secret-token", "payroll", "as.example", hashes[0]} {
		if strings.Contains(all2, secret) {
			t.Errorf("Redis shows %q in %q", secret, all2)
		}
	}
}

func TestATokenEndsInRedisBeforeItExpires(t *testing.T) {
	server := redistest.Start(t)
	r := idle(t, single(server))
	token, err := r.Tokens().Obtain(t.Context(), payroll, "", func(context.Context) (authn.Token, error) {
		return tokenOf(t, payroll, "secret", time.Minute), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range server.Keys() {
		left := server.Do("PTTL", name).(int64)
		if end := time.Now().Add(time.Duration(left) * time.Millisecond); left <= 0 || end.After(token.Expires()) {
			t.Errorf("%s is kept for %d ms, the token for %s", name, left, time.Until(token.Expires()))
		}
	}
}

func TestWithoutEncryptionKeysNoTokenIsShared(t *testing.T) {
	server := redistest.Start(t)
	as := &issuer{t: t}
	for range 2 {
		as.obtain(idle(t, single(server), withKeys()), "")
	}
	if n := as.asked.Load(); n != 2 {
		t.Fatalf("asked %d times", n)
	}
	if names := server.Keys(); len(names) != 0 {
		t.Fatalf("written: %v", names)
	}
}

func TestAReplicaWhoseRequestFailsLetsTheNextAsk(t *testing.T) {
	server := redistest.Start(t)
	refused := errors.New("refused")
	r := idle(t, single(server))
	if _, err := r.Tokens().Obtain(t.Context(), payroll, "", func(context.Context) (authn.Token, error) {
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

func TestTheLockOfAReplicaThatStoppedEndsByItself(t *testing.T) {
	server := redistest.Start(t)
	stopped := make(chan struct{})
	var asking sync.WaitGroup
	defer asking.Wait()
	defer close(stopped)
	asked := make(chan struct{})
	r := idle(t, single(server))
	asking.Go(func() {
		_, _ = r.Tokens().Obtain(context.Background(), payroll, "", func(context.Context) (authn.Token, error) {
			close(asked)
			<-stopped
			return authn.Token{}, errors.New("stopped")
		})
	})
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	as := &issuer{t: t}
	if _, err := idle(t, single(server)).Tokens().Obtain(ctx, payroll, "", as.fetch); err != nil || as.asked.Load() != 1 {
		t.Fatalf("the other replica never asked: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatal("no time was left for asking")
	}
}

func TestAReplicaThatLostItsLockDoesNotStoreAnOldToken(t *testing.T) {
	server := redistest.Start(t)
	slow, quick := idle(t, single(server)), idle(t, single(server))
	as := &issuer{t: t}
	var newer authn.Token
	older, err := slow.Tokens().Obtain(t.Context(), payroll, "", func(ctx context.Context) (authn.Token, error) {
		token, err := as.fetch(ctx)
		for _, name := range server.Keys() { // the lock runs out while this replica sleeps
			server.Do("DEL", name)
		}
		newer = as.obtain(quick, "")
		return token, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := as.obtain(idle(t, single(server)), ""); got.Hash() != newer.Hash() || got.Hash() == older.Hash() {
		t.Fatal("the older token took the newer one's place")
	}
}

func TestARotationOfEncryptionKeysLosesNoToken(t *testing.T) {
	server := redistest.Start(t)
	k1, k2 := keyOf(t, "k1", 1), keyOf(t, "k2", 2)
	as := &issuer{t: t}
	before := idle(t, single(server), withKeys(k1, k2))
	during := idle(t, single(server), withKeys(k2, k1))
	after := idle(t, single(server), withKeys(k2))
	first := as.obtain(before, "")
	for _, r := range []*Store{during, after} {
		if got := as.obtain(r, ""); got.Hash() != first.Hash() {
			t.Fatal("another token")
		}
	}
	if n := as.asked.Load(); n != 1 {
		t.Fatalf("asked %d times", n)
	}
}

// tokenName is the name under which the one token stands.
func tokenName(t *testing.T, server *redistest.Server) string {
	t.Helper()
	for _, name := range server.Keys() {
		if strings.HasPrefix(name, "ebox:token:") {
			return name
		}
	}
	t.Fatal("no token is stored")
	return ""
}

func TestWhatIsNoTokenIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, server *redistest.Server, at string){
		"garbage": func(_ *testing.T, s *redistest.Server, at string) { s.Do("SET", at, "garbage", "EX", 100) },
		"long garbage": func(_ *testing.T, s *redistest.Server, at string) {
			s.Do("SET", at, strings.Repeat("g", 5000), "EX", 100)
		},
		"nothing": func(_ *testing.T, s *redistest.Server, at string) { s.Do("SET", at, "", "EX", 100) },
		"one bit": func(_ *testing.T, s *redistest.Server, at string) {
			s.Do("SETBIT", at, 900, 1-s.Do("GETBIT", at, 900).(int64))
		},
		"a list":        func(_ *testing.T, s *redistest.Server, at string) { s.Do("DEL", at); s.Do("LPUSH", at, "x") },
		"kept for ever": func(_ *testing.T, s *redistest.Server, at string) { s.Do("PERSIST", at) },
		"another key's value": func(t *testing.T, s *redistest.Server, at string) {
			other := payroll
			other.Scopes = "everything"
			if _, err := idle(t, single(s)).Tokens().Obtain(t.Context(), other, "", func(context.Context) (authn.Token, error) {
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
			server := redistest.Start(t)
			as := &issuer{t: t}
			as.obtain(idle(t, single(server)), "")
			spoil(t, server, tokenName(t, server))
			r := idle(t, single(server))
			if got := as.obtain(r, ""); as.asked.Load() != 2 || got.Key() != payroll {
				t.Fatalf("asked %d times", as.asked.Load())
			}
			if s := r.Status(); name != "nothing" && (s.State != StateTroubled || s.Reason == "") {
				t.Errorf("nobody is told: %+v", s)
			}
			// The place is good again, for everybody.
			as.obtain(idle(t, single(server)), "")
			as.obtain(idle(t, single(server)), "")
			if n := as.asked.Load(); n > 3 {
				t.Fatalf("asked %d times: the value of no use stays", n)
			}
		})
	}
}

func TestReplicasWithDifferentKeysOfOneIDAreToldSo(t *testing.T) {
	server := redistest.Start(t)
	right := replica(t, single(server))
	awaitUp(t, right)
	wrong := replica(t, single(server), withKeys(keyOf(t, "k1", 9)))
	if s := awaitState(t, wrong, StateTroubled); !strings.Contains(s.Reason, `"k1"`) {
		t.Fatalf("%+v", s)
	}
	as := &issuer{t: t}
	as.obtain(right, "")
	as.obtain(wrong, "")
	if n := as.asked.Load(); n != 2 {
		t.Fatalf("asked %d times", n)
	}
}
