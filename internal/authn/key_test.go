package authn

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestLoadKeyReadsEveryFormat(t *testing.T) {
	rsaKey := mustLoad(t, oldSource).about.Fingerprint
	ecKey := mustLoad(t, newSource).about.Fingerprint
	const example = "CN=0206731645,O=Example,C=BE"
	cases := map[string]struct {
		src         string // see clientOf
		algorithm   string
		subject     string
		fingerprint string
	}{
		"PKCS#8":                    {"key=rsa-pkcs8.pem", "RS256", "", rsaKey},
		"PKCS#8 in DER":             {"key=rsa-pkcs8.der", "RS256", "", rsaKey},
		"PKCS#1":                    {"key=rsa-pkcs1.pem", "RS256", "", rsaKey},
		"PKCS#1 as in RFC 1421":     {"key=rsa-pkcs1-encrypted.pem pass=changeit", "RS256", "", rsaKey},
		"PKCS#8, AES":               {"key=rsa-pkcs8-aes.pem pass=changeit", "RS256", "", rsaKey},
		"PKCS#8, 3DES":              {"key=rsa-pkcs8-3des.pem pass=changeit", "RS256", "", rsaKey},
		"PKCS#8, scrypt":            {"key=rsa-pkcs8-scrypt.pem pass=changeit", "RS256", "", rsaKey},
		"a needless password":       {"key=rsa-pkcs8.pem pass=changeit", "RS256", "", rsaKey},
		"PS256":                     {"key=rsa-pkcs8.pem alg=PS256", "PS256", "", rsaKey},
		"SEC 1 and parameters":      {"key=ec-sec1.pem", "ES256", "", ecKey},
		"EC in PKCS#8":              {"key=ec-pkcs8.pem cert=ec-cert.pem alg=ES256", "ES256", "O=Elliptic,C=BE", ecKey},
		"certificate in DER":        {"key=rsa-pkcs8.pem cert=rsa-cert.der", "RS256", example, rsaKey},
		"chain with the root first": {"key=rsa-pkcs8.pem cert=chain-root-first.pem", "RS256", example, rsaKey},
		"in one file, root first":   {"key=rsa-combined.pem", "RS256", example, rsaKey},
		"PEM as a keystore":         {"store=rsa-combined.pem", "RS256", example, rsaKey},
		"PKCS#12, AES":              {"store=modern.p12 pass=changeit", "RS256", example, rsaKey},
		"PKCS#12, RC2":              {"store=legacy-rc2.p12 pass=changeit", "RS256", example, rsaKey},
		"PKCS#12, 3DES":             {"store=legacy-3des.p12 pass=changeit", "RS256", example, rsaKey},
		"PKCS#12, no password":      {"store=no-password.p12", "RS256", example, rsaKey},
		"PKCS#12 by its name":       {"store=modern.p12 pass=changeit alias=Payroll", "RS256", example, rsaKey},
		"PKCS#12 of keytool":        {"store=keytool.p12 pass=changeit", "RS256", "O=Java,C=BE", ""},
		"PKCS#12 with two keys":     {"store=two.p12 pass=changeit alias=Social", "ES256", "O=Java Two,C=BE", ""},
		"PKCS#12, the other key":    {"store=two.p12 pass=changeit alias=payroll", "RS256", "O=Java,C=BE", ""},
		"PKCS#12 called .jks":       {"store=disguised.jks pass=changeit", "RS256", "O=Java,C=BE", ""},
		"JKS":                       {"store=one.jks pass=changeit", "RS256", "O=Java,C=BE", ""},
		"JKS, alias in capitals":    {"store=one.jks pass=changeit alias=PAYROLL", "RS256", "O=Java,C=BE", ""},
		"JKS, the key's password":   {"store=keypass.jks pass=changeit keypass=different", "RS256", "O=Java,C=BE", ""},
		"JKS, accents":              {"store=accents.jks pass=clé-privée", "ES256", "O=Java,C=BE", ""},
		"JKS with two keys":         {"store=two.jks pass=changeit alias=social", "ES256", "O=Java Two,C=BE", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := mustLoad(t, clientOf(c.src))
			if k.about.Algorithm != c.algorithm || k.about.Subject != c.subject {
				t.Errorf("%s of %q, want %s of %q", k.about.Algorithm, k.about.Subject, c.algorithm, c.subject)
			}
			if c.fingerprint != "" && k.about.Fingerprint != c.fingerprint {
				t.Errorf("another key: %s", k.about.Fingerprint)
			}
			if k.about.NotAfter.IsZero() != (c.subject == "") || k.about.NotBefore.IsZero() != (c.subject == "") {
				t.Errorf("valid from %s to %s", k.about.NotBefore, k.about.NotAfter)
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
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("empty"), nil)
	write(t, at("large"), make([]byte, maxKeyFile+1))
	write(t, at("truncated.p12"), read(t, fixture("modern.p12"))[:700])
	write(t, at("truncated.jks"), read(t, fixture("one.jks"))[:700])
	huge := read(t, fixture("one.jks"))
	copy(huge[12:], "\x00\x00\x00\x01\xff\xff") // an alias longer than the file
	write(t, at("damaged.jks"), huge)
	write(t, at("terabyte.der"), derived(t, oidScrypt, 1<<30, 8, 1))
	write(t, at("parallel.der"), derived(t, oidScrypt, 1<<14, 8, 1<<30))
	write(t, at("years.der"), derived(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, 1<<60, 0, 0))
	write(t, at("base64.p12"), []byte("MIINGgIBAzCCDNAGCSqGSIb3"))

	cases := map[string]struct {
		src  string // see clientOf
		want []string
	}{
		"nothing configured":  {"", []string{"neither a keystore nor a key file"}},
		"no such file":        {"store=absent.p12", []string{"absent.p12", "no such file"}},
		"no such certificate": {"key=rsa-pkcs8.pem cert=absent.pem", []string{"absent.pem", "no such file"}},
		"no such password file": {"store=modern.p12 passfile=" + at("absent"),
			[]string{"modern.p12", "absent", "reading password"}},
		"a folder":      {"store=" + dir, []string{"is a directory"}},
		"an empty file": {"store=" + at("empty"), []string{"empty"}},
		"a large file":  {"store=" + at("large"), []string{"this is the wrong file"}},
		"PKCS#12, wrong password": {"store=modern.p12 pass=wrong-pass",
			[]string{"modern.p12", "the password does not open it"}},
		"RC2, wrong password": {"store=legacy-rc2.p12 pass=wrong-pass", []string{"the password does not open it"}},
		"alias, wrong password": {"store=modern.p12 alias=payroll pass=wrong-pass",
			[]string{"the password does not open it"}},
		"PKCS#12, no password": {"store=modern.p12", []string{"there is no password"}},
		"PKCS#12 in BER": {"store=ber.p12 pass=changeit",
			[]string{"BER", "openssl pkcs12 -in testdata/ber.p12 -legacy -noenc"}},
		"PKCS#12 cut short": {"store=" + at("truncated.p12") + " pass=changeit", []string{"reading PKCS#12"}},
		"PKCS#12 in base64": {"store=" + at("base64.p12"), []string{"base64"}},
		"PKCS#12 with two keys": {"store=two.p12 pass=changeit",
			[]string{"2 keys", "set alias", "payroll", "social"}},
		"PKCS#12, unknown alias": {"store=two.p12 pass=changeit alias=other",
			[]string{`"other"`, "payroll", "social"}},
		"PKCS#12, certificates alone": {"store=trust-only.p12 pass=changeit", []string{"one private key"}},
		"JKS, wrong password":         {"store=one.jks pass=wrong-pass", []string{"password is wrong"}},
		"JKS, no password":            {"store=one.jks", []string{"there is no password"}},
		"JKS cut short":               {"store=" + at("truncated.jks") + " pass=changeit", []string{"damaged"}},
		"JKS, damaged":                {"store=" + at("damaged.jks") + " pass=changeit", []string{"damaged"}},
		"JKS, key password missing":   {"store=keypass.jks pass=changeit", []string{"configure the key password"}},
		"JKS with two keys":           {"store=two.jks pass=changeit", []string{"2 keys", "payroll, social"}},
		"JKS, unknown alias":          {"store=two.jks pass=changeit alias=other", []string{`"other"`, "payroll, social"}},
		"JKS, certificates alone":     {"store=trust-only.jks pass=changeit", []string{"only trusted certificates"}},
		"JCEKS":                       {"store=jceks.jks pass=changeit", []string{"JCEKS", "keytool -importkeystore"}},
		"PKCS#8, wrong password": {"key=rsa-pkcs8-aes.pem pass=wrong-pass",
			[]string{"the password does not open it"}},
		"PKCS#8, no password": {"key=rsa-pkcs8-aes.pem", []string{"there is no password"}},
		"PKCS#8, outdated encryption": {"key=rsa-pkcs8-outdated.pem pass=changeit",
			[]string{"openssl pkcs8 -topk8 -v2"}},
		"scrypt, a terabyte": {"key=" + at("terabyte.der") + " pass=changeit", []string{"more memory or time", "openssl pkcs8"}},
		"scrypt, for years":  {"key=" + at("parallel.der") + " pass=changeit", []string{"more memory or time"}},
		"PBKDF2, for years":  {"key=" + at("years.der") + " pass=changeit", []string{"more memory or time"}},
		"PKCS#1, wrong password": {"key=rsa-pkcs1-encrypted.pem pass=wrong-pass",
			[]string{"the password does not open it"}},
		"PKCS#1, no password":         {"key=rsa-pkcs1-encrypted.pem", []string{"there is no password"}},
		"two keys in one PEM":         {"key=two-keys.pem", []string{"more than one private key"}},
		"a certificate for a key":     {"key=rsa-cert.pem", []string{"no private key"}},
		"a DER certificate for a key": {"key=rsa-cert.der", []string{"this is no private key"}},
		"a key for a certificate":     {"key=rsa-pkcs8.pem cert=rsa-pkcs8.pem", []string{"no certificate in it"}},
		"another key's certificate": {"key=rsa-pkcs8.pem cert=ec-cert.pem",
			[]string{"no certificate in testdata/ec-cert.pem belongs to the key"}},
		"RSA of 1024 bits":            {"key=rsa-1024.pem", []string{"2048"}},
		"P-384":                       {"key=p384.pem", []string{"only P-256"}},
		"Ed25519":                     {"key=ed25519.pem", []string{"neither RSA nor"}},
		"ES256 with RSA":              {"key=rsa-pkcs8.pem alg=ES256", []string{`"ES256" does not fit`}},
		"RS256 with EC":               {"key=ec-pkcs8.pem alg=RS256", []string{`"RS256" does not fit`}},
		"the algorithm none":          {"key=rsa-pkcs8.pem alg=none", []string{`"none" does not fit`}},
		"x5c without a certificate":   {"key=rsa-pkcs8.pem head=x5c", []string{"x5c", "certificate"}},
		"an unknown header parameter": {"key=rsa-pkcs8.pem head=jku", []string{`"jku"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, err := LoadKey(clientOf(c.src))
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

// derived is an encrypted key (PKCS#8) whose key derivation takes as much as is said.
func derived(t *testing.T, kdf asn1.ObjectIdentifier, cost, blockSize, parallel int64) []byte {
	t.Helper()
	type algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters any
	}
	parameters := []any{[]byte("salt"), cost}
	if blockSize > 0 {
		parameters = append(parameters, blockSize, parallel)
	}
	var scheme struct{ KDF, Cipher algorithm }
	scheme.KDF = algorithm{kdf, parameters}
	scheme.Cipher = algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, make([]byte, 16)}
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{algorithm{oidPBES2, scheme}, make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return der
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
			s := mustLoad(t, clientOf("key="+file)).Status(now)
			if s.State != c.state || *s.DaysLeft != c.days {
				t.Fatalf("%s with %d days, want %s with %d", s.State, *s.DaysLeft, c.state, c.days)
			}
		})
	}
	if s := mustLoad(t, clientOf("key=rsa-pkcs8.pem")).Status(now); s.State != KeyNoCertificate ||
		s.DaysLeft != nil {
		t.Fatalf("without a certificate: %+v", s)
	}
}

// Editors of Windows put a byte order mark before what they save, and end it with a line break.
func TestAPasswordFileMayHaveWhatEditorsAdd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, content := range []string{"changeit", "changeit\n", "changeit\r\n", "\xef\xbb\xbfchangeit\n"} {
		write(t, file, []byte(content))
		if b, err := readPassword("", file); err != nil || string(b) != password {
			t.Errorf("%q read as %q, %v", content, b, err)
		}
	}
	write(t, file, []byte(" blanks are part of it \n\n"))
	if b, _ := readPassword("", file); string(b) != " blanks are part of it \n" {
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
	if !strings.Contains(logged.String(), k.about.Fingerprint) {
		t.Error("the log does not say which key")
	}
}

// selfSigned is a new P-256 key and its certificate as PEM.
func selfSigned(t testing.TB, from, to time.Time) []byte {
	t.Helper()
	certificate, key := testkit.NewCertificate(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }).PEM()
	return append(key, certificate...)
}
func TestAParserThatPanicsIsADamagedFile(t *testing.T) {
	err := guarded(func() error { panic("slice bounds") })
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatal(err)
	}
}
