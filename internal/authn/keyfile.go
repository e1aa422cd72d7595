package authn

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/youmark/pkcs8"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
)

// maxKeyFile bounds what is read of a key, certificate or password file. A key
// with a long chain has a few dozen kilobytes.
const maxKeyFile = 1 << 20

// LoadKey reads the key of a client. Errors name the file and what to do about it,
// and never hold key material or a password. A certificate that has expired or is
// not yet valid is no error: only the Authorization Server decides what it
// accepts, and a clock may be wrong.
func LoadKey(c config.Client) (key *Key, err error) {
	if err := guarded(func() (err error) { key, err = readKey(c); return err }); err != nil {
		return nil, fmt.Errorf("loading key: %w", err)
	}
	return key, nil
}

// guarded keeps a parser that panics on a damaged file from ending the gateway:
// the decryption of some formats takes lengths from the file on trust.
func guarded(parse func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the content of the files is damaged: copy them again")
		}
	}()
	return parse()
}

// readKey is LoadKey, but for what a damaged file may do.
func readKey(c config.Client) (*Key, error) {
	var text config.Secret
	var passwordFile string
	switch {
	case c.Keystore != nil:
		text, passwordFile = c.Keystore.Password, c.Keystore.PasswordFile
	case c.Key != nil:
		text, passwordFile = c.Key.Password, c.Key.PasswordFile
	default:
		return nil, errors.New("neither a keystore nor a key file is configured")
	}
	file := c.KeyFile()
	content, err := files.Text(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	password, err := readPassword(text, passwordFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	private, certs, err := parseKey(c, content, password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	certFile := file
	if c.Certificate != nil {
		certFile = c.Certificate.File
		if content, err = files.Text(certFile, maxKeyFile); err != nil {
			return nil, fmt.Errorf("its certificate: %w", err)
		}
		if certs, err = parseCertificates(content); err != nil {
			return nil, fmt.Errorf("its certificate: %s: %w", certFile, err)
		}
	}
	key, err := newKey(c, private, certs, certFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// keyFiles are the files that a client's key is made of.
func keyFiles(c config.Client) (list []string) {
	if k := c.Keystore; k != nil {
		list = append(list, k.File, k.PasswordFile, k.KeyPasswordFile)
	}
	if k := c.Key; k != nil {
		list = append(list, k.File, k.PasswordFile)
	}
	if c.Certificate != nil {
		list = append(list, c.Certificate.File)
	}
	return list
}

// readPassword gives a password, of a file if one is named, which is read anew each time since
// it may change with the key. A line break at its end, which editors add, is no part of it.
func readPassword(text config.Secret, file string) ([]byte, error) {
	if file == "" {
		return []byte(text.Reveal()), nil
	}
	b, err := files.Text(file, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading password: %w", err)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r")), nil
}

// parseKey recognises the format by the content. What the settings call the file
// matters little: many a .jks is PKCS#12, and many a keystore is PEM. Certificates may come in any order.
func parseKey(c config.Client, content, password []byte) (crypto.PrivateKey, []*x509.Certificate, error) {
	switch {
	case len(content) == 0:
		return nil, nil, errors.New("the file is empty")
	case isPEM(content):
		return parsePEM(content, password)
	case bytes.HasPrefix(content, jceksMagic):
		return nil, nil, fmt.Errorf("a JCEKS keystore cannot be read: convert it with keytool -importkeystore -srckeystore "+
			"%s -srcstoretype JCEKS -destkeystore client.p12 -deststoretype PKCS12", c.KeyFile())
	case bytes.HasPrefix(content, jksMagic):
		return parseJKS(c.Keystore, content, password)
	case c.Keystore != nil:
		return parsePKCS12(content, password, c.Keystore.Alias, c.Keystore.File)
	}
	key, err := parseDER(content, password)
	return key, nil, err
}

func isPEM(content []byte) bool { return bytes.Contains(content, []byte("-----BEGIN ")) }

// parsePEM reads the private key and the certificates of a PEM file.
func parsePEM(content, password []byte) (crypto.PrivateKey, []*x509.Certificate, error) {
	keys, certs, err := pemBlocks(content)
	switch {
	case err != nil:
		return nil, nil, err
	case len(keys) > 1:
		return nil, nil, errors.New("there is more than one private key: leave the one that is registered in Chaman")
	case len(keys) == 0:
		return nil, nil, errors.New("there is no private key in it: a block BEGIN PRIVATE KEY, BEGIN ENCRYPTED PRIVATE " +
			"KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY is expected")
	}
	key, err := parsePEMKey(keys[0], password)
	return key, certs, err
}

// pemBlocks gives the private keys and the certificates of a PEM file, which may stand in any
// order and with any text between them.
func pemBlocks(content []byte) (keys []*pem.Block, certs []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return keys, certs, nil
		}
		switch {
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			keys = append(keys, block)
		case strings.HasSuffix(block.Type, "CERTIFICATE"):
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("parsing a certificate: %w", err)
			}
			certs = append(certs, c)
		}
	}
}

func parsePEMKey(block *pem.Block, password []byte) (crypto.PrivateKey, error) {
	switch {
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("a key in OpenSSH's own format cannot be read: convert a copy with " +
			"ssh-keygen -p -m PKCS8 -f COPY")
	// The encryption of RFC 1421 has no integrity and weak key derivation, which
	// is why the standard library deprecates it; existing files still have it.
	case !x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // see above
		return parseDER(block.Bytes, password)
	case len(password) == 0:
		return nil, errNoPassword
	}
	der, err := x509.DecryptPEMBlock(block, password) //nolint:staticcheck // see above
	if err != nil {
		return nil, errWrongPassword
	}
	key, err := parsePlain(der)
	if err != nil {
		return nil, errWrongPassword // one time in 256 the padding fits by chance
	}
	return key, nil
}

var (
	errNoPassword = errors.New("the key is encrypted and there is no password: configure the " +
		"password or the password file")
	errWrongPassword = errors.New("the password does not open it: check the password file")
)

// encryptedPKCS8 is the beginning of EncryptedPrivateKeyInfo (RFC 5958).
type encryptedPKCS8 struct {
	Algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	Data []byte
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
)

// tooDear reports whether the key derivation takes more than 128 MiB or ten million rounds of
// hashing, some seconds, by the parameters of PBKDF2 (RFC 8018) or scrypt (RFC 7914, section 7).
// A file of a hundred bytes can ask for terabytes, and for years.
func (k *encryptedPKCS8) tooDear() bool {
	var p struct {
		KDF struct {
			ID         asn1.ObjectIdentifier
			Parameters struct {
				Salt                asn1.RawValue
				Cost                int64
				BlockSize, Parallel int64 `asn1:"optional"` // scrypt's; of PBKDF2, the first is a length
			}
		}
	}
	if _, err := asn1.Unmarshal(k.Algorithm.Parameters.FullBytes, &p); err != nil {
		return false // the library says what is wrong
	}
	const memory, rounds = 128 << 20, 10_000_000
	of := p.KDF.Parameters
	if p.KDF.ID.Equal(oidScrypt) {
		blocks := float64(of.Cost) * float64(of.BlockSize)
		return blocks*128 > memory || blocks*float64(of.Parallel) > rounds
	}
	return of.Cost > rounds
}

// parseDER reads a key as PKCS#8, encrypted PKCS#8, PKCS#1 or SEC 1.
func parseDER(der, password []byte) (crypto.PrivateKey, error) {
	var sealed encryptedPKCS8
	if rest, err := asn1.Unmarshal(der, &sealed); err != nil || len(rest) > 0 {
		return parsePlain(der)
	}
	if len(password) == 0 {
		return nil, errNoPassword
	}
	if !sealed.Algorithm.ID.Equal(oidPBES2) {
		return nil, errors.New("the key is encrypted in an outdated way: encrypt it anew with openssl pkcs8 -in OLD | " +
			"openssl pkcs8 -topk8 -v2 aes-256-cbc -out NEW")
	}
	if sealed.tooDear() {
		return nil, errors.New("opening the key takes more memory or time than the gateway spends on it: encrypt it anew " +
			"with openssl pkcs8 -in OLD | openssl pkcs8 -topk8 -v2 aes-256-cbc -out NEW")
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(der, password)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errWrongPassword, err)
	}
	return key, nil
}

// parsePlain ignores a password that is not needed: a file that was decrypted by
// hand is still the configured file.
func parsePlain(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("this is no private key: PKCS#8, encrypted PKCS#8, PKCS#1 or SEC 1 is expected, as PEM or " +
		"DER; a PKCS#12 or JKS file is configured as keystore")
}

// parseCertificates reads certificates as PEM, in any order, or as DER.
func parseCertificates(content []byte) ([]*x509.Certificate, error) {
	if !isPEM(content) {
		certs, err := x509.ParseCertificates(content)
		if err != nil || len(certs) == 0 {
			return nil, errors.New("this is no certificate: PEM (BEGIN CERTIFICATE) or DER is expected; of a .p7b file, make " +
				"PEM with openssl pkcs7 -print_certs")
		}
		return certs, nil
	}
	_, certs, err := pemBlocks(content)
	if err == nil && len(certs) == 0 {
		err = errors.New("there is no certificate in it: a block BEGIN CERTIFICATE is expected")
	}
	return certs, err
}
