package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func down(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

func refuse(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
}

func TestAThousandCallersAtAColdStartCauseOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		as.before = func(int, *http.Request) { time.Sleep(time.Second) }
		var wg sync.WaitGroup
		tokens := make([]Token, 1000)
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

func TestACallerThatHangsUpFailsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
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
		if err := <-second; err != nil {
			t.Errorf("the other one got %v", err)
		}
		if as.count() != 1 {
			t.Errorf("%d requests", as.count())
		}
	})
}

func TestACallersDeadlineIsAnOutageToItAlone(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		as.before = func(int, *http.Request) { time.Sleep(5 * time.Second) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var u *UnavailableError
		if _, err := s.Token(ctx); !errors.As(err, &u) {
			t.Errorf("%v", err)
		}
		mustToken(t, s)
		if as.count() != 1 {
			t.Errorf("%d requests", as.count())
		}
	})
}

func TestATokenRequestHasATimeoutOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		as.before = func(_ int, r *http.Request) { <-r.Context().Done() }
		start := time.Now()
		_, err := s.Token(t.Context())
		var u *UnavailableError
		if !errors.As(err, &u) || time.Since(start) != requestTime || !strings.Contains(err.Error(), "in time") {
			t.Fatalf("%v after %s", err, time.Since(start))
		}
	})
}

func TestATokenIsNeverUsedASecondTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		lifetime any
		want     time.Duration
	}{
		"30 seconds": {30, 30 * time.Second},
		"one hour":   {3600, time.Hour},
		"not said":   {nil, time.Minute},
		"a year":     {365 * 86400, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, s *Source) {
				as.lifetime = c.lifetime
				// The answer takes 2 s, in which the server's clock runs already.
				as.before = func(n int, _ *http.Request) { time.Sleep(2 * time.Second) }
				asked := time.Now()
				token := mustToken(t, s)
				if got := token.Expires().Sub(asked); got != c.want {
					t.Fatalf("expires after %s, want %s", got, c.want)
				}
				as.set(func(as *authServer) { as.answer = down })
				time.Sleep(time.Until(asked.Add(c.want - time.Nanosecond)))
				if again := mustToken(t, s); again != token {
					t.Fatal("another token while the server is down")
				}
				time.Sleep(time.Nanosecond)
				if again, err := s.Token(t.Context()); err == nil {
					t.Fatalf("a token that expired %s ago is handed out", time.Since(again.Expires()))
				}
				synctest.Wait()
			})
		})
	}
}

func TestATokenInUseIsReplacedInTheBackground(t *testing.T) {
	for _, lifetime := range []int{5, 30, 3600} {
		t.Run(fmt.Sprint(lifetime), func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, s *Source) {
				as.lifetime = lifetime
				running(t, s.client.tokens)
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
				if n := as.count(); n < 3 || n > 8 {
					t.Errorf("%d requests in three lifetimes", n)
				}
				if mustToken(t, s) == first {
					t.Error("the token was never replaced")
				}
			})
		})
	}
}

func TestATokenUsedNowAndThenIsRenewedByRunAndOneUnusedIsNot(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		running(t, s.client.tokens)
		mustToken(t, s)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if as.count() != 2 {
			t.Fatalf("%d requests: the token was used and not renewed", as.count())
		}
		time.Sleep(5 * time.Hour)
		if as.count() != 2 {
			t.Fatalf("%d requests for a token that nobody used", as.count())
		}
	})
}

func TestAnOutageIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		as.answer = down
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			asked := time.Now()
			_, err := s.Token(t.Context())
			var u *UnavailableError
			if !errors.As(err, &u) || u.RetryAfter <= 0 || u.RetryAfter > longestOutage || !u.Since.Equal(start) {
				t.Fatalf("%v, again in %s, since %s", err, u.RetryAfter, u.Since)
			}
			if time.Since(asked) > 0 {
				t.Fatal("a caller had to wait for the error")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := as.count(); n < 40 || n > 60 {
			t.Errorf("%d requests in ten minutes", n)
		}
		as.set(func(as *authServer) { as.answer = nil })
		time.Sleep(longestOutage)
		mustToken(t, s)
	})
}

func TestARefusalIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t) // the key is not registered
		s := source(t, setup(t, as, nil))
		start := time.Now()
		for time.Since(start) < time.Hour {
			_, err := s.Token(t.Context())
			var r *RefusedError
			if !errors.As(err, &r) || r.Code != "invalid_client" || !r.Since.Equal(start) {
				t.Fatalf("%v since %s", err, r.Since)
			}
			time.Sleep(time.Second)
		}
		if n := as.count(); n < 14 || n > 25 {
			t.Errorf("%d requests in an hour", n)
		}
		as.register(mustLoad(t, newSource)) // somebody registered the certificate
		time.Sleep(longestRefusal)
		mustToken(t, s)
		if status := s.client.tokens.Status()[0].Tokens[0]; status.Error != nil || status.Hash == "" {
			t.Errorf("after the recovery: %+v", status)
		}
	})
}

func TestValidTokensAreUsedToTheirEndWhateverTheServerSays(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"outage": down, "refusal": refuse} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, as *authServer, s *Source) {
				running(t, s.client.tokens)
				token := mustToken(t, s)
				as.set(func(as *authServer) { as.answer = answer })
				for time.Now().Before(token.Expires().Add(-time.Second)) {
					if mustToken(t, s) != token {
						t.Fatal("another token")
					}
					time.Sleep(time.Second)
				}
				if n := as.count(); n < 3 || n > 40 {
					t.Errorf("%d requests", n)
				}
				if status := s.status(time.Now()); status.Error == nil || status.Hash != token.Hash() {
					t.Errorf("the status hides the failure: %+v", status)
				}
			})
		})
	}
}

func TestA401DropsTheTokenThatWasRefusedAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		first := mustToken(t, s)
		if !again(s, first, "nsso") {
			t.Fatal("the first renewal is not allowed")
		}
		if !again(s, first, "nsso") {
			t.Fatal("a second request with the same token may not use the new one")
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
		time.Sleep(forcedPause - time.Nanosecond)
		if again(s, third, "nsso") {
			t.Fatal("nsso may force another renewal before the minute is over")
		}
		time.Sleep(time.Nanosecond)
		if !again(s, third, "nsso") {
			t.Fatal("nsso may not force another renewal after a minute")
		}
		if as.count() != 3 {
			t.Fatalf("%d requests", as.count())
		}
		if again(s, Token{}, "nsso") {
			t.Fatal("no token is no token")
		}
	})
}

func TestARefusedTokenComesBackIfTheServerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
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
		time.Sleep(longestOutage)
		mustToken(t, s)
		s.client.tokens.renew() // it is due at once
		synctest.Wait()
		if mustToken(t, s) == first {
			t.Fatal("the suspect was not replaced when the server came back")
		}
	})
}

func TestARefusedClientDoesNotGetItsTokenBack(t *testing.T) {
	bubble(t, func(t *testing.T, as *authServer, s *Source) {
		first := mustToken(t, s)
		as.set(func(as *authServer) { as.answer = refuse })
		s.Refused(first, "nsso")
		for range 2 {
			var r *RefusedError
			if _, err := s.Token(t.Context()); !errors.As(err, &r) {
				t.Fatal(err)
			}
		}
	})
}

func TestScopes(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	as.granted = func(asked string) string { return asked + " scope:more scope:more" }
	var logged strings.Builder
	tokens := setup(t, as, func(o *Options) { o.Log = textLog(&logged) })
	s := source(t, tokens, "scope:b", "scope:a", "scope:b")
	if again := source(t, tokens, "scope:a", "scope:b"); again != s {
		t.Error("one set of scopes has two sources")
	}
	if other := source(t, tokens, "scope:a"); other == s {
		t.Error("two sets of scopes have one source")
	}
	token := mustToken(t, s)
	if len(token.Extra()) != 1 || token.Extra()[0] != "scope:more" || !strings.Contains(logged.String(), "more scopes") {
		t.Errorf("extra scopes %v, log %s", token.Extra(), logged.String())
	}
	if token.Key().Scopes != "scope:a scope:b" || token.Key().ClientID != "client-1" || token.Key().Audience != tokenURL {
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
	as, s := withSource(t)
	as.granted = func(asked string) string {
		scopes := []string{asked}
		for i := range 100_000 {
			scopes = append(scopes, strconv.Itoa(i))
		}
		return strings.Join(scopes, " ")
	}
	if extra := mustToken(t, s).Extra(); len(extra) != maxNamed || extra[0] != "0" {
		t.Errorf("%d scopes, the first %q", len(extra), extra[0])
	}
}

func TestTryTouchesNothing(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, oldSource))
	tokens := setup(t, as, nil) // its own key is not registered
	if _, err := tokens.Try(t.Context(), "payroll", []string{"scope:a"}, nil); err == nil {
		t.Fatal("a token for a key that is not registered")
	}
	token, err := tokens.Try(t.Context(), "payroll", []string{"scope:a"}, &oldSource)
	if err != nil || !token.Valid(time.Now()) {
		t.Fatal(err)
	}
	if status := tokens.Status()[0]; len(status.Tokens) != 0 || status.Pending != nil || status.Key.Algorithm != "ES256" {
		t.Errorf("%+v", status)
	}
	if _, err := tokens.Try(t.Context(), "payroll", nil, new(clientOf("key=absent"))); err == nil ||
		!strings.Contains(err.Error(), "absent") {
		t.Errorf("%v", err)
	}
}

func TestAfterRunNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, newSource))
		tokens := setup(t, as, nil)
		stop := running(t, tokens)
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
		if !ended.Load() {
			t.Error("Run returned before the request that it cut off")
		}
		var u *UnavailableError
		if err := <-failed; !errors.As(err, &u) || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("%v", err)
		}
		if _, err := source(t, tokens, "scope:b").Token(t.Context()); !errors.As(err, &u) {
			t.Errorf("%v", err)
		}
		mustToken(t, valid)
	})
}

func TestATokenNeverPrintsItself(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	token := mustToken(t, source(t, setup(t, as, nil)))
	if !strings.HasPrefix(token.Authorization(), "Bearer secret-token") {
		t.Fatal("the test looks for the wrong secret")
	}
	var logged strings.Builder
	textLog(&logged).Info("x", "token", token, "pointer", &token)
	encoded, err := json.Marshal(map[string]any{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ T Token }{token}
	as.leaks(fmt.Sprintf("%v %+v %#v %s %q %x %d %v %+v %#v", token, token, token, token, token, token, token,
		holder, holder, holder))
	as.leaks(logged.String())
	as.leaks(string(encoded))
	if !strings.Contains(logged.String(), token.Hash()) {
		t.Error("the log does not say which token")
	}
}

func TestATokenAtHandCostsNoAllocation(t *testing.T) {
	_, s := withSource(t)
	mustToken(t, s)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
