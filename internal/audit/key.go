package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Key signs the chain.
type Key struct {
	private ed25519.PrivateKey
}

// Public is the key that verifies.
func (k *Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// Fingerprint is the SHA-256 of a public key (SPKI), in hexadecimal.
func Fingerprint(public ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil { // not for a key of this type
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// GenerateKey makes a key.
func GenerateKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a signing key: %w", err)
	}
	return &Key{private}, nil
}

// LoadKey reads a private key of Ed25519: PKCS#8 in PEM, as "openssl genpkey
// -algorithm ed25519" writes it.
func LoadKey(file string) (*Key, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key of the evidence: %w", err)
	}
	if block, _ := pem.Decode(content); block != nil && block.Type == "PRIVATE KEY" {
		parsed, _ := x509.ParsePKCS8PrivateKey(block.Bytes) // nil is no key
		if private, ok := parsed.(ed25519.PrivateKey); ok {
			return &Key{private}, nil
		}
	}
	return nil, fmt.Errorf("reading the signing key of the evidence %s: an unencrypted Ed25519 key in PEM is expected, as "+
		"\"openssl genpkey -algorithm ed25519\" makes it", file)
}

// LoadPublicKey reads a public key of Ed25519 in PEM.
func LoadPublicKey(file string) (ed25519.PublicKey, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a public key of the evidence: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("reading the public key %s: a PUBLIC KEY block in PEM is expected", file)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading the public key %s: it is no Ed25519 key", file)
	}
	return public, nil
}

// keyName is the file of a key that the log made for itself.
const keyName = "signing.key"

// keyOf gives the key of a log: that of a file, or one of the directory's own, made
// at the first start.
func keyOf(dir, file string) (*Key, error) {
	if file != "" {
		return LoadKey(file)
	}
	file = filepath.Join(dir, keyName)
	key, err := LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = GenerateKey(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.private)
	if err != nil {
		return nil, fmt.Errorf("writing the signing key of the evidence: %w", err)
	}
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

// PublicPEM is a public key as a file has it.
func PublicPEM(public ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil { // not for a key of this type
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
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
	var keys []ed25519.PublicKey
	for _, name := range names {
		key, err := LoadPublicKey(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
