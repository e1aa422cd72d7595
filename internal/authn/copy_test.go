package authn_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/testkit"
)

// copyOf is a token for key as another replica left it.
func copyOf(key authn.TokenKey, secret string, obtained time.Time, lifetime time.Duration) []byte {
	b, _ := json.Marshal(map[string]any{"key": key.Digest(), "secret": secret, "obtained": obtained.UnixNano(),
		"lifetime": lifetime})
	return b
}

func TestACopyIsTheToken(t *testing.T) {
	as, _, s := with(t)
	as.granted = func(asked string) string { return asked + " scope:more" }
	token := mustToken(t, s)
	b, err := token.MarshalSecret()
	testkit.Must(t, err)
	got, err := authn.RestoreToken(b, token.Key(), time.Now(), time.Hour)
	if err != nil || got.Authorization() != token.Authorization() || got.Hash() != token.Hash() ||
		got.Key() != token.Key() || !slices.Equal(got.Extra(), token.Extra()) {
		t.Fatalf("another token came back: %v", err)
	}
	d, o := got.Expires().Sub(token.Expires()), got.Obtained().Sub(token.Obtained())
	if d > time.Millisecond || d < -time.Minute || o.Abs() > time.Millisecond {
		t.Fatalf("it expires %s later, obtained %s later", d, o)
	}
	if _, err := (authn.Token{}).MarshalSecret(); err == nil {
		t.Fatal("no token was copied")
	}
}

func TestNeitherClockMakesATokenLastLonger(t *testing.T) {
	now, key := time.Now(), authn.TokenKey{ClientID: "c", Scopes: "a b"}
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
		got, err := authn.RestoreToken(copyOf(key, "secret", now.Add(c.obtained), time.Hour), key, now, c.left)
		if d := got.Expires().Sub(now) - c.want; (err != nil) != (c.want == 0) || err == nil && d.Abs() > time.Millisecond {
			t.Errorf("%s: it lasts %s too long, %v", name, d, err)
		}
	}
}

func TestACopyThatIsNoTokenForTheKeyIsRefused(t *testing.T) {
	now, key := time.Now(), authn.TokenKey{ClientID: "c", Scopes: "a b"}
	other := key
	other.Scopes = "a b c"
	for name, b := range map[string][]byte{
		"fewer scopes":   copyOf(key, "secret", now, time.Hour),
		"a header field": copyOf(other, "secret\r\nX-Injected: y", now, time.Hour),
		"no end":         copyOf(other, "secret", now, -1),
		"no JSON":        []byte("secret"),
	} {
		if got, err := authn.RestoreToken(b, other, now, time.Hour); err == nil {
			t.Errorf("%s: %q was taken", name, got.Authorization())
		}
	}
}

func FuzzRestoreToken(f *testing.F) {
	key := authn.TokenKey{ClientID: "c", Scopes: "a b"}
	f.Add(copyOf(key, "secret", time.Now(), time.Hour), int64(time.Minute))
	f.Add([]byte(`{"key":"","secret":"x","lifetime":-1}`), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, left int64) {
		now := time.Now()
		got, err := authn.RestoreToken(b, key, now, time.Duration(left))
		if err == nil && (!got.Valid(now) || got.Key() != key || got.Expires().Sub(now) > time.Duration(left)) {
			t.Fatalf("%q was taken for a token valid until %s", b, got.Expires())
		}
	})
}
