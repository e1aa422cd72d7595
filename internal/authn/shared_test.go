package authn

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sharedMap is a Shared for replicas in one process.
type sharedMap struct {
	mu     sync.Mutex
	tokens map[string]Token
	asked  []TokenKey
	down   bool
	panics bool
}

func (m *sharedMap) Obtain(ctx context.Context, key TokenKey, stale string, fetch func(context.Context) (Token,
	error)) (Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, key)
	if m.panics {
		panic("what Redis holds")
	}
	if m.down {
		return Token{}, errors.New("an error that is not of this package")
	}
	if t, ok := m.tokens[key.Digest()]; ok && t.Hash() != stale && t.Valid(time.Now()) {
		return t, nil
	}
	t, err := fetch(ctx)
	if err == nil {
		m.tokens[key.Digest()] = t
	}
	return t, err
}

func TestReplicasWithASharedCopyAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, newSource))
		shared := &sharedMap{tokens: map[string]Token{}}
		var replicas []*Source
		for range 10 {
			tokens := setup(t, as, func(o *Options) { o.Shared = shared })
			running(t, tokens)
			replicas = append(replicas, source(t, tokens))
		}
		var first Token
		for _, s := range replicas {
			first = mustToken(t, s)
		}
		if as.count() != 1 {
			t.Fatalf("%d requests of ten replicas", as.count())
		}
		// What one replica was refused, none gets from the copy, and one asks anew.
		for _, s := range replicas {
			if !again(s, first, "nsso") {
				t.Fatal("no renewal")
			}
			if mustToken(t, s).Hash() == first.Hash() {
				t.Fatal("the refused token came back from the copy")
			}
		}
		if as.count() != 2 {
			t.Fatalf("%d requests after one revocation", as.count())
		}
		// A background renewal wants another token than the one that is about to end.
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if as.count() != 3 {
			t.Fatalf("%d requests after ten renewals", as.count())
		}
	})
}

func TestASharedCopyThatFailsIsAnOutage(t *testing.T) {
	for _, shared := range []*sharedMap{{down: true}, {panics: true}} {
		as := newAuthServer(t, mustLoad(t, newSource))
		s := source(t, setup(t, as, func(o *Options) { o.Shared = shared }))
		_, err := s.Token(t.Context())
		var u *UnavailableError
		if !errors.As(err, &u) || as.count() != 0 {
			t.Fatalf("%v", err)
		}
	}
}

func TestASharedCopyThatMixesUpTokensIsNotBelieved(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	shared := &sharedMap{tokens: map[string]Token{}}
	tokens := setup(t, as, func(o *Options) { o.Shared = shared })
	other := mustToken(t, source(t, tokens, "scope:other"))
	s := source(t, tokens)
	shared.tokens[s.asking(s.client.key.Load()).tokenKey().Digest()] = other
	if got, err := s.Token(t.Context()); err == nil {
		t.Fatalf("a token for %s was taken for one for %s", got.Key().Scopes, s.Scopes())
	}
}
