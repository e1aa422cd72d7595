package authn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/testkit"
)

func TestAThousandCallersAtAColdStartCauseOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
		as.before = func(int, *http.Request) { time.Sleep(time.Second) }
		var wg sync.WaitGroup
		tokens := make([]authn.Token, 1000)
		for i := range tokens {
			wg.Go(func() { tokens[i] = mustToken(t, s) })
		}
		wg.Wait()
		for _, token := range tokens {
			if token != tokens[0] {
				t.Fatal("two tokens")
			}
		}
		if as.count() != 1 {
			t.Fatalf("%d requests", as.count())
		}
	})
}

// The request goes on for the others, whether a caller hangs up or its time runs out, which is an
// outage to that caller alone.
func TestACallerThatDoesNotWaitFailsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
		as.before = func(int, *http.Request) { time.Sleep(5 * time.Second) }
		ctx, hangUp := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := s.Token(ctx); first <- err }()
		synctest.Wait() // the first caller is the one who started the request
		second := make(chan error, 1)
		go func() { _, err := s.Token(t.Context()); second <- err }()
		synctest.Wait()
		start := time.Now()
		hangUp()
		if err := <-first; !errors.Is(err, context.Canceled) || time.Since(start) > 0 {
			t.Errorf("the caller that hung up got %v after %s", err, time.Since(start))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(short); failureOf(err).Code != authn.Unavailable {
			t.Errorf("the one without time got %v", err)
		}
		if err := <-second; err != nil || as.count() != 1 {
			t.Errorf("the other one got %v after %d requests", err, as.count())
		}
	})
}

func TestATokenRequestHasATimeoutOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
		as.before = func(_ int, r *http.Request) { <-r.Context().Done() }
		start := time.Now()
		_, err := s.Token(t.Context())
		if failureOf(err).Code != authn.Unavailable || time.Since(start) != requestTime ||
			!strings.Contains(err.Error(), "in time") {
			t.Fatalf("%v after %s", err, time.Since(start))
		}
	})
}

// Valid tokens are used to their end whatever the server says, and no longer.
func TestATokenIsNeverUsedASecondTooLong(t *testing.T) {
	for want, c := range map[time.Duration]struct {
		lifetime any
		later    http.HandlerFunc // what the server answers when the token is to be renewed
	}{30 * time.Second: {30, down}, time.Hour: {3600, refuse}, time.Minute: {nil, down}, 24 * time.Hour: {1e9, down}} {
		t.Run(want.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, tokens *authn.Tokens, s *authn.Source) {
				as.lifetime = c.lifetime
				// The answer takes 2 s, in which the server's clock runs already.
				as.before = func(int, *http.Request) { time.Sleep(2 * time.Second) }
				asked := time.Now()
				token := mustToken(t, s)
				if got := token.Expires().Sub(asked); got != want {
					t.Fatalf("expires after %s, want %s", got, want)
				}
				as.set(func(as *authServer) { as.answer = c.later })
				time.Sleep(time.Until(asked.Add(want - time.Nanosecond)))
				if again := mustToken(t, s); again != token {
					t.Fatal("another token")
				}
				if status := statusOf(tokens); status.Error == nil || status.Hash != token.Hash() {
					t.Errorf("the status hides the failure: %+v", status)
				}
				time.Sleep(time.Nanosecond)
				if again, err := s.Token(t.Context()); err == nil {
					t.Fatalf("a token that expired %s ago is handed out", time.Since(again.Expires()))
				}
			})
		})
	}
}

func TestATokenInUseIsReplacedInTheBackgroundAndOneUnusedIsNot(t *testing.T) {
	for _, lifetime := range []int{5, 30, 3600} {
		t.Run(fmt.Sprint(lifetime), func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
				as.lifetime = lifetime
				first := mustToken(t, s)
				as.set(func(as *authServer) {
					as.before = func(int, *http.Request) { time.Sleep(500 * time.Millisecond) }
				})
				// A caller every half second for three lifetimes: none waits.
				for range 6 * lifetime {
					time.Sleep(500 * time.Millisecond)
					asked := time.Now()
					if token := mustToken(t, s); !token.Valid(time.Now()) || time.Since(asked) > 0 {
						t.Fatalf("a caller waited %s", time.Since(asked))
					}
				}
				n := as.count()
				if n < 3 || n > 8 || mustToken(t, s) == first {
					t.Errorf("%d requests in three lifetimes", n)
				}
				time.Sleep(24 * time.Hour)
				if more := as.count() - n; more > 1 {
					t.Errorf("%d requests for tokens that nobody used", more)
				}
			})
		})
	}
}

func TestFailuresAreRememberedAndTheServerIsNotHammered(t *testing.T) {
	for name, c := range map[string]struct {
		answer      http.HandlerFunc
		code        string
		longest     time.Duration
		least, most int // requests in an hour
	}{
		"an outage": {down, authn.Unavailable, longestOutage, 240, 360},
		"a refusal": {refuse, "invalid_client", longestRefusal, 14, 25},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, tokens *authn.Tokens, s *authn.Source) {
				as.answer = c.answer
				start := time.Now()
				for time.Since(start) < time.Hour {
					asked := time.Now()
					_, err := s.Token(t.Context())
					f := failureOf(err)
					if f.Code != c.code || !f.Since.Equal(start) || f.RetryAfter > longestOutage ||
						(f.RetryAfter > 0) != (f.Code == authn.Unavailable) || time.Since(asked) > 0 {
						t.Fatalf("after %s %v, again in %s, since %s", time.Since(asked), err, f.RetryAfter, f.Since)
					}
					time.Sleep(500 * time.Millisecond)
				}
				if n := as.count(); n < c.least || n > c.most {
					t.Errorf("%d requests in an hour", n)
				}
				as.set(func(as *authServer) { as.answer = nil })
				time.Sleep(c.longest)
				mustToken(t, s)
				if status := statusOf(tokens); status.Error != nil || status.Hash == "" {
					t.Errorf("after the recovery: %+v", status)
				}
			})
		})
	}
}

func TestA401DropsTheTokenThatWasRefusedAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
		first := mustToken(t, s)
		for range 2 {
			if !again(s, first, "nsso") {
				t.Fatal("the first renewal is not allowed, or a second request may not use the new token")
			}
		}
		second := mustToken(t, s)
		if second == first {
			t.Fatal("the refused token is handed out again")
		}
		if !again(s, first, "regional") || mustToken(t, s) != second {
			t.Fatal("a late 401 to the old token dropped the new one")
		}
		if again(s, second, "nsso") || mustToken(t, s) != second {
			t.Fatal("one upstream forced two renewals within a minute")
		}
		if !again(s, second, "regional") {
			t.Fatal("another upstream may not force one")
		}
		third := mustToken(t, s)
		time.Sleep(time.Minute - time.Nanosecond)
		if again(s, third, "nsso") {
			t.Fatal("nsso may force another renewal before the minute is over")
		}
		time.Sleep(time.Nanosecond)
		if !again(s, third, "nsso") {
			t.Fatal("nsso may not force another renewal after a minute")
		}
		if as.count() != 3 || again(s, authn.Token{}, "nsso") {
			t.Fatalf("%d requests, or no token was taken for one", as.count())
		}
	})
}

func TestARefusedTokenComesBackIfTheServerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, _ *authn.Tokens, s *authn.Source) {
		first := mustToken(t, s)
		as.set(func(as *authServer) { as.answer = down })
		if !again(s, first, "nsso") {
			t.Fatal("nothing is known of the outage yet")
		}
		if _, err := s.Token(t.Context()); err == nil {
			t.Fatal("the one whose token was refused got it back as if new")
		}
		if mustToken(t, s) != first {
			t.Fatal("other upstreams lost a token that they may accept")
		}
		if again(s, first, "regional") {
			t.Fatal("a token is dropped though no other can be had")
		}
		as.set(func(as *authServer) { as.answer = nil })
		time.Sleep(longestOutage + time.Second)
		synctest.Wait()
		if mustToken(t, s) == first {
			t.Fatal("the suspect was not replaced when the server came back")
		}
		as.set(func(as *authServer) { as.answer = refuse })
		time.Sleep(time.Minute)
		s.Refused(mustToken(t, s), "nsso")
		for range 2 {
			if _, err := s.Token(t.Context()); authn.Refusal(err) == nil {
				t.Fatalf("a refused client got its token back: %v", err)
			}
		}
	})
}

func TestScopes(t *testing.T) {
	var logged strings.Builder
	as, tokens, _ := with(t, logging(&logged))
	as.granted = func(asked string) string { return asked + " scope:more scope:more" }
	s := source(t, tokens, "scope:b", "scope:a", "scope:b")
	if source(t, tokens, "scope:a", "scope:b") != s || source(t, tokens, "scope:a") == s {
		t.Error("one set of scopes has two sources, or two sets have one")
	}
	token := mustToken(t, s)
	if len(token.Extra()) != 1 || token.Extra()[0] != "scope:more" || !strings.Contains(logged.String(), "more scopes") {
		t.Errorf("extra scopes %v, log %s", token.Extra(), logged.String())
	}
	if token.Key().Scopes != "scope:a scope:b" || token.Key().ClientID != "client-1" || token.Key().Audience != tokenURL ||
		token.Key().KeyFingerprint != fingerprint(t, newClient) {
		t.Errorf("%+v", token.Key())
	}
	for _, wrong := range []string{"", "a b", "a\"b", `a\b`, "é", "a\n"} {
		if _, err := tokens.Source("payroll", []string{wrong}); err == nil {
			t.Errorf("scope %q is taken", wrong)
		}
	}
	if _, err := tokens.Source("other", nil); err == nil {
		t.Error("a client that does not exist has a source")
	}
}

// A megabyte of scopes would take minutes to compare, and stand in log and status.
func TestOfScopesThatNobodyAskedForAHundredAreNamed(t *testing.T) {
	as, _, s := with(t)
	as.granted = func(asked string) string {
		scopes := []string{asked}
		for i := range 100_000 {
			scopes = append(scopes, strconv.Itoa(i))
		}
		return strings.Join(scopes, " ")
	}
	if extra := mustToken(t, s).Extra(); len(extra) != 100 || extra[0] != "0" {
		t.Errorf("%d scopes, the first %q", len(extra), extra[0])
	}
}

func TestTryTouchesNothing(t *testing.T) {
	tokens := setup(t, newAuthServer(t, oldClient)) // its own key is not registered
	for key, works := range map[string]bool{"": false, "key=absent": false, "key=rsa-pkcs8.pem": true} {
		another := clientOf(key)
		tried := &another
		if key == "" {
			tried = nil
		}
		token, err := tokens.Try(t.Context(), "payroll", []string{"scope:a"}, tried)
		if (err == nil) != works || token.Valid(time.Now()) != works {
			t.Errorf("with %q: %v", key, err)
		}
	}
	if status := tokens.Status()[0]; len(status.Tokens) != 0 || status.Pending != nil || status.Key.Algorithm != "ES256" {
		t.Errorf("%+v", status)
	}
}

func TestAfterRunNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as, tokens, _ := with(t)
		stop := testkit.Running(t, tokens.Run)
		valid := source(t, tokens, "scope:valid")
		mustToken(t, valid)
		var ended atomic.Bool
		as.set(func(as *authServer) {
			as.before = func(_ int, r *http.Request) {
				<-r.Context().Done()
				time.Sleep(time.Second) // what it takes to close a connection
				ended.Store(true)
			}
		})
		failed := make(chan error, 1)
		go func() { _, err := source(t, tokens).Token(t.Context()); failed <- err }()
		synctest.Wait()
		stop() // ends the request that is under way
		if err := <-failed; !ended.Load() || failureOf(err).Code != authn.Unavailable ||
			!strings.Contains(err.Error(), "stopping") {
			t.Errorf("%v, or Run returned before the request that it cut off", err)
		}
		if _, err := source(t, tokens, "scope:b").Token(t.Context()); failureOf(err).Code != authn.Unavailable {
			t.Errorf("%v", err)
		}
		mustToken(t, valid)
	})
}

func TestATokenNeverPrintsItself(t *testing.T) {
	as, _, s := with(t)
	token := mustToken(t, s)
	if !strings.HasPrefix(token.Authorization(), "Bearer secret-token") {
		t.Fatal("the test looks for the wrong secret")
	}
	var logged strings.Builder
	textLog(&logged).Info("x", "token", token, "pointer", &token)
	encoded, err := json.Marshal(map[string]any{"token": token})
	testkit.Must(t, err)
	holder := struct{ T authn.Token }{token}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		as.leaks(fmt.Sprintf(verb, token))
		as.leaks(fmt.Sprintf(verb, &token))
		as.leaks(fmt.Sprintf(verb, holder))
	}
	as.leaks(logged.String())
	as.leaks(string(encoded))
	if !strings.Contains(logged.String(), token.Hash()) {
		t.Error("the log does not say which token")
	}
}

func TestATokenAtHandCostsNoAllocation(t *testing.T) {
	_, _, s := with(t)
	mustToken(t, s)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
