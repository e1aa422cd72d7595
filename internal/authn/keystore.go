package authn

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha1" // the format's own; it guards a file that the operator chose
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"golang.org/x/text/encoding/charmap"
	"software.sslmate.com/src/go-pkcs12"

	"ebox-gateway/internal/config"
)

// The first four bytes of Java's own keystores. PKCS#12 begins with an ASN.1
// SEQUENCE, 0x30.
var (
	jksMagic   = []byte{0xfe, 0xed, 0xfe, 0xed}
	jceksMagic = []byte{0xce, 0xce, 0xce, 0xce}
)

// parsePKCS12 reads a PKCS#12 file (RFC 7292) in DER, with the encryptions of
// today and the RC2 and 3DES of former days.
func parsePKCS12(content, password []byte, alias, file string) (crypto.PrivateKey, []*x509.Certificate, error) {
	if content[0] != 0x30 {
		return nil, nil, errors.New("this is neither PKCS#12 nor JKS nor PEM: check that the file was copied as " +
			"binary and is not base64")
	}
	// Indefinite length: the BER that some Java and Windows tools write.
	if len(content) > 1 && content[1] == 0x80 {
		return nil, nil, fmt.Errorf("the file is PKCS#12 in BER and only DER can be read: convert it with\n"+
			"  (umask 077; openssl pkcs12 -in %s -legacy -noenc -out client.pem && openssl pkcs12 -export -in client.pem -out "+
			"client-der.p12; rm client.pem)", file)
	}
	key, leaf, others, err := pkcs12.DecodeChain(content, string(password))
	switch {
	case isWrongPassword(err) && len(password) == 0:
		return nil, nil, errNoPassword
	case isWrongPassword(err):
		return nil, nil, errWrongPassword
	}
	named, certs, names := namedPKCS12(content, string(password), alias)
	switch {
	case named != nil:
		return named, certs, nil
	case alias != "" && len(names) > 0:
		return nil, nil, fmt.Errorf("no key has the alias %q: there are %s", alias, strings.Join(names, ", "))
	case err == nil: // names that cannot be read are no obstacle if there is but one key
		return key, append([]*x509.Certificate{leaf}, others...), nil
	case len(names) > 1:
		return nil, nil, fmt.Errorf("there are %d keys in it: set alias to one of %s", len(names), strings.Join(names, ", "))
	}
	return nil, nil, fmt.Errorf("reading PKCS#12: %w: look at it with openssl pkcs12 -info -in %s; it must hold one "+
		"private key and its certificate", err, file)
}

func isWrongPassword(err error) bool {
	return errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption)
}

// namedPKCS12 finds the key whose friendly name is alias, and lists the names of all keys; none if
// they cannot be read. It goes by way of ToPEM, the only function of the library that tells
// the names and bears several keys; that what it calls PRIVATE KEY is not PKCS#8,
// for which it is deprecated, does not matter here.
func namedPKCS12(content []byte, password, alias string) (key crypto.PrivateKey, certs []*x509.Certificate,
	names []string) {
	blocks, _ := pkcs12.ToPEM(content, password) //nolint:staticcheck // see above
	for _, block := range blocks {
		if block.Type != "PRIVATE KEY" {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				certs = append(certs, c)
			}
			continue
		}
		name := cmp.Or(block.Headers["friendlyName"], "(unnamed)")
		names = append(names, name)
		if key == nil && strings.EqualFold(name, alias) {
			key, _ = parsePlain(block.Bytes)
		}
	}
	return key, certs, names
}

// parseJKS reads the keystore that Java wrote by default before version 9. The key inside may
// have a password of its own; store is nil for a file that is configured as a plain key.
func parseJKS(store *config.Keystore, content, storePassword []byte) (crypto.PrivateKey, []*x509.Certificate, error) {
	alias, keyPassword := "", storePassword
	if store != nil {
		alias = store.Alias
	}
	if store != nil && (store.KeyPassword != "" || store.KeyPasswordFile != "") {
		var err error
		if keyPassword, err = readPassword(store.KeyPassword, store.KeyPasswordFile); err != nil {
			return nil, nil, err
		}
	}
	storePassword, keyPassword = singleBytes(storePassword), singleBytes(keyPassword)
	// The library takes lengths from the file on trust, up to 4 GB each, and
	// compares the digest at the end. Ours is compared first.
	switch {
	case jksDigestFits(content, storePassword):
	case len(storePassword) == 0:
		return nil, nil, errNoPassword
	default:
		return nil, nil, errors.New("the password is wrong or the file is damaged, which look alike in a JKS: check " +
			"both with keytool -list")
	}
	ks := keystore.New(keystore.WithOrderedAliases(), keystore.WithCaseExactAliases())
	if err := ks.Load(bytes.NewReader(content), storePassword); err != nil {
		return nil, nil, fmt.Errorf("reading JKS: %w", err)
	}
	aliases := slices.DeleteFunc(ks.Aliases(), func(a string) bool { return !ks.IsPrivateKeyEntry(a) })
	chosen := 0
	if alias != "" {
		chosen = slices.IndexFunc(aliases, func(a string) bool { return strings.EqualFold(a, alias) })
	}
	switch {
	case len(aliases) == 0:
		return nil, nil, errors.New("there is no private key in it, only trusted certificates: export the keystore " +
			"that the key was made in")
	case chosen < 0:
		return nil, nil, fmt.Errorf("no key has the alias %q: there are %s", alias, strings.Join(aliases, ", "))
	case alias == "" && len(aliases) > 1:
		return nil, nil, fmt.Errorf("there are %d keys in it: set alias to one of %s", len(aliases),
			strings.Join(aliases, ", "))
	}
	entry, err := ks.GetPrivateKeyEntry(aliases[chosen], keyPassword)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the key %s: its password differs from the keystore's: configure the key "+
			"password too", aliases[chosen])
	}
	var certs []*x509.Certificate
	for _, encoded := range entry.CertificateChain {
		c, err := x509.ParseCertificate(encoded.Content)
		if err != nil {
			return nil, nil, fmt.Errorf("parsing a certificate of %s: %w", aliases[chosen], err)
		}
		certs = append(certs, c)
	}
	key, err := parsePlain(entry.PrivateKey)
	return key, certs, err
}

// jksDigestFits compares the SHA-1 at the end of a JKS: over the password in
// UTF-16, a constant, and the content.
func jksDigestFits(content, password []byte) bool {
	end := len(content) - sha1.Size
	if end < 0 {
		return false
	}
	h := sha1.New()
	for _, b := range password {
		h.Write([]byte{0, b})
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(content[:end])
	return subtle.ConstantTimeCompare(h.Sum(nil), content[end:]) == 1
}

// singleBytes turns a password in UTF-8 into one byte per character, if all its
// characters are in Latin-1: the library makes UTF-16 of each byte, so that é
// would otherwise become two characters.
func singleBytes(password []byte) []byte {
	latin, err := charmap.ISO8859_1.NewEncoder().Bytes(password)
	if err != nil || !utf8.Valid(password) {
		return password
	}
	return latin
}
