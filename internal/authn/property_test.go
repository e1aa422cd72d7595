package authn

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/config"

	"pgregory.net/rapid"
)

func TestTokenKeysOfDifferentTokensDiffer(t *testing.T) {
	part := rapid.SampledFrom([]string{"", "a", "b", "ab", "a b", "\x00", "https://as.example/token"})
	key := rapid.Custom(func(t *rapid.T) TokenKey {
		return TokenKey{part.Draw(t, "url"), part.Draw(t, "audience"), part.Draw(t, "client"), part.Draw(t, "fingerprint"),
			part.Draw(t, "scopes")}
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
func TestSourceKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := &clock{now: time.Unix(1_800_000_000, 0)}
		ends := map[string]time.Time{}
		mode, requests := "up", 0
		as := roundTripper(func(r *http.Request) (*http.Response, error) {
			requests++
			switch mode {
			case "down":
				return nil, errors.New("no route")
			case "refusing":
				return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(`{"error":"invalid_client"}`))}, nil
			}
			secret := fmt.Sprint("t", requests)
			lifetime := requests%7*20 + 1
			ends["Bearer "+secret] = clock.Now().Add(time.Duration(lifetime) * time.Second)
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(
				fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, secret, lifetime)))}, nil
		})
		tokens := New(Options{Transport: as, Now: clock.Now, OAuth: config.OAuth{
			TokenURL: tokenURL, Audience: tokenURL, Timeout: time.Minute, Clients: map[string]config.Client{"payroll": newSource},
		}})
		s, err := tokens.Source("payroll", []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		// ask is a caller, and what the background does at the same moment.
		ask := func(t *rapid.T) (Token, error) {
			token, err := s.Token(t.Context())
			tokens.renew()
			tokens.running.Wait()
			return token, err
		}
		var last Token
		t.Repeat(map[string]func(*rapid.T){
			"call": func(t *rapid.T) {
				token, err := ask(t)
				if err != nil {
					return
				}
				if end := ends[token.Authorization()]; !clock.Now().Before(end) {
					t.Fatalf("a token is used %s after its end", clock.Now().Sub(end))
				}
				last = token
			},
			"401": func(t *rapid.T) {
				s.Refused(last, rapid.SampledFrom([]string{"nsso", "regional"}).Draw(t, "upstream"))
			},
			"time": func(t *rapid.T) {
				clock.add(time.Duration(rapid.Int64Range(1, int64(90*time.Second)).Draw(t, "step")))
			},
			"server": func(t *rapid.T) {
				mode = rapid.SampledFrom([]string{"up", "down", "refusing"}).Draw(t, "mode")
			},
			"calls in one moment": func(t *rapid.T) {
				before := requests
				for range 5 {
					_, _ = ask(t)
				}
				if n := requests - before; n > 1 {
					t.Fatalf("%d token requests in one moment", n)
				}
			},
		})
	})
}

// clock is a clock that tests move by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Everything at once, for the race detector.
func TestManyGoroutinesAtOnce(t *testing.T) {
	mount := mountSecret(t, pair(t, oldSource))
	update := pair(t, newSource)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, oldSource), mustLoad(t, newSource))
		as.lifetime = 10
		as.before = func(n int, _ *http.Request) { time.Sleep(time.Duration(n%5) * 100 * time.Millisecond) }
		tokens := setup(t, as, signedBy("key="+mount.path("tls.key")+" cert="+mount.path("tls.crt")))
		stop := running(t, tokens)
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
		mount.update(update)
		wg.Wait()
		stop()
		if got := tokens.Status()[0].Key.Algorithm; got != "ES256" {
			t.Errorf("after the update %s signs", got)
		}
	})
}
