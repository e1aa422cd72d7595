package authn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/authn"
)

func TestTokenKeysOfDifferentTokensDiffer(t *testing.T) {
	part := rapid.SampledFrom([]string{"", "a", "b", "ab", "a b", "\x00", "https://as.example/token"})
	key := rapid.Custom(func(t *rapid.T) authn.TokenKey {
		return authn.TokenKey{TokenURL: part.Draw(t, "url"), Audience: part.Draw(t, "audience"),
			ClientID: part.Draw(t, "client"), KeyFingerprint: part.Draw(t, "fingerprint"), Scopes: part.Draw(t, "scopes")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		if (a == b) != (a.Digest() == b.Digest()) {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}

// Whatever the Authorization Server, the upstreams and the clock do: no token is
// handed out past its end, and the server is asked no more often than the pauses
// allow.
func TestSourceForAnySequenceOfEvents(t *testing.T) {
	promises := func(r *rapid.T) {
		var mode atomic.Value
		mode.Store("up")
		var requests atomic.Int64
		as := roundTripper(func(*http.Request) (*http.Response, error) {
			n := requests.Add(1)
			answer := func(status int, body string) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
			}
			switch mode.Load() {
			case "down":
				return nil, errors.New("no route")
			case "refusing":
				return answer(400, `{"error":"invalid_client"}`)
			}
			lifetime := n%7*20 + 1
			end := time.Now().Add(time.Duration(lifetime) * time.Second) // is the token's text
			return answer(200, fmt.Sprintf(`{"access_token":"%d","token_type":"Bearer","expires_in":%d}`, end.UnixNano(),
				lifetime))
		})
		tokens := setup(t, as)
		s := source(t, tokens)
		ctx, stop := context.WithCancel(context.Background())
		defer func() { stop(); synctest.Wait() }()
		go tokens.Run(ctx)
		// ask is a caller, and what the background does at the same moment.
		ask := func() (authn.Token, error) {
			token, err := s.Token(ctx)
			synctest.Wait()
			return token, err
		}
		var last authn.Token
		r.Repeat(map[string]func(*rapid.T){
			"call": func(r *rapid.T) {
				if token, err := ask(); err == nil {
					var end int64
					if _, err := fmt.Sscanf(token.Authorization(), "Bearer %d", &end); err != nil || time.Now().UnixNano() >= end {
						r.Fatalf("%v, or a token is used after its end", err)
					}
					last = token
				}
			},
			"401": func(r *rapid.T) {
				s.Refused(last, rapid.SampledFrom([]string{"nsso", "regional"}).Draw(r, "upstream"))
			},
			"time": func(r *rapid.T) {
				time.Sleep(time.Duration(rapid.Int64Range(1, int64(90*time.Second)).Draw(r, "step")))
				synctest.Wait()
			},
			"server": func(r *rapid.T) {
				mode.Store(rapid.SampledFrom([]string{"up", "down", "refusing"}).Draw(r, "mode"))
			},
			"calls in one moment": func(r *rapid.T) {
				before := requests.Load()
				for range 5 {
					_, _ = ask()
				}
				if n := requests.Load() - before; n > 1 {
					r.Fatalf("%d token requests in one moment", n)
				}
			},
		})
	}
	// Without the test's Deadline, for which rapid would ask, and which a bubble does not have.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ rapid.TB }{t}, promises) })
}

// Everything at once, for the race detector.
func TestManyGoroutinesAtOnce(t *testing.T) {
	rotating(t, []string{oldKey, newKey}, func(t *testing.T, as *authServer, tokens *authn.Tokens, file string) {
		as.lifetime = 10
		as.before = func(n int, _ *http.Request) { time.Sleep(time.Duration(n%5) * 100 * time.Millisecond) }
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for n := range 200 {
					s := source(t, tokens, fmt.Sprint("scope:", i%3))
					token, err := s.Token(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if n%17 == 0 {
						s.Refused(token, fmt.Sprint("upstream-", i%2))
					}
					if n%50 == 0 {
						_ = tokens.Status()
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(5 * time.Second)
		copyFile(t, newClient.Key.File, file)
		wg.Wait()
		signs(t, seen(tokens), newKey)
	})
}
