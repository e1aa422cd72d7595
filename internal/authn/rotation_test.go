package authn_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/testkit"
)

// keyFile is the old key in a file of its own, which can be changed.
func keyFile(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "key.pem")
	copyFile(t, oldClient.Key.File, file)
	return file
}

// seen has the files looked at, and what follows from that happen.
func seen(tokens *authn.Tokens) authn.ClientStatus {
	time.Sleep(poll + time.Second)
	synctest.Wait()
	return tokens.Status()[0]
}

// rotating runs a test in a bubble with tokens whose key is in a file: the old one to begin with. The
// server knows the keys that are registered.
func rotating(t *testing.T, registered []string, f func(t *testing.T, as *authServer, tokens *authn.Tokens,
	file string)) {
	t.Helper()
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t)
		for _, key := range registered {
			as.register(clientOf("cert=" + key + "-cert.pem"))
		}
		tokens := setup(t, as, signedBy("key="+file))
		testkit.Running(t, tokens.Run)
		f(t, as, tokens, file)
	})
}

const (
	oldKey = "rsa"
	newKey = "ec"
)

// signs checks which key signs, and that no other is pending or broken.
func signs(t *testing.T, status authn.ClientStatus, want string) {
	t.Helper()
	of := map[string]string{oldKey: fingerprint(t, oldClient), newKey: fingerprint(t, newClient)}
	if status.Key.Fingerprint != of[want] || status.Pending != nil || status.KeyError != nil {
		t.Fatalf("the %s key does not sign alone: %+v, pending %+v, error %+v", want, status.Key, status.Pending,
			status.KeyError)
	}
}

func TestANewKeySignsOnceItHasGotAToken(t *testing.T) {
	rotating(t, []string{oldKey}, func(t *testing.T, as *authServer, tokens *authn.Tokens, file string) {
		s := source(t, tokens)
		first := mustToken(t, s)

		// The files change before anybody told Chaman.
		copyFile(t, newClient.Key.File, file)
		status := seen(tokens)
		if p := status.Pending; status.Key.Fingerprint != fingerprint(t, oldClient) || p == nil ||
			p.Fingerprint != fingerprint(t, newClient) || p.NextTry.IsZero() ||
			!strings.Contains(p.Reason, "not yet registered in Chaman? The former key goes on signing") {
			t.Fatalf("%+v, pending %+v", status.Key, p)
		}
		if mustToken(t, s) != first {
			t.Error("the token of the old key was dropped")
		}
		mustToken(t, source(t, tokens, "scope:b")) // a token for something new: the old key signs it
		tried := as.count()
		time.Sleep(time.Hour - time.Minute) // within the token's renewals
		if n := as.count() - tried; n < 10 || n > 35 {
			t.Errorf("%d requests in an hour of waiting", n)
		}

		// Then somebody does.
		as.register(newClient)
		time.Sleep(longestRefusal)
		signs(t, seen(tokens), newKey)
		for _, scope := range []string{"scope:a", "scope:b"} {
			mustToken(t, source(t, tokens, scope)) // uses it, so that it is renewed
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := mustToken(t, source(t, tokens, scope)).Key().KeyFingerprint; got != fingerprint(t, newClient) {
				t.Errorf("the token for %s is still the old key's", scope)
			}
		}
	})
}

func TestTheReasonOfAPendingKeyNamesACertificateOutOfItsTime(t *testing.T) {
	day := 24 * time.Hour
	for want, c := range map[string]struct{ from, to time.Duration }{ // the time of a bubble begins with the year 2000
		"has expired on 1999-12-22: put a valid one":  {-400 * day, -10 * day},
		"is not valid before 2000-01-03 00:00:00 UTC": {2 * day, 400 * day},
	} {
		rotating(t, []string{oldKey}, func(t *testing.T, _ *authServer, tokens *authn.Tokens, file string) {
			mustToken(t, source(t, tokens))
			testkit.Write(t, file, selfSigned(t, time.Now().Add(c.from), time.Now().Add(c.to)))
			p := seen(tokens).Pending
			if p == nil || !strings.Contains(p.Reason, want) || !strings.Contains(p.Reason, p.Subject) {
				t.Errorf("%+v, want %s", p, want)
			}
		})
	}
}

func TestAKeyThatGoesBackToTheOldOneIsForgotten(t *testing.T) {
	rotating(t, []string{oldKey}, func(t *testing.T, _ *authServer, tokens *authn.Tokens, file string) {
		mustToken(t, source(t, tokens))
		copyFile(t, newClient.Key.File, file)
		pending := seen(tokens).Pending
		if pending == nil {
			t.Fatal("the new key was not seen")
		}
		testkit.Write(t, file, append([]byte("a comment\n"), read(t, newClient.Key.File)...))
		if p := seen(tokens).Pending; p == nil || !p.Since.Equal(pending.Since) {
			t.Fatalf("the same key in other words counts as another: %+v", p)
		}
		testkit.Write(t, file, []byte("-----BEGIN "))
		if status := seen(tokens); status.Pending != nil || status.KeyError == nil {
			t.Fatalf("a key that is in no file any more is pending: %+v", status.Pending)
		}
		copyFile(t, oldClient.Key.File, file)
		signs(t, seen(tokens), oldKey)
	})
}

func TestHalfWrittenFilesChangeNothing(t *testing.T) {
	dir := t.TempDir()
	file, passwordFile := filepath.Join(dir, "client.p12"), filepath.Join(dir, "password")
	copyFile(t, fixture("modern.p12"), file)
	testkit.Write(t, passwordFile, []byte(password+"\n"))
	whole := read(t, fixture("keytool.p12"))
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t)
		as.anyKey = true
		tokens := setup(t, as, signedBy("store="+file+" passfile="+passwordFile))
		testkit.Running(t, tokens.Run)
		mustToken(t, source(t, tokens))
		for _, c := range []struct {
			content  []byte
			password string
			says     string
		}{
			{whole[:len(whole)/2], password, file}, {nil, password, file},
			{whole, "not-yet", "password"}, // the store first, then its password
		} {
			testkit.Write(t, file, c.content)
			testkit.Write(t, passwordFile, []byte(c.password))
			status := seen(tokens)
			if status.Key.Fingerprint != fingerprint(t, oldClient) || status.Pending != nil || status.KeyError == nil ||
				!strings.Contains(status.KeyError.Text, c.says) {
				t.Fatalf("%d bytes with %s: %+v, error %+v", len(c.content), c.password, status.Key, status.KeyError)
			}
		}
		testkit.Write(t, passwordFile, []byte(password))
		if status := seen(tokens); status.KeyError != nil || status.Key.Subject != "O=Java,C=BE" {
			t.Fatalf("%+v, error %+v", status.Key, status.KeyError)
		}
	})
}

func TestAKeyThatIsMissingAtTheStartMayComeLater(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, newClient)
		tokens := setup(t, as, signedBy("key="+file))
		testkit.Running(t, tokens.Run)
		s := source(t, tokens)
		_, err := s.Token(t.Context())
		if f := failureOf(err); f.Code != "key" || f.Problem().Status != http.StatusServiceUnavailable ||
			strings.Contains(f.Problem().Detail, file) {
			t.Fatalf("%v", err)
		}
		if status := tokens.Status()[0]; status.Key != nil || status.KeyError == nil || as.count() != 0 {
			t.Fatalf("%+v after %d requests", status, as.count())
		}
		copyFile(t, newClient.Key.File, file)
		seen(tokens)
		mustToken(t, s)
	})
}

func TestANewKeyEndsTheBackOff(t *testing.T) {
	rotating(t, []string{newKey}, func(t *testing.T, _ *authServer, tokens *authn.Tokens, file string) {
		first, second := source(t, tokens, "scope:a"), source(t, tokens, "scope:b")
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			_, _ = first.Token(t.Context())
			_, _ = second.Token(t.Context())
		}
		copyFile(t, newClient.Key.File, file)
		seen(tokens)
		mustToken(t, first) // its token was the proof
		mustToken(t, second)
	})
}

// A request that the old key signed may come back after the new one was promoted, with a token or with
// a refusal.
func TestARequestOfTheOldKeyThatEndsAfterThePromotion(t *testing.T) {
	for _, registered := range [][]string{{newKey, oldKey}, {newKey}} {
		rotating(t, registered, func(t *testing.T, as *authServer, tokens *authn.Tokens, file string) {
			as.before = func(n int, _ *http.Request) {
				if n == 1 {
					time.Sleep(2 * poll)
				}
			}
			s := source(t, tokens)
			go func() { _, _ = s.Token(t.Context()) }()
			synctest.Wait()
			copyFile(t, newClient.Key.File, file)
			signs(t, seen(tokens), newKey)
			time.Sleep(poll)
			synctest.Wait()
			if failed := statusOf(tokens).Error; failed != nil {
				t.Errorf("the failure of the old key is held against the new one: %+v", failed)
			}
			mustToken(t, s)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := mustToken(t, s).Key().KeyFingerprint; got != fingerprint(t, newClient) {
				t.Error("the old key's token stays")
			}
		})
	}
}

func TestAScopeThatIsNotGrantedDoesNotHoldBackAKey(t *testing.T) {
	rotating(t, []string{oldKey, newKey}, func(t *testing.T, as *authServer, tokens *authn.Tokens, file string) {
		as.granted = func(asked string) string { return strings.Replace(asked, "scope:a", "scope:nothing", 1) }
		if _, err := source(t, tokens, "scope:a").Token(t.Context()); err == nil {
			t.Fatal("a scope that was not granted")
		}
		_ = source(t, tokens, "scope:b")
		copyFile(t, newClient.Key.File, file)
		signs(t, seen(tokens), newKey)
	})
}

func TestWithoutASourceANewKeyWaitsForOne(t *testing.T) {
	rotating(t, []string{newKey}, func(t *testing.T, as *authServer, tokens *authn.Tokens, file string) {
		copyFile(t, newClient.Key.File, file)
		if status := seen(tokens); status.Pending == nil || as.count() != 0 {
			t.Fatalf("pending %+v after %d requests", status.Pending, as.count())
		}
		_ = source(t, tokens)
		signs(t, seen(tokens), newKey)
	})
}

// A configuration that is loaded again while a new key waits for its registration
// must not lose the old key, which is in no file any more.
func TestTheNextGenerationAdoptsTokensAndTheKeyThatWorks(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, oldClient)
		before := setup(t, as, signedBy("key="+file))
		stop := testkit.Running(t, before.Run)
		token := mustToken(t, source(t, before))
		copyFile(t, newClient.Key.File, file)

		after := setup(t, as, signedBy("key="+file))
		s := source(t, after)
		after.Adopt(before)
		stop()
		testkit.Running(t, after.Run)
		if got := mustToken(t, s); got.Hash() != token.Hash() || !got.Expires().Equal(token.Expires()) {
			t.Error("the token was not adopted")
		}
		synctest.Wait()
		if status := after.Status()[0]; status.Key.Fingerprint != fingerprint(t, oldClient) || status.Pending == nil {
			t.Fatalf("%+v, pending %+v", status.Key, status.Pending)
		}
		as.register(newClient)
		time.Sleep(time.Minute)
		signs(t, seen(after), newKey)
	})
}

func TestACertificateThatNeedsAttentionIsLoggedOnceADay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	synctest.Test(t, func(t *testing.T) {
		testkit.Write(t, file, selfSigned(t, time.Now().Add(-time.Hour), time.Now().Add((30*24+12)*time.Hour)))
		var logged strings.Builder
		tokens := setup(t, newAuthServer(t), signedBy("key="+file), logging(&logged))
		stop := testkit.Running(t, tokens.Run)
		time.Sleep(40 * time.Hour)
		stop()
		if n := strings.Count(logged.String(), "needs attention"); n != 2 {
			t.Errorf("it is said %d times", n)
		}
	})
}
