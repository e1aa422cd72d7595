package authn

import (
	"slices"
	"testing"
	"time"
)

var copied = TokenKey{TokenURL: "https://as.example/token", Audience: "https://as.example", ClientID: "c",
	KeyFingerprint: "f", Scopes: "a b"}

func TestACopyIsTheToken(t *testing.T) {
	now := time.Now()
	token := newToken("secret", copied, now.Add(-10*time.Minute), time.Hour, []string{"c"})
	b, err := token.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	got, err := RestoreToken(b, copied, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got.Authorization() != token.Authorization() || got.Hash() != token.Hash() || got.Key() != copied ||
		!slices.Equal(got.Extra(), token.Extra()) {
		t.Fatal("another token came back")
	}
	if d := got.Expires().Sub(token.Expires()); d.Abs() > time.Millisecond {
		t.Fatalf("it expires %s later", d)
	}
	if d := got.Obtained().Sub(token.Obtained()); d.Abs() > time.Millisecond {
		t.Fatalf("it was obtained %s later", d)
	}
}

func TestNeitherClockMakesATokenLastLonger(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		obtained, left, want time.Duration // from now
	}{
		"the store's measure is shorter":   {-10 * time.Minute, 20 * time.Minute, 20 * time.Minute},
		"our clock's measure is shorter":   {-50 * time.Minute, 20 * time.Minute, 10 * time.Minute},
		"the other replica's clock leads":  {10 * time.Minute, 55 * time.Minute, 55 * time.Minute},
		"it leads, and the store says so":  {10 * time.Minute, 2 * time.Hour, time.Hour},
		"expired by our clock":             {-61 * time.Minute, 20 * time.Minute, 0},
		"expired by the store's":           {-10 * time.Minute, 0, 0},
		"the store has no end for it (-1)": {-10 * time.Minute, -1, 0},
	} {
		b, err := newToken("secret", copied, now.Add(c.obtained), time.Hour, nil).MarshalSecret()
		if err != nil {
			t.Fatal(err)
		}
		got, err := RestoreToken(b, copied, now, c.left)
		if (err != nil) != (c.want == 0) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := got.Expires().Sub(now) - c.want; err == nil && d.Abs() > time.Millisecond {
			t.Errorf("%s: it lasts %s too long", name, d)
		}
	}
}

func TestACopyThatIsNoTokenForTheKeyIsRefused(t *testing.T) {
	b, err := newToken("secret", copied, time.Now(), time.Hour, nil).MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	other := copied
	other.Scopes = "a b c"
	if got, err := RestoreToken(b, other, time.Now(), time.Hour); err == nil {
		t.Fatalf("%v was taken for one with more scopes", got)
	}
	b, _ = newToken("secret\r\nX-Injected: y", copied, time.Now(), time.Hour, nil).MarshalSecret()
	if got, err := RestoreToken(b, copied, time.Now(), time.Hour); err == nil {
		t.Fatalf("%q was taken for a header field", got.Authorization())
	}
	if _, err := (Token{}).MarshalSecret(); err == nil {
		t.Fatal("no token was copied")
	}
}

func FuzzRestoreToken(f *testing.F) {
	b, err := newToken("secret", copied, time.Now(), time.Hour, []string{"x"}).MarshalSecret()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, int64(time.Minute))
	f.Add([]byte(`{"key":"","secret":"x","lifetime":-1}`), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, left int64) {
		now := time.Now()
		got, err := RestoreToken(b, copied, now, time.Duration(left))
		if err == nil && (!got.Valid(now) || got.Key() != copied || got.Expires().Sub(now) > time.Duration(left)) {
			t.Fatalf("%q was taken for a token valid until %s", b, got.Expires())
		}
	})
}
