package authn

import (
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
)

func TestParseGrant(t *testing.T) {
	bearer := func(members string) string {
		return strings.TrimSuffix(`{"access_token":"a","token_type":"Bearer",`+members, ",") + "}"
	}
	for body, want := range map[string]string{ // lifetime and scopes
		bearer(`"expires_in":3600,"scope":"x y"`):                 "1h0m0s x y",
		`{"access_token":"a.b-c_d~e+f/g=","token_type":"bearer"}`: "1m0s",
		bearer(`"expires_in":1,"x":{"y":[1]},"id_token":null`):    "1s",
		" \n" + bearer(`"expires_in":1`) + "\r\n":                 "1s",
		bearer(`"expires_in":"120"`):                              "2m0s",
		bearer(`"expires_in":1.5`):                                "1.5s",
		bearer(``):                                                defaultLifetime.String(),
		bearer(`"expires_in":null`):                               defaultLifetime.String(),
		bearer(`"expires_in":1795305600`):                         maxLifetime.String(), // a time stamp
		bearer(`"expires_in":1e999`):                              maxLifetime.String(),
		bearer(`"expires_in":1,"scope":" "`):                      "1s",
	} {
		g, err := parseGrant([]byte(body))
		is := strings.Join(append([]string{g.lifetime.String()}, g.scopes...), " ")
		if err != nil || g.secret == "" || is != want {
			t.Errorf("%s: %s, %v, want %s", body, is, err, want)
		}
	}
	for body, want := range map[string]string{
		bearer(`"expires_in":0`):                             "expired already",
		bearer(`"expires_in":-1`):                            "expired already",
		bearer(`"expires_in":0.9`):                           "expired already",
		bearer(`"expires_in":-1e999`):                        "expired already",
		bearer(`"expires_in":"soon"`):                        "no number",
		bearer(`"expires_in":"NaN"`):                         "no number",
		bearer(`"expires_in":{}`):                            "no number",
		bearer(`"access_token":"b"`):                         "twice",
		bearer(`"scope":["x"]`):                              "scope is no text",
		bearer(`}{`):                                         "no JSON object",
		`{"token_type":"Bearer","expires_in":1}`:             "no access_token",
		`{"Access_Token":"a","token_type":"Bearer"}`:         "no access_token",
		`{"access_token":"","token_type":"Bearer"}`:          "no access_token",
		`{"access_token":1,"token_type":"Bearer"}`:           "access_token is no text",
		`{"access_token":"a\r\nX: y","token_type":"Bearer"}`: "header value",
		`{"access_token":"a b","token_type":"Bearer"}`:       "header value",
		`{"access_token":"é","token_type":"Bearer"}`:         "header value",
		`{"access_token":"` + strings.Repeat("x", maxSecret+1) + `","token_type":"Bearer"}`: "header value",
		`{"access_token":"a"}`:                     "not Bearer",
		`{"access_token":"a","token_type":"DPoP"}`: "not Bearer",
		`<html>Login</html>`:                       "no JSON object",
		`[]`:                                       "no JSON object",
		``:                                         "no JSON object",
		`{"access_token":"a","token_type":"Bea`:    "no JSON object",
	} {
		if g, err := parseGrant([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %s, %v, want %q", body, g.lifetime, err, want)
		}
	}
}

func TestParseRefusal(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_client"}`:                                 "invalid_client",
		`{"error":"invalid_scope","error_description":"x"}`:          "invalid_scope",
		`{"error":"use the token eyJhbGciOi"}`:                       "",
		`{"error":"` + strings.Repeat("a", 41) + `"}`:                "",
		`{"error":{"code":1}}`:                                       "",
		`{"message":"no"}`:                                           "",
		`<html>`:                                                     "",
		"{\"error\":\"invalid_scope\",\"x\":\"\xe9\"}":               "invalid_scope", // Latin-1
		`{"type":"urn:problem-type:belgif:badRequest","status":400}`: "",
	} {
		if got, ok := parseRefusal([]byte(body)); got != want || ok != (want != "") {
			t.Errorf("%s gives %q, %v", body, got, ok)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"scope":"x y"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"1e9"}`,
		`{"error":"invalid_client"}`, `<html>`, `{`, `{"a":`, `[{}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if code, ok := parseRefusal(body); ok && (code == "" || len(code) > 40) {
			t.Fatalf("code %q", code)
		}
		g, err := parseGrant(body)
		if err != nil {
			if g.secret != "" {
				t.Fatal("an error with a token")
			}
			return
		}
		if g.lifetime <= 0 || g.lifetime > maxLifetime {
			t.Fatalf("a lifetime of %s", g.lifetime)
		}
		if slices.Contains(g.scopes, "") {
			t.Fatalf("scopes %q", g.scopes)
		}
		for _, c := range []byte(g.secret) {
			if c <= ' ' || c > '~' {
				t.Fatalf("%q would break a header", g.secret)
			}
		}
	})
}

// The formats with an expensive key derivation are left out: whoever writes the
// key file may make the gateway compute.
func FuzzLoadKey(f *testing.F) {
	for _, name := range []string{
		"rsa-pkcs1.pem", "ec-sec1.pem", "rsa-combined.pem", "rsa-pkcs8.der", "rsa-pkcs1-encrypted.pem", "one.jks",
		"two-keys.pem", "rsa-cert.der",
	} {
		f.Add(read(f, fixture(name)))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 0 && content[0] == 0x30 {
			var sealed encryptedPKCS8
			if _, err := asn1.Unmarshal(content, &sealed); err == nil {
				return
			}
		}
		for _, c := range []config.Client{clientOf("key=x"), clientOf("store=x keypass=changeit")} {
			if c.Keystore != nil && len(content) > 0 && content[0] == 0x30 {
				continue
			}
			var m material
			err := guarded(func() error { return parseKey(c, &m, content, nil) })
			if err == nil && m.private == nil {
				t.Fatal("neither a key nor an error")
			}
			if err == nil {
				if k, err := newKey(m, "", nil); err == nil && (len(k.about.Fingerprint) != 64 || k.about.Algorithm == "") {
					t.Fatalf("an unusable key: %v", k)
				}
			}
			_, _ = parseCertificates(content)
		}
	})
}
