package authn

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/config"
)

// secretMount is a Kubernetes Secret as the kubelet mounts it: every file is a
// link through ..data, and an update swaps that one link.
type secretMount struct {
	t       *testing.T
	dir     string
	version int
}

func mountSecret(t *testing.T, files map[string][]byte) *secretMount {
	m := &secretMount{t: t, dir: t.TempDir()}
	m.update(files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *secretMount) path(name string) string { return filepath.Join(m.dir, name) }

func (m *secretMount) update(files map[string][]byte) {
	m.t.Helper()
	m.version++
	version := "..v" + string(rune('0'+m.version))
	if err := os.Mkdir(m.path(version), 0o700); err != nil {
		m.t.Fatal(err)
	}
	for name, content := range files {
		write(m.t, filepath.Join(m.dir, version, name), content)
	}
	if err := os.Symlink(version, m.path("..data_tmp")); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.path("..data_tmp"), m.path("..data")); err != nil {
		m.t.Fatal(err)
	}
}

func pair(t *testing.T, c config.Client) map[string][]byte {
	return map[string][]byte{"tls.key": read(t, c.Key.File), "tls.crt": read(t, c.Certificate.File)}
}

// keyFile is the old key in a file of its own, which can be changed.
func keyFile(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "key.pem")
	copyFile(t, oldSource.Key.File, file)
	return file
}

// signedBy has a key sign, see clientOf.
func signedBy(key string) func(*Options) {
	return func(o *Options) { o.OAuth.Clients["payroll"] = clientOf(key) }
}

// seen has the files looked at, and what follows from that happen.
func seen(tokens *Tokens) ClientStatus {
	time.Sleep(poll + time.Second)
	synctest.Wait()
	return tokens.Status()[0]
}

func TestANewKeySignsOnceItEarnedAToken(t *testing.T) {
	oldKey, newKey := mustLoad(t, oldSource), mustLoad(t, newSource)
	mount := mountSecret(t, pair(t, oldSource))
	update := pair(t, newSource)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, oldKey)
		var logged strings.Builder
		tokens := setup(t, as, func(o *Options) {
			o.OAuth.Clients["payroll"] = clientOf("key=" + mount.path("tls.key") + " cert=" + mount.path("tls.crt"))
			o.Log = textLog(&logged)
		})
		running(t, tokens)
		s := source(t, tokens)
		first := mustToken(t, s)

		// The files change before anybody told Chaman.
		mount.update(update)
		status := seen(tokens)
		if status.Key.Fingerprint != oldKey.about.Fingerprint || status.Pending == nil ||
			status.Pending.Fingerprint != newKey.about.Fingerprint {
			t.Fatalf("%+v, pending %+v", status.Key, status.Pending)
		}
		// The clock of the bubble begins before the certificate does.
		if !strings.Contains(status.Pending.Reason, "is not valid before") || status.Pending.NextTry.IsZero() ||
			status.Pending.Subject != "O=Elliptic,C=BE" {
			t.Errorf("pending %+v", status.Pending)
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
		as.register(newKey)
		time.Sleep(longestRefusal + poll + time.Second)
		synctest.Wait()
		status = tokens.Status()[0]
		if status.Key.Fingerprint != newKey.about.Fingerprint || status.Pending != nil || status.KeyError != nil {
			t.Fatalf("%+v, pending %+v", status.Key, status.Pending)
		}
		for _, scope := range []string{"scope:a", "scope:b"} {
			mustToken(t, source(t, tokens, scope)) // uses it, so that it is renewed
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := mustToken(t, source(t, tokens, scope)).Key().KeyFingerprint; got != newKey.about.Fingerprint {
				t.Errorf("the token for %s is still the old key's", scope)
			}
		}
		as.leaks(logged.String())
	})
}

func TestAKeyThatGoesBackToTheOldOneIsForgotten(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, oldSource))
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		mustToken(t, source(t, tokens))
		copyFile(t, newSource.Key.File, file)
		pending := seen(tokens).Pending
		if pending == nil {
			t.Fatal("the new key was not seen")
		}
		write(t, file, append([]byte("a comment\n"), read(t, newSource.Key.File)...))
		if p := seen(tokens).Pending; p == nil || !p.Since.Equal(pending.Since) {
			t.Fatalf("the same key in other words counts as another: %+v", p)
		}
		write(t, file, []byte("-----BEGIN "))
		if status := seen(tokens); status.Pending != nil || status.KeyError == nil {
			t.Fatalf("a key that is in no file any more is pending: %+v", status.Pending)
		}
		copyFile(t, oldSource.Key.File, file)
		if status := seen(tokens); status.Pending != nil || status.KeyError != nil {
			t.Fatalf("pending %+v, error %+v", status.Pending, status.KeyError)
		}
	})
}

func TestHalfWrittenFilesChangeNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "client.p12")
	passwordFile := filepath.Join(dir, "password")
	copyFile(t, fixture("modern.p12"), file)
	write(t, passwordFile, []byte(password+"\n"))
	whole := read(t, fixture("keytool.p12"))
	newKey := mustLoad(t, clientOf("store=keytool.p12 pass=changeit"))
	synctest.Test(t, func(t *testing.T) {
		oldKey := mustLoad(t, oldSource)
		as := newAuthServer(t, oldKey, newKey)
		tokens := setup(t, as, signedBy("store="+file+" passfile="+passwordFile))
		running(t, tokens)
		s := source(t, tokens)
		mustToken(t, s)
		wait := func() ClientStatus {
			status := seen(tokens)
			mustToken(t, s)
			return status
		}
		for name, content := range map[string][]byte{"half of it": whole[:len(whole)/2], "nothing": nil} {
			write(t, file, content)
			status := wait()
			if status.Key.Fingerprint != oldKey.about.Fingerprint || status.KeyError == nil || status.Pending != nil {
				t.Fatalf("with %s written: %+v, error %+v", name, status.Key, status.KeyError)
			}
			if !strings.Contains(status.KeyError.Text, file) {
				t.Errorf("%q does not name the file", status.KeyError.Text)
			}
		}
		// The password is another one for a while: the store first, then its password.
		write(t, passwordFile, []byte("not-yet"))
		write(t, file, whole)
		if status := wait(); status.KeyError == nil || !strings.Contains(status.KeyError.Text, "password") {
			t.Fatalf("error %+v", status.KeyError)
		}
		write(t, passwordFile, []byte(password))
		if status := wait(); status.KeyError != nil || status.Key.Fingerprint != newKey.about.Fingerprint {
			t.Fatalf("%+v, error %+v", status.Key, status.KeyError)
		}
	})
}

func TestAKeyThatIsMissingAtTheStartMayComeLater(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, newSource))
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		s := source(t, tokens)
		_, err := s.Token(t.Context())
		var u *UnavailableError
		if !errors.As(err, &u) || !u.NoKey || u.Problem().Status != http.StatusServiceUnavailable ||
			strings.Contains(u.Problem().Detail, file) {
			t.Fatalf("%v", err)
		}
		if status := tokens.Status()[0]; status.Key != nil || status.KeyError == nil || as.count() != 0 {
			t.Fatalf("%+v after %d requests", status, as.count())
		}
		copyFile(t, newSource.Key.File, file)
		time.Sleep(poll + time.Second)
		mustToken(t, s)
	})
}

func TestANewKeyEndsTheBackOff(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, newSource)) // the old key was never registered, or is no more
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		first, second := source(t, tokens, "scope:a"), source(t, tokens, "scope:b")
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			_, _ = first.Token(t.Context())
			_, _ = second.Token(t.Context())
		}
		copyFile(t, newSource.Key.File, file)
		time.Sleep(poll + time.Second)
		mustToken(t, first) // its token was the proof
		mustToken(t, second)
	})
}

// A request that the old key signed may come back after the new one was promoted.
func TestARequestOfTheOldKeyThatEndsAfterThePromotion(t *testing.T) {
	for name, registered := range map[string]bool{"with a token": true, "with a refusal": false} {
		t.Run(name, func(t *testing.T) {
			file := keyFile(t)
			synctest.Test(t, func(t *testing.T) {
				newKey := mustLoad(t, newSource)
				as := newAuthServer(t, newKey)
				if registered {
					as.register(mustLoad(t, oldSource))
				}
				as.before = func(n int, _ *http.Request) {
					if n == 1 {
						time.Sleep(2 * poll)
					}
				}
				tokens := setup(t, as, signedBy("key="+file))
				running(t, tokens)
				s := source(t, tokens)
				go func() { _, _ = s.Token(t.Context()) }()
				synctest.Wait()
				copyFile(t, newSource.Key.File, file)
				if got := seen(tokens).Key.Fingerprint; got != newKey.about.Fingerprint {
					t.Fatal("the new key was not promoted")
				}
				time.Sleep(poll)
				synctest.Wait()
				if failed := tokens.Status()[0].Tokens[0].Error; failed != nil {
					t.Errorf("what the old key earned is held against the new one: %+v", failed)
				}
				mustToken(t, s)
				time.Sleep(2 * renewalPoll)
				synctest.Wait()
				if got := mustToken(t, s).Key().KeyFingerprint; got != newKey.about.Fingerprint {
					t.Error("the old key's token stays")
				}
			})
		})
	}
}

func TestAScopeThatIsNotGrantedDoesNotHoldBackAKey(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		newKey := mustLoad(t, newSource)
		as := newAuthServer(t, mustLoad(t, oldSource), newKey)
		as.granted = func(asked string) string { return strings.Replace(asked, "scope:a", "scope:nothing", 1) }
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		if _, err := source(t, tokens, "scope:a").Token(t.Context()); err == nil {
			t.Fatal("a scope that was not granted")
		}
		_ = source(t, tokens, "scope:b")
		copyFile(t, newSource.Key.File, file)
		if got := seen(tokens).Key.Fingerprint; got != newKey.about.Fingerprint {
			t.Fatal("the new key does not sign")
		}
	})
}

// A refusal of scopes that were never granted would say nothing about the key.
func TestAKeyIsProvedWithScopesThatAreKnownToBeGranted(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, oldSource), mustLoad(t, newSource))
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		source(t, tokens, "scope:a") // no token was asked for yet
		mustToken(t, source(t, tokens, "scope:b"))
		copyFile(t, newSource.Key.File, file)
		if status := seen(tokens); status.Pending != nil || as.forms[1]["scope"][0] != "scope:b" {
			t.Errorf("proved with %v, pending %+v", as.forms[1]["scope"], status.Pending)
		}
	})
}

func TestWithoutASourceANewKeyWaitsForOne(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		newKey := mustLoad(t, newSource)
		as := newAuthServer(t, newKey)
		tokens := setup(t, as, signedBy("key="+file))
		running(t, tokens)
		copyFile(t, newSource.Key.File, file)
		time.Sleep(time.Minute)
		if status := tokens.Status()[0]; status.Pending == nil || as.count() != 0 {
			t.Fatalf("pending %+v after %d requests", status.Pending, as.count())
		}
		_ = source(t, tokens)
		if status := seen(tokens); status.Pending != nil || status.Key.Fingerprint != newKey.about.Fingerprint {
			t.Fatalf("pending %+v", status.Pending)
		}
	})
}

// A configuration that is loaded again while a new key waits for its registration
// must not lose the old key, which is in no file any more.
func TestTheNextGenerationAdoptsTokensAndTheKeyThatWorks(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		oldKey, newKey := mustLoad(t, oldSource), mustLoad(t, newSource)
		as := newAuthServer(t, oldKey)
		generation := func() *Tokens {
			return setup(t, as, signedBy("key="+file))
		}
		before := generation()
		stop := running(t, before)
		token := mustToken(t, source(t, before))
		copyFile(t, newSource.Key.File, file)

		after := generation()
		s := source(t, after)
		after.Adopt(before)
		stop()
		running(t, after)
		if got := mustToken(t, s); got.Hash() != token.Hash() || !got.Expires().Equal(token.Expires()) {
			t.Error("the token was not adopted")
		}
		synctest.Wait()
		if status := after.Status()[0]; status.Key.Fingerprint != oldKey.about.Fingerprint || status.Pending == nil {
			t.Fatalf("%+v, pending %+v", status.Key, status.Pending)
		}
		as.register(newKey)
		time.Sleep(time.Minute)
		if status := after.Status()[0]; status.Key.Fingerprint != newKey.about.Fingerprint || status.Pending != nil {
			t.Fatalf("%+v, pending %+v", status.Key, status.Pending)
		}
	})
}

func TestACertificateThatNeedsAttentionIsLoggedOnceADayAndWhenItExpires(t *testing.T) {
	for name, c := range map[string]struct {
		left, later time.Duration
		says        string
		times       int
	}{
		"it expires in a month": {(30*24 + 12) * time.Hour, 40 * time.Hour, "needs attention", 2},
		"it expires now":        {time.Hour, time.Hour + time.Minute, "state=" + KeyExpired, 1},
	} {
		file := filepath.Join(t.TempDir(), "key.pem")
		synctest.Test(t, func(t *testing.T) {
			write(t, file, selfSigned(t, time.Now().Add(-time.Hour), time.Now().Add(c.left)))
			var logged strings.Builder
			tokens := setup(t, newAuthServer(t), func(o *Options) {
				o.OAuth.Clients["payroll"], o.Log = clientOf("key="+file), textLog(&logged)
			})
			stop := running(t, tokens)
			time.Sleep(c.later)
			stop()
			if n := strings.Count(logged.String(), c.says); n != c.times {
				t.Errorf("%s: %s is said %d times", name, c.says, n)
			}
		})
	}
}

func TestTheReasonOfAPendingKeyNamesACertificateOutOfItsTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	refused := (*failure)(nil).next(&RefusedError{Client: "office", Code: "invalid_client"}, now, 0)
	for name, c := range map[string]struct {
		from, to time.Duration
		want     string
	}{
		"it has expired":           {-400 * day, -10 * day, "has expired on 2026-11-12: put a valid one"},
		"it is not valid yet":      {2 * day, 400 * day, "is not valid before 2026-11-24 12:00:00 UTC"},
		"it is valid, and unknown": {-day, 400 * day, ") not yet registered in Chaman?"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key.pem")
			write(t, file, selfSigned(t, now.Add(c.from), now.Add(c.to)))
			p := &pendingKey{key: mustLoad(t, clientOf("key="+file)), since: now, last: refused}
			if got := p.reason(now); !strings.Contains(got, c.want) || !strings.Contains(got, p.key.about.Subject) ||
				!strings.Contains(got, "The former key goes on signing") {
				t.Errorf("%q", got)
			}
		})
	}
}
