package authn_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/testkit"
)

// sharedMap is a Shared for replicas in one process.
type sharedMap struct {
	mu     sync.Mutex
	tokens map[string]authn.Token
	asked  []authn.TokenKey
	down   bool
	panics bool
}

func (m *sharedMap) Obtain(ctx context.Context, key authn.TokenKey, stale string,
	fetch func(context.Context) (authn.Token, error)) (authn.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, key)
	if m.panics {
		panic("what Redis holds")
	}
	if m.down {
		return authn.Token{}, errors.New("an error that is not of this package")
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

func sharing(m *sharedMap) func(*authn.Options) { return func(o *authn.Options) { o.Shared = m } }

func TestReplicasWithASharedCopyAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, newClient)
		shared := &sharedMap{tokens: map[string]authn.Token{}}
		var replicas []*authn.Source
		for range 10 {
			tokens := setup(t, as, sharing(shared))
			testkit.Running(t, tokens.Run)
			replicas = append(replicas, source(t, tokens))
		}
		var first authn.Token
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
		as, _, s := with(t, sharing(shared))
		if _, err := s.Token(t.Context()); failureOf(err).Code != authn.Unavailable || as.count() != 0 {
			t.Fatalf("%v", err)
		}
	}
}

func TestATokenOfAnotherKeyInTheSharedCopyIsRefused(t *testing.T) {
	shared := &sharedMap{tokens: map[string]authn.Token{}}
	_, tokens, s := with(t, sharing(shared))
	other := mustToken(t, source(t, tokens, "scope:other"))
	wanted := other.Key()
	wanted.Scopes = "scope:a"
	shared.tokens[wanted.Digest()] = other
	if got, err := s.Token(t.Context()); err == nil {
		t.Fatalf("a token for %s was taken for one for %s", got.Key().Scopes, s.Scopes())
	}
}
