package authn_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestLoadKeyReadsEveryFormat(t *testing.T) {
	known := map[string]string{fingerprint(t, oldClient): "old", fingerprint(t, newClient): "new"}
	const example = " CN=0206731645,O=Example,C=BE"
	for src, want := range map[string]string{ // algorithm, which key, and the certificate's subject
		"key=rsa-pkcs8.pem":                                 "RS256 old ",
		"key=rsa-pkcs8.pem pass=changeit":                   "RS256 old ", // needless
		"key=rsa-pkcs8.der":                                 "RS256 old ",
		"key=rsa-pkcs1.pem":                                 "RS256 old ",
		"key=rsa-pkcs1-encrypted.pem pass=changeit":         "RS256 old ", // RFC 1421
		"key=rsa-pkcs8-aes.pem pass=changeit":               "RS256 old ",
		"key=rsa-pkcs8-3des.pem pass=changeit":              "RS256 old ",
		"key=rsa-pkcs8-scrypt.pem pass=changeit":            "RS256 old ",
		"key=rsa-pkcs8.pem alg=PS256":                       "PS256 old ",
		"key=ec-sec1.pem":                                   "ES256 new ", // with parameters before the key
		"key=ec-pkcs8.pem cert=ec-cert.pem alg=ES256":       "ES256 new O=Elliptic,C=BE",
		"key=rsa-pkcs8.pem cert=rsa-cert.der":               "RS256 old" + example,
		"key=rsa-pkcs8.pem cert=chain-root-first.pem":       "RS256 old" + example,
		"key=rsa-combined.pem":                              "RS256 old" + example, // root first
		"store=rsa-combined.pem":                            "RS256 old" + example,
		"store=modern.p12 pass=changeit":                    "RS256 old" + example,
		"store=legacy-rc2.p12 pass=changeit":                "RS256 old" + example,
		"store=legacy-3des.p12 pass=changeit":               "RS256 old" + example,
		"store=no-password.p12":                             "RS256 old" + example,
		"store=modern.p12 pass=changeit alias=Payroll":      "RS256 old" + example,
		"store=keytool.p12 pass=changeit":                   "RS256  O=Java,C=BE",
		"store=two.p12 pass=changeit alias=Social":          "ES256  O=Java Two,C=BE",
		"store=disguised.jks pass=changeit":                 "RS256  O=Java,C=BE", // PKCS#12
		"store=one.jks pass=changeit":                       "RS256  O=Java,C=BE",
		"store=one.jks pass=changeit alias=PAYROLL":         "RS256  O=Java,C=BE",
		"store=keypass.jks pass=changeit keypass=different": "RS256  O=Java,C=BE",
		"store=accents.jks pass=clé-privée":                 "ES256  O=Java,C=BE",
		"store=two.jks pass=changeit alias=social":          "ES256  O=Java Two,C=BE",
	} {
		t.Run(src, func(t *testing.T) {
			k := mustLoad(t, clientOf(src)).Status(time.Now())
			if got := k.Algorithm + " " + known[k.Fingerprint] + " " + k.Subject; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if k.NotAfter.IsZero() != (k.Subject == "") || k.NotBefore.IsZero() != (k.Subject == "") {
				t.Errorf("valid from %s to %s", k.NotBefore, k.NotAfter)
			}
		})
	}
}

// clientOf is a client whose key is "store=one.jks pass=changeit alias=payroll": files of
// testdata, unless their path is absolute, and how they are used.
func clientOf(text string) config.Client {
	c := config.Client{ClientID: "client-1", AssertionLifetime: time.Minute}
	var store config.Keystore
	for part := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(part, "=")
		file := value
		if !filepath.IsAbs(file) {
			file = fixture(file)
		}
		switch name {
		case "store":
			c.Keystore, store.File = &store, file
		case "key":
			c.Key = &config.Key{File: file}
		case "cert":
			c.Certificate = &config.Certificate{File: file}
		case "pass":
			store.Password = config.Secret(value)
		case "passfile":
			store.PasswordFile = file
		case "keypass":
			store.KeyPassword = config.Secret(value)
		case "alias":
			store.Alias = value
		case "alg":
			c.Algorithm = config.Algorithm(value)
		case "head":
			for one := range strings.SplitSeq(value, ",") {
				c.Headers = append(c.Headers, config.AssertionHeader(one))
			}
		}
	}
	if c.Key != nil {
		c.Key.Password, c.Key.PasswordFile = store.Password, store.PasswordFile
	}
	return c
}

func TestLoadKeySaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		testkit.Write(t, name, content)
		return name
	}
	huge := read(t, fixture("one.jks"))
	copy(huge[12:], "\x00\x00\x00\x01\xff\xff") // an alias longer than the file
	for src, want := range map[string]string{   // see clientOf; what the error says
		"":                                  "neither a keystore nor a key file",
		"store=absent.p12":                  "absent.p12|no such file",
		"key=rsa-pkcs8.pem cert=absent.pem": "absent.pem|no such file",
		"store=modern.p12 passfile=" + dir + "/absent": "modern.p12|absent|reading password",
		"store=" + dir:                                   "is a directory",
		"store=" + file("empty", nil):                    "empty",
		"store=" + file("large", make([]byte, 1<<20+1)):  "this is the wrong file",
		"store=modern.p12 pass=wrong-pass":               "modern.p12|the password does not open it",
		"store=legacy-rc2.p12 pass=wrong-pass":           "the password does not open it",
		"store=modern.p12 alias=payroll pass=wrong-pass": "the password does not open it",
		"store=modern.p12":                               "there is no password",
		"store=ber.p12 pass=changeit":                    "BER|openssl pkcs12 -in testdata/ber.p12 -legacy -noenc",
		"store=" + file("cut.p12", read(t, fixture("modern.p12"))[:700]) + " pass=changeit": "reading PKCS#12",
		"store=" + file("base64.p12", []byte("MIINGgIBAzCCDNAGCSqGSIb3")):                   "base64",
		"store=two.p12 pass=changeit":             "2 keys|set alias|payroll|social",
		"store=two.p12 pass=changeit alias=other": `"other"|payroll|social`,
		"store=trust-only.p12 pass=changeit":      "one private key",
		"store=one.jks pass=wrong-pass":           "password is wrong",
		"store=one.jks":                           "there is no password",
		"store=" + file("cut.jks", read(t, fixture("one.jks"))[:700]) + " pass=changeit": "damaged",
		"store=" + file("damaged.jks", huge) + " pass=changeit":                          "damaged",
		"store=keypass.jks pass=changeit":                                                "configure the key password",
		"store=two.jks pass=changeit":                                                    "2 keys|payroll, social",
		"store=two.jks pass=changeit alias=other":                                        `"other"|payroll, social`,
		"store=trust-only.jks pass=changeit":                                             "only trusted certificates",
		"store=jceks.jks pass=changeit":                                                  "JCEKS|keytool -importkeystore",
		"key=rsa-pkcs8-aes.pem pass=wrong-pass":                                          "the password does not open it",
		"key=rsa-pkcs8-aes.pem":                                                          "there is no password",
		"key=rsa-pkcs8-outdated.pem pass=changeit":                                       "openssl pkcs8 -topk8 -v2",
		"key=scrypt-terabyte.der pass=changeit":                                          "more memory or time|openssl pkcs8",
		"key=scrypt-years.der pass=changeit":                                             "more memory or time",
		"key=pbkdf2-years.der pass=changeit":                                             "more memory or time",
		"key=rsa-pkcs1-encrypted.pem pass=wrong-pass":                                    "the password does not open it",
		"key=rsa-pkcs1-encrypted.pem":                                                    "there is no password",
		"key=two-keys.pem":                                                               "more than one private key",
		"key=rsa-cert.pem":                                                               "no private key",
		"key=rsa-cert.der":                                                               "this is no private key",
		"key=rsa-pkcs8.pem cert=rsa-pkcs8.pem":                                           "no certificate in it",
		"key=rsa-pkcs8.pem cert=ec-cert.pem":                                             "ec-cert.pem belongs to the key",
		"key=rsa-1024.pem":                                                               "2048",
		"key=p384.pem":                                                                   "only P-256",
		"key=ed25519.pem":                                                                "neither RSA nor",
		"key=rsa-pkcs8.pem alg=ES256":                                                    `"ES256" does not fit`,
		"key=ec-pkcs8.pem alg=RS256":                                                     `"RS256" does not fit`,
		"key=rsa-pkcs8.pem alg=none":                                                     `"none" does not fit`,
		"key=rsa-pkcs8.pem head=x5c":                                                     "x5c|certificate",
	} {
		t.Run(src, func(t *testing.T) {
			k, err := authn.LoadKey(clientOf(src))
			if err == nil {
				t.Fatalf("loaded %v", k)
			}
			for want := range strings.SplitSeq(want, "|") {
				if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			for _, secret := range []string{password, "wrong-pass", "PRIVATE KEY-----\n"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q holds a secret", err)
				}
			}
		})
	}
}

func TestACertificateOutOfItsTimeLoadsWithAWarning(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	cases := map[string]struct {
		from, to time.Duration
		state    string
		days     int
	}{
		"usable":               {-day, 400 * day, authn.KeyUsable, 400},
		"thirty days left":     {-day, 30 * day, authn.KeyUsable, 30},
		"under thirty days":    {-day, 30*day - time.Second, authn.KeyExpiring, 29},
		"the last hour":        {-day, time.Hour, authn.KeyExpiring, 0},
		"expired an hour ago":  {-day, -time.Hour, authn.KeyExpired, -1},
		"valid from next week": {7 * day, 400 * day, authn.KeyNotYetValid, 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key.pem")
			testkit.Write(t, file, selfSigned(t, now.Add(c.from), now.Add(c.to)))
			s := mustLoad(t, clientOf("key="+file)).Status(now)
			if s.State != c.state || *s.DaysLeft != c.days {
				t.Fatalf("%s with %d days, want %s with %d", s.State, *s.DaysLeft, c.state, c.days)
			}
		})
	}
	if s := mustLoad(t, clientOf("key=rsa-pkcs8.pem")).Status(now); s.State != authn.KeyNoCertificate ||
		s.DaysLeft != nil {
		t.Fatalf("without a certificate: %+v", s)
	}
}

// Editors of Windows put a byte order mark before what they save, and end it with a line break.
func TestAPasswordFileMayHaveWhatEditorsAdd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for content, right := range map[string]bool{"changeit": true, "changeit\n": true, "changeit\r\n": true,
		"\xef\xbb\xbfchangeit\n": true, "changeit \n": false, "changeit\n\n": false} {
		testkit.Write(t, file, []byte(content))
		if _, err := authn.LoadKey(clientOf("store=modern.p12 passfile=" + file)); (err == nil) != right {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestAKeyNeverPrintsItself(t *testing.T) {
	k := mustLoad(t, oldClient)
	block, _ := pem.Decode(read(t, oldClient.Key.File))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	testkit.Must(t, err)
	private := parsed.(*rsa.PrivateKey)
	encoded, err := json.Marshal(k) //nolint:staticcheck // that nothing is exported is what is tested
	testkit.Must(t, err)
	var logged bytes.Buffer
	textLog(&logged).Info("key", "key", k)
	texts := []string{string(encoded), logged.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, k), fmt.Sprintf(verb, *k))
	}
	for _, text := range texts {
		for _, secret := range []string{private.D.String(), private.D.Text(16), private.Primes[0].String(),
			private.Primes[0].Text(16)} {
			if strings.Contains(text, secret) {
				t.Fatal("the private exponent or a prime is printed")
			}
		}
	}
	if !strings.Contains(logged.String(), fingerprint(t, oldClient)) {
		t.Error("the log does not say which key")
	}
}

// selfSigned is a new P-256 key and its certificate as PEM.
func selfSigned(t testing.TB, from, to time.Time) []byte {
	t.Helper()
	certificate, key := testkit.NewCertificate(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }).PEM()
	return append(key, certificate...)
}

func TestAssertionsAreWhatTheAuthorizationServerWants(t *testing.T) {
	leaf := certificateOf(t, fixture("rsa-cert.pem"))
	sum := sha256.Sum256(leaf.Raw)
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	now := time.Date(2026, 11, 22, 12, 0, 0, 999, time.UTC)
	for src, c := range map[string]struct {
		algorithm jose.SignatureAlgorithm
		public    any
		header    map[string]any // besides the algorithm and x5c
		chain     int            // certificates of x5c
	}{
		"key=rsa-pkcs8.pem":           {jose.RS256, leaf.PublicKey, nil, 0},
		"key=rsa-pkcs8.pem alg=PS256": {jose.PS256, leaf.PublicKey, nil, 0},
		"key=ec-pkcs8.pem":            {jose.ES256, certificateOf(t, fixture("ec-cert.pem")).PublicKey, nil, 0},
		"key=rsa-pkcs8.pem cert=chain-root-first.pem head=kid,x5t#S256,x5c": {jose.RS256, leaf.PublicKey,
			map[string]any{"kid": thumbprint, "x5t#S256": thumbprint}, 2},
	} {
		t.Run(src, func(t *testing.T) {
			as := newAuthServer(t)
			as.answer = refuse
			tokens := setup(t, as, signedBy(src), func(o *authn.Options) {
				o.OAuth.Audience, o.Now = "https://as.example/token", func() time.Time { return now }
			})
			_, _ = tokens.Try(t.Context(), "payroll", nil, nil)
			text := as.forms[0]["client_assertion"][0]
			parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{c.algorithm})
			testkit.Must(t, err)
			var claims, header map[string]any
			if err := parsed.Claims(c.public, &claims); err != nil {
				t.Fatalf("verifying the signature: %v", err)
			}
			if jti, _ := claims["jti"].(string); len(jti) != 36 {
				t.Errorf("jti %q", jti)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "client-1", "sub": "client-1", "aud": "https://as.example/token",
				"iat": float64(now.Unix() - 10), "exp": float64(now.Unix() + 60),
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
			first, _, _ := strings.Cut(text, ".")
			raw, err := base64.RawURLEncoding.DecodeString(first)
			if err == nil {
				err = json.Unmarshal(raw, &header)
			}
			chain, _ := header["x5c"].([]any)
			if err != nil || len(chain) != c.chain || c.chain > 0 && chain[0] != base64.StdEncoding.EncodeToString(leaf.Raw) {
				t.Errorf("%v, x5c has %d certificates", err, len(chain))
			}
			for _, name := range []string{"x5c", "alg", "typ"} {
				delete(header, name)
			}
			if len(header) != len(c.header) || len(header) > 0 && cmp.Diff(c.header, header) != "" {
				t.Errorf("header %v", header)
			}
		})
	}
}

// The formats with an expensive key derivation are left out: whoever writes the
// key file may make the gateway compute.
func FuzzLoadKey(f *testing.F) {
	for _, name := range []string{"rsa-pkcs1.pem", "ec-sec1.pem", "rsa-combined.pem", "rsa-pkcs8.der",
		"rsa-pkcs1-encrypted.pem", "one.jks", "two-keys.pem", "rsa-cert.der"} {
		f.Add(read(f, fixture(name)))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 0 && content[0] == 0x30 {
			return
		}
		file := filepath.Join(t.TempDir(), "key")
		testkit.Write(t, file, content)
		for _, src := range []string{"key=" + file, "store=" + file + " keypass=changeit", "key=rsa-pkcs8.pem cert=" + file} {
			if k, err := authn.LoadKey(clientOf(src)); err == nil && len(k.Status(time.Now()).Fingerprint) != 64 {
				t.Fatalf("an unusable key: %v", k)
			}
		}
	})
}
