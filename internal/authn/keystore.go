package authn

import (
	"bytes"
	"crypto"
	"crypto/sha1" // the format's own; it guards a file that the operator chose
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
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
func parsePKCS12(m *material, content, password []byte, alias, file string) error {
	if content[0] != 0x30 {
		return errors.New("this is neither PKCS#12 nor JKS nor PEM: check that the file was copied as " +
			"binary and is not base64")
	}
	// Indefinite length: the BER that some Java and Windows tools write.
	if len(content) > 1 && content[1] == 0x80 {
		return fmt.Errorf("the file is PKCS#12 in BER and only DER can be read: convert it with\n"+
			"  (umask 077; openssl pkcs12 -in %s -legacy -noenc -out client.pem && openssl pkcs12 -export -in client.pem -out "+
			"client-der.p12; rm client.pem)", file)
	}
	if alias != "" {
		key, certs, names, err := namedPKCS12(content, string(password), alias)
		switch {
		case err != nil && isWrongPassword(err):
			return wrongOrNoPassword(password)
		case err == nil && key != nil:
			m.private, m.certs = key, certs
			return nil
		case err == nil && len(names) > 0:
			return fmt.Errorf("no key has the alias %q: there are %s", alias, strings.Join(names, ", "))
		}
		// Names that cannot be read are no obstacle if there is but one key.
	}
	key, leaf, others, err := pkcs12.DecodeChain(content, string(password))
	switch {
	case err == nil:
		m.private, m.certs = key, append([]*x509.Certificate{leaf}, others...)
		return nil
	case isWrongPassword(err):
		return wrongOrNoPassword(password)
	}
	if _, _, names, named := namedPKCS12(content, string(password), alias); named == nil && len(names) > 1 {
		return fmt.Errorf("there are %d keys in it: set alias to one of %s", len(names), strings.Join(names, ", "))
	}
	return fmt.Errorf("reading PKCS#12: %w: look at it with openssl pkcs12 -info -in %s; it must hold one private key "+
		"and its certificate", err, file)
}

func isWrongPassword(err error) bool {
	return errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption)
}

func wrongOrNoPassword(password []byte) error {
	if len(password) == 0 {
		return errNoPassword
	}
	return errWrongPassword
}

// namedPKCS12 finds the key whose friendly name is alias, and lists the names of
// all keys. It goes by way of ToPEM, the only function of the library that tells
// the names and bears several keys; that what it calls PRIVATE KEY is not PKCS#8,
// for which it is deprecated, does not matter here.
func namedPKCS12(content []byte, password, alias string) (key crypto.PrivateKey, certs []*x509.Certificate,
	names []string, err error) {
	blocks, err := pkcs12.ToPEM(content, password) //nolint:staticcheck // see above
	if err != nil {
		return nil, nil, nil, err
	}
	for _, block := range blocks {
		if block.Type != "PRIVATE KEY" {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				certs = append(certs, c)
			}
			continue
		}
		name := friendlyName(block)
		names = append(names, name)
		if key == nil && strings.EqualFold(name, alias) {
			if key, err = parsePlain(block.Bytes); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	return key, certs, names, nil
}

func friendlyName(block *pem.Block) string {
	if name := block.Headers["friendlyName"]; name != "" {
		return name
	}
	return "(unnamed)"
}

// parseJKS reads the keystore that Java wrote by default before version 9. The key inside may
// have a password of its own; store is nil for a file that is configured as a plain key.
func parseJKS(store *config.Keystore, m *material, content, storePassword []byte) error {
	alias, keyPassword := "", storePassword
	if store != nil {
		alias = store.Alias
	}
	if store != nil && (store.KeyPassword != "" || store.KeyPasswordFile != "") {
		var err error
		if keyPassword, err = readPassword(store.KeyPassword, store.KeyPasswordFile); err != nil {
			return err
		}
	}
	storePassword, keyPassword = singleBytes(storePassword), singleBytes(keyPassword)
	// The library takes lengths from the file on trust, up to 4 GB each, and
	// compares the digest at the end. Ours is compared first.
	if !jksDigestFits(content, storePassword) {
		if len(storePassword) == 0 {
			return errNoPassword
		}
		return errors.New("the password is wrong or the file is damaged, which look alike in a JKS: check " +
			"both with keytool -list")
	}
	ks := keystore.New(keystore.WithOrderedAliases(), keystore.WithCaseExactAliases())
	if err := ks.Load(bytes.NewReader(content), storePassword); err != nil {
		return fmt.Errorf("reading JKS: %w", err)
	}
	aliases := slices.DeleteFunc(ks.Aliases(), func(a string) bool { return !ks.IsPrivateKeyEntry(a) })
	chosen := slices.IndexFunc(aliases, func(a string) bool { return strings.EqualFold(a, alias) })
	switch {
	case len(aliases) == 0:
		return errors.New("there is no private key in it, only trusted certificates: export the keystore " +
			"that the key was made in")
	case alias != "" && chosen < 0:
		return fmt.Errorf("no key has the alias %q: there are %s", alias, strings.Join(aliases, ", "))
	case alias == "" && len(aliases) > 1:
		return fmt.Errorf("there are %d keys in it: set alias to one of %s", len(aliases), strings.Join(aliases, ", "))
	case alias == "":
		chosen = 0
	}
	entry, err := ks.GetPrivateKeyEntry(aliases[chosen], keyPassword)
	if err != nil {
		return fmt.Errorf("opening the key %s: its password differs from the keystore's: configure the key password too",
			aliases[chosen])
	}
	if m.private, err = parsePlain(entry.PrivateKey); err != nil {
		return err
	}
	for _, encoded := range entry.CertificateChain {
		c, err := x509.ParseCertificate(encoded.Content)
		if err != nil {
			return fmt.Errorf("parsing a certificate of %s: %w", aliases[chosen], err)
		}
		m.certs = append(m.certs, c)
	}
	return nil
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
