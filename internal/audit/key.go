package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// spki is a public key in DER.
func spki(public ed25519.PublicKey) []byte {
	der, _ := x509.MarshalPKIXPublicKey(public) // which fails for no key of this type
	return der
}

// Fingerprint is the SHA-256 of a public key (SPKI), in hexadecimal.
func Fingerprint(public ed25519.PublicKey) string {
	return fmt.Sprintf("%x", sha256.Sum256(spki(public)))
}

// PublicPEM is a public key as a file has it.
func PublicPEM(public ed25519.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(public)})
}

// LoadKey reads a private key of Ed25519: PKCS#8 in PEM, as "openssl genpkey
// -algorithm ed25519" writes it.
func LoadKey(file string) (ed25519.PrivateKey, error) {
	return loadPEM[ed25519.PrivateKey](file, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
}

// LoadPublicKeys reads public keys of Ed25519, each of a file in PEM.
func LoadPublicKeys(files ...string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, file := range files {
		key, err := loadPEM[ed25519.PublicKey](file, "PUBLIC KEY", x509.ParsePKIXPublicKey)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func loadPEM[K any](file, kind string, parse func(der []byte) (any, error)) (key K, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return key, fmt.Errorf("reading a key of the evidence: %w", err)
	}
	if block, _ := pem.Decode(content); block != nil && block.Type == kind {
		parsed, _ := parse(block.Bytes) // nil is no key
		if key, ok := parsed.(K); ok {
			return key, nil
		}
	}
	return key, fmt.Errorf("reading the key of the evidence %s: an unencrypted Ed25519 key in PEM, a %s, is expected, "+
		"as \"openssl genpkey -algorithm ed25519\" makes it", file, kind)
}

// keyName is the file of a key that the log made for itself.
const keyName = "signing.key"

// keyOf gives the key of a log: that of a file, or one of the directory's own, made
// at the first start.
func keyOf(dir, file string) (ed25519.PrivateKey, error) {
	if file != "" {
		return LoadKey(file)
	}
	file = filepath.Join(dir, keyName)
	key, err := LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("generating a signing key: %w", err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key) // which fails for no key of this type
	return key, writeOnce(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// publish writes a public key beside the chain, where its verifier looks first.
func publish(public ed25519.PublicKey, dir string) error {
	err := writeOnce(filepath.Join(dir, publicPrefix+Fingerprint(public)[:16]+".pem"), PublicPEM(public))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeOnce writes a new file and has it on disk.
func writeOnce(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	return nil
}

// publicKeys are those that lie beside a chain.
func publicKeys(dir string) ([]ed25519.PublicKey, error) {
	names, err := filepath.Glob(filepath.Join(dir, publicPrefix+"*.pem"))
	if err != nil {
		return nil, err
	}
	return LoadPublicKeys(names...)
}
