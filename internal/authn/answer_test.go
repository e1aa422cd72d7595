package authn

import (
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseGrant(t *testing.T) {
	long := strings.Repeat("x", maxSecret+1)
	cases := map[string]struct {
		body     string
		lifetime time.Duration
		scopes   string
		err      string
	}{
		"the usual": {
			`{"access_token":"a.b-c_d~e+f/g=","token_type":"Bearer","expires_in":3600,"scope":"x y"}`, time.Hour, "x y", ""},
		"bearer in lower case": {
			`{"access_token":"a","token_type":"bearer","expires_in":30}`, 30 * time.Second, "", ""},
		"further members": {
			`{"access_token":"a","token_type":"Bearer","expires_in":1,"x":{"y":[1]},"id_token":null}`, time.Second, "", ""},
		"blanks around": {
			" \n{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":1}\r\n", time.Second, "", ""},
		"seconds in quotes": {
			`{"access_token":"a","token_type":"Bearer","expires_in":"120"}`, 2 * time.Minute, "", ""},
		"seconds with a fraction": {
			`{"access_token":"a","token_type":"Bearer","expires_in":1.5}`, 1500 * time.Millisecond, "", ""},
		"no expires_in": {`{"access_token":"a","token_type":"Bearer"}`, defaultLifetime, "", ""},
		"expires_in null": {
			`{"access_token":"a","token_type":"Bearer","expires_in":null}`, defaultLifetime, "", ""},
		"a time stamp for expires_in": {
			`{"access_token":"a","token_type":"Bearer","expires_in":1795305600}`, maxLifetime, "", ""},
		"a number past all bounds": {
			`{"access_token":"a","token_type":"Bearer","expires_in":1e999}`, maxLifetime, "", ""},
		"scope empty": {
			`{"access_token":"a","token_type":"Bearer","expires_in":1,"scope":" "}`, time.Second, "", ""},
		"expires_in 0": {
			`{"access_token":"a","token_type":"Bearer","expires_in":0}`, 0, "", "expired already"},
		"expires_in negative": {
			`{"access_token":"a","token_type":"Bearer","expires_in":-1}`, 0, "", "expired already"},
		"expires_in past all bounds below": {
			`{"access_token":"a","token_type":"Bearer","expires_in":-1e999}`, 0, "", "expired already"},
		"expires_in no number":      {`{"access_token":"a","token_type":"Bearer","expires_in":"soon"}`, 0, "", "no number"},
		"expires_in NaN":            {`{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}`, 0, "", "no number"},
		"expires_in an object":      {`{"access_token":"a","token_type":"Bearer","expires_in":{}}`, 0, "", "no number"},
		"no token":                  {`{"token_type":"Bearer","expires_in":1}`, 0, "", "no access_token"},
		"an empty token":            {`{"access_token":"","token_type":"Bearer"}`, 0, "", "no access_token"},
		"a token that is a number":  {`{"access_token":1,"token_type":"Bearer"}`, 0, "", "access_token is no text"},
		"a token with a line break": {`{"access_token":"a\r\nX: y","token_type":"Bearer"}`, 0, "", "header value"},
		"a token with a blank":      {`{"access_token":"a b","token_type":"Bearer"}`, 0, "", "header value"},
		"a token beyond ASCII":      {`{"access_token":"é","token_type":"Bearer"}`, 0, "", "header value"},
		"a token without end":       {`{"access_token":"` + long + `","token_type":"Bearer"}`, 0, "", "header value"},
		"no type":                   {`{"access_token":"a"}`, 0, "", "not Bearer"},
		"another type":              {`{"access_token":"a","token_type":"DPoP"}`, 0, "", "not Bearer"},
		"the token twice":           {`{"access_token":"a","access_token":"b","token_type":"Bearer"}`, 0, "", "twice"},
		"names in other letters":    {`{"Access_Token":"a","token_type":"Bearer"}`, 0, "", "no access_token"},
		"scope a list":              {`{"access_token":"a","token_type":"Bearer","scope":["x"]}`, 0, "", "scope is no text"},
		"a page":                    {`<html>Login</html>`, 0, "", "no JSON object"},
		"an array":                  {`[]`, 0, "", "no JSON object"},
		"nothing":                   {``, 0, "", "no JSON object"},
		"cut short":                 {`{"access_token":"a","token_type":"Bea`, 0, "", "no JSON object"},
		"something behind":          {`{"access_token":"a","token_type":"Bearer"}{}`, 0, "", "no JSON object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g, err := parseGrant([]byte(c.body))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil || g.secret == "" || g.lifetime != c.lifetime || strings.Join(g.scopes, " ") != c.scopes ||
				g.named != (c.scopes != "") {
				t.Fatalf("lifetime %s, scopes %v, %v", g.lifetime, g.scopes, err)
			}
		})
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
		if g.named != (len(g.scopes) > 0) || slices.Contains(g.scopes, "") {
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
		for _, src := range []KeySource{{KeyFile: "x"}, {Keystore: "x", KeyPassword: fixed(password)}} {
			if src.Keystore != "" && len(content) > 0 && content[0] == 0x30 {
				continue
			}
			var m material
			err := guarded(func() error { return src.parse(&m, content, nil) })
			if err == nil && m.private == nil {
				t.Fatal("neither a key nor an error")
			}
			if err == nil {
				if k, err := newKey(m, "", nil); err == nil && (len(k.Fingerprint()) != 64 || k.Algorithm() == "") {
					t.Fatalf("an unusable key: %v", k)
				}
			}
			_, _ = parseCertificates(content)
		}
	})
}
