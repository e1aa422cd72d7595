package authn

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

func TestLoadKeyReadsEveryFormat(t *testing.T) {
	rsaKey := mustLoad(t, oldSource).Fingerprint()
	ecKey := mustLoad(t, newSource).Fingerprint()
	cases := map[string]struct {
		src         KeySource
		algorithm   string
		subject     string
		fingerprint string
	}{
		"PKCS#8":        {KeySource{KeyFile: "rsa-pkcs8.pem"}, RS256, "", rsaKey},
		"PKCS#8 in DER": {KeySource{KeyFile: "rsa-pkcs8.der"}, RS256, "", rsaKey},
		"PKCS#1":        {KeySource{KeyFile: "rsa-pkcs1.pem"}, RS256, "", rsaKey},
		"PKCS#1, encrypted as in RFC 1421": {
			KeySource{KeyFile: "rsa-pkcs1-encrypted.pem", Password: fixed(password)}, RS256, "", rsaKey},
		"PKCS#8, AES": {
			KeySource{KeyFile: "rsa-pkcs8-aes.pem", Password: fixed(password)}, RS256, "", rsaKey},
		"PKCS#8, 3DES": {
			KeySource{KeyFile: "rsa-pkcs8-3des.pem", Password: fixed(password)}, RS256, "", rsaKey},
		"PKCS#8, scrypt": {
			KeySource{KeyFile: "rsa-pkcs8-scrypt.pem", Password: fixed(password)}, RS256, "", rsaKey},
		"a password that is not needed": {
			KeySource{KeyFile: "rsa-pkcs8.pem", Password: fixed(password)}, RS256, "", rsaKey},
		"PS256":                      {KeySource{KeyFile: "rsa-pkcs8.pem", Algorithm: PS256}, PS256, "", rsaKey},
		"SEC 1 after its parameters": {KeySource{KeyFile: "ec-sec1.pem"}, ES256, "", ecKey},
		"EC in PKCS#8": {
			KeySource{KeyFile: "ec-pkcs8.pem", CertificateFile: "ec-cert.pem", Algorithm: ES256}, ES256,
			"O=Elliptic,C=BE", ecKey},
		"certificate in DER": {
			KeySource{KeyFile: "rsa-pkcs8.pem", CertificateFile: "rsa-cert.der"}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"chain with the root first": {
			KeySource{KeyFile: "rsa-pkcs8.pem", CertificateFile: "chain-root-first.pem"}, RS256,
			"CN=0206731645,O=Example,C=BE", rsaKey},
		"all in one file, root first": {
			KeySource{KeyFile: "rsa-combined.pem"}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PEM configured as a keystore": {
			KeySource{Keystore: "rsa-combined.pem"}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12, AES": {
			KeySource{Keystore: "modern.p12", Password: fixed(password)}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12, RC2": {
			KeySource{Keystore: "legacy-rc2.p12", Password: fixed(password)}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12, 3DES": {
			KeySource{Keystore: "legacy-3des.p12", Password: fixed(password)}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12 without a password": {
			KeySource{Keystore: "no-password.p12"}, RS256, "CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12 by its name": {
			KeySource{Keystore: "modern.p12", Password: fixed(password), Alias: "Payroll"}, RS256,
			"CN=0206731645,O=Example,C=BE", rsaKey},
		"PKCS#12 of keytool": {
			KeySource{Keystore: "keytool.p12", Password: fixed(password)}, RS256, "O=Java,C=BE", ""},
		"PKCS#12 with two keys, one of them": {
			KeySource{Keystore: "two.p12", Password: fixed(password), Alias: "Social"}, ES256, "O=Java Two,C=BE", ""},
		"PKCS#12 with two keys, the other": {
			KeySource{Keystore: "two.p12", Password: fixed(password), Alias: "payroll"}, RS256, "O=Java,C=BE", ""},
		"PKCS#12 that is called .jks": {
			KeySource{Keystore: "disguised.jks", Password: fixed(password)}, RS256, "O=Java,C=BE", ""},
		"JKS": {KeySource{Keystore: "one.jks", Password: fixed(password)}, RS256, "O=Java,C=BE", ""},
		"JKS, alias in other letters": {KeySource{Keystore: "one.jks", Password: fixed(password), Alias: "PAYROLL"}, RS256,
			"O=Java,C=BE", ""},
		"JKS, a password for the key": {
			KeySource{Keystore: "keypass.jks", Password: fixed(password), KeyPassword: fixed("different")}, RS256,
			"O=Java,C=BE", ""},
		"JKS, a password with accents": {
			KeySource{Keystore: "accents.jks", Password: fixed("clé-privée")}, ES256, "O=Java,C=BE", ""},
		"JKS with two keys": {KeySource{Keystore: "two.jks", Password: fixed(password), Alias: "social"}, ES256,
			"O=Java Two,C=BE", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := mustLoad(t, in("testdata", c.src))
			if k.Algorithm() != c.algorithm || k.Subject() != c.subject {
				t.Errorf("%s of %q, want %s of %q", k.Algorithm(), k.Subject(), c.algorithm, c.subject)
			}
			if c.fingerprint != "" && k.Fingerprint() != c.fingerprint {
				t.Errorf("another key: %s", k.Fingerprint())
			}
			if k.NotAfter().IsZero() != (c.subject == "") || k.NotBefore().IsZero() != (c.subject == "") {
				t.Errorf("valid from %s to %s", k.NotBefore(), k.NotAfter())
			}
		})
	}
}

func in(dir string, src KeySource) KeySource {
	for _, p := range []*string{&src.Keystore, &src.KeyFile, &src.CertificateFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return src
}

func TestLoadKeySaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("empty"), nil)
	write(t, at("large"), make([]byte, maxKeyFile+1))
	write(t, at("truncated.p12"), read(t, fixture("modern.p12"))[:700])
	write(t, at("truncated.jks"), read(t, fixture("one.jks"))[:700])
	huge := read(t, fixture("one.jks"))
	copy(huge[12:], "\x00\x00\x00\x01\xff\xff") // an alias longer than the file
	write(t, at("damaged.jks"), huge)
	write(t, at("base64.p12"), []byte("MIINGgIBAzCCDNAGCSqGSIb3"))

	cases := map[string]struct {
		src  KeySource
		want []string
	}{
		"nothing configured": {KeySource{}, []string{"neither a keystore nor a key file"}},
		"both configured": {
			KeySource{Keystore: "modern.p12", KeyFile: "rsa-pkcs8.pem"}, []string{"both", "leave one"}},
		"no such file": {KeySource{Keystore: "absent.p12"}, []string{"absent.p12", "no such file"}},
		"no such certificate": {
			KeySource{KeyFile: "rsa-pkcs8.pem", CertificateFile: "absent.pem"}, []string{"absent.pem", "no such file"}},
		"no such password file": {
			KeySource{Keystore: "modern.p12", Password: PasswordFile(at("absent"))}, []string{"modern.p12", "absent",
				"reading password"}},
		"a folder":      {KeySource{Keystore: dir}, []string{"is a directory"}},
		"an empty file": {KeySource{Keystore: at("empty")}, []string{"empty"}},
		"a large file":  {KeySource{Keystore: at("large")}, []string{"this is the wrong file"}},
		"PKCS#12, wrong password": {
			KeySource{Keystore: "modern.p12", Password: fixed("wrong-pass")},
			[]string{"modern.p12", "the password does not open it"}},
		"RC2, wrong password": {
			KeySource{Keystore: "legacy-rc2.p12", Password: fixed("wrong-pass")}, []string{"the password does not open it"}},
		"alias, wrong password": {KeySource{Keystore: "modern.p12", Alias: "payroll", Password: fixed("wrong-pass")},
			[]string{"the password does not open it"}},
		"PKCS#12, no password": {KeySource{Keystore: "modern.p12"}, []string{"there is no password"}},
		"PKCS#12 in BER": {
			KeySource{Keystore: "ber.p12", Password: fixed(password)},
			[]string{"BER", "openssl pkcs12 -in testdata/ber.p12 -legacy -noenc"}},
		"PKCS#12 cut short": {
			KeySource{Keystore: at("truncated.p12"), Password: fixed(password)}, []string{"reading PKCS#12"}},
		"PKCS#12 in base64": {KeySource{Keystore: at("base64.p12")}, []string{"base64"}},
		"PKCS#12 with two keys": {
			KeySource{Keystore: "two.p12", Password: fixed(password)}, []string{"2 keys", "set alias", "payroll", "social"}},
		"PKCS#12, unknown alias": {
			KeySource{Keystore: "two.p12", Password: fixed(password), Alias: "other"}, []string{`"other"`, "payroll", "social"}},
		"PKCS#12, certificates alone": {
			KeySource{Keystore: "trust-only.p12", Password: fixed(password)}, []string{"one private key"}},
		"JKS, wrong password": {
			KeySource{Keystore: "one.jks", Password: fixed("wrong-pass")}, []string{"password is wrong"}},
		"JKS, no password": {KeySource{Keystore: "one.jks"}, []string{"there is no password"}},
		"JKS cut short": {
			KeySource{Keystore: at("truncated.jks"), Password: fixed(password)}, []string{"damaged"}},
		"JKS, damaged": {
			KeySource{Keystore: at("damaged.jks"), Password: fixed(password)}, []string{"damaged"}},
		"JKS, key password missing": {
			KeySource{Keystore: "keypass.jks", Password: fixed(password)}, []string{"configure the key password"}},
		"JKS with two keys": {
			KeySource{Keystore: "two.jks", Password: fixed(password)}, []string{"2 keys", "payroll, social"}},
		"JKS, unknown alias": {
			KeySource{Keystore: "two.jks", Password: fixed(password), Alias: "other"}, []string{`"other"`, "payroll, social"}},
		"JKS, certificates alone": {
			KeySource{Keystore: "trust-only.jks", Password: fixed(password)}, []string{"only trusted certificates"}},
		"JCEKS": {
			KeySource{Keystore: "jceks.jks", Password: fixed(password)}, []string{"JCEKS", "keytool -importkeystore"}},
		"PKCS#8, wrong password": {
			KeySource{KeyFile: "rsa-pkcs8-aes.pem", Password: fixed("wrong-pass")}, []string{"the password does not open it"}},
		"PKCS#8, no password": {KeySource{KeyFile: "rsa-pkcs8-aes.pem"}, []string{"there is no password"}},
		"PKCS#8, outdated encryption": {
			KeySource{KeyFile: "rsa-pkcs8-outdated.pem", Password: fixed(password)}, []string{"openssl pkcs8 -topk8 -v2"}},
		"PKCS#1, wrong password": {
			KeySource{KeyFile: "rsa-pkcs1-encrypted.pem", Password: fixed("wrong-pass")},
			[]string{"the password does not open it"}},
		"PKCS#1, no password":         {KeySource{KeyFile: "rsa-pkcs1-encrypted.pem"}, []string{"there is no password"}},
		"two keys in one PEM":         {KeySource{KeyFile: "two-keys.pem"}, []string{"more than one private key"}},
		"a certificate for a key":     {KeySource{KeyFile: "rsa-cert.pem"}, []string{"no private key"}},
		"a DER certificate for a key": {KeySource{KeyFile: "rsa-cert.der"}, []string{"this is no private key"}},
		"a key for a certificate": {
			KeySource{KeyFile: "rsa-pkcs8.pem", CertificateFile: "rsa-pkcs8.pem"}, []string{"no certificate in it"}},
		"another key's certificate": {
			KeySource{KeyFile: "rsa-pkcs8.pem", CertificateFile: "ec-cert.pem"},
			[]string{"no certificate in testdata/ec-cert.pem belongs to the key"}},
		"RSA of 1024 bits": {KeySource{KeyFile: "rsa-1024.pem"}, []string{"2048"}},
		"P-384":            {KeySource{KeyFile: "p384.pem"}, []string{"only P-256"}},
		"Ed25519":          {KeySource{KeyFile: "ed25519.pem"}, []string{"neither RSA nor"}},
		"ES256 with RSA": {
			KeySource{KeyFile: "rsa-pkcs8.pem", Algorithm: ES256}, []string{`"ES256" does not fit`}},
		"RS256 with EC": {
			KeySource{KeyFile: "ec-pkcs8.pem", Algorithm: RS256}, []string{`"RS256" does not fit`}},
		"the algorithm none": {
			KeySource{KeyFile: "rsa-pkcs8.pem", Algorithm: "none"}, []string{`"none" does not fit`}},
		"x5c without a certificate": {
			KeySource{KeyFile: "rsa-pkcs8.pem", Headers: []string{HeaderChain}}, []string{"x5c", "certificate"}},
		"an unknown header parameter": {KeySource{KeyFile: "rsa-pkcs8.pem", Headers: []string{"jku"}}, []string{`"jku"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, err := LoadKey(in("testdata", c.src))
			if err == nil {
				t.Fatalf("loaded %v", k)
			}
			for _, want := range c.want {
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
		"usable":               {-day, 400 * day, KeyUsable, 400},
		"thirty days left":     {-day, 30 * day, KeyUsable, 30},
		"under thirty days":    {-day, 30*day - time.Second, KeyExpiring, 29},
		"the last hour":        {-day, time.Hour, KeyExpiring, 0},
		"expired an hour ago":  {-day, -time.Hour, KeyExpired, -1},
		"valid from next week": {7 * day, 400 * day, KeyNotYetValid, 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key.pem")
			write(t, file, selfSigned(t, now.Add(c.from), now.Add(c.to)))
			s := mustLoad(t, KeySource{KeyFile: file}).status(now)
			if s.State != c.state || *s.DaysLeft != c.days {
				t.Fatalf("%s with %d days, want %s with %d", s.State, *s.DaysLeft, c.state, c.days)
			}
		})
	}
	if s := mustLoad(t, KeySource{KeyFile: fixture("rsa-pkcs8.pem")}).status(now); s.State != KeyNoCertificate ||
		s.DaysLeft != nil {
		t.Fatalf("without a certificate: %+v", s)
	}
}

// Editors of Windows put a byte order mark before what they save, and end it with a line break.
func TestAPasswordFileMayHaveWhatEditorsAdd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, content := range []string{"changeit", "changeit\n", "changeit\r\n", "\xef\xbb\xbfchangeit\n"} {
		write(t, file, []byte(content))
		if b, err := PasswordFile(file)(); err != nil || string(b) != password {
			t.Errorf("%q read as %q, %v", content, b, err)
		}
	}
	write(t, file, []byte(" blanks are part of it \n\n"))
	if b, _ := PasswordFile(file)(); string(b) != " blanks are part of it \n" {
		t.Errorf("read %q", b)
	}
}

func TestAKeyNeverPrintsItself(t *testing.T) {
	k := mustLoad(t, oldSource)
	private := k.private.(*rsa.PrivateKey)
	encoded, err := json.Marshal(k) //nolint:staticcheck // that nothing is exported is what is tested
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	textLog(&logged).Info("key", "key", k)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %d %x", k, k, k, k, k, k), string(encoded), logged.String()} {
		for _, secret := range []string{private.D.String(), private.D.Text(16), private.Primes[0].String(),
			private.Primes[0].Text(16)} {
			if strings.Contains(text, secret) {
				t.Fatal("the private exponent or a prime is printed")
			}
		}
	}
	if !strings.Contains(logged.String(), k.Fingerprint()) {
		t.Error("the log does not say which key")
	}
}

// selfSigned is a new P-256 key and its certificate as PEM.
func selfSigned(t testing.TB, from, to time.Time) []byte {
	t.Helper()
	certificate, key := testkit.NewCertificate(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }).PEM()
	return append(key, certificate...)
}
