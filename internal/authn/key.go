package authn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"ebox-gateway/internal/config"
)

// minRSABits is the least that RFC 7518, section 3.3, allows.
const minRSABits = 2048

// Key is a private key that was checked and is ready to sign, with what its
// certificate says of it. However it is printed, no part of the key shows.
type Key struct {
	private crypto.Signer
	method  jwt.SigningMethod
	chain   []*x509.Certificate // leaf first; none without a certificate
	header  map[string]any      // header parameters besides alg
	// about is what does not change of its status.
	about KeyStatus
}

// newKey checks a private key of a client, with certificates in any order, of a file.
func newKey(c config.Client, private crypto.PrivateKey, certs []*x509.Certificate, certFile string) (*Key, error) {
	k := new(Key)
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if bits := private.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("the RSA key has %d bits and %d are the least: make a new key and register its certificate "+
				"in Chaman", bits, minRSABits)
		}
		k.private = private
		switch c.Algorithm {
		case "", config.RS256:
			k.method = jwt.SigningMethodRS256
		case config.PS256:
			k.method = jwt.SigningMethodPS256
		}
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return nil, fmt.Errorf("the key is on curve %s: only P-256 can sign %s", private.Curve.Params().Name, config.ES256)
		}
		k.private = private
		if c.Algorithm == "" || c.Algorithm == config.ES256 {
			k.method = jwt.SigningMethodES256
		}
	default:
		return nil, errors.New("the key is neither RSA nor on an elliptic curve for signatures: use an RSA key of 2048 " +
			"bits or more, or one on P-256")
	}
	if k.method == nil {
		return nil, fmt.Errorf("the algorithm %q does not fit the key: RSA keys sign %s or %s, keys on P-256 sign %s",
			c.Algorithm, config.RS256, config.PS256, config.ES256)
	}

	spki, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(spki)
	k.about = KeyStatus{Fingerprint: hex.EncodeToString(sum[:]), Algorithm: k.method.Alg(), State: KeyNoCertificate}

	if len(certs) > 0 {
		if k.chain = chainFor(k.private.Public(), certs); k.chain == nil {
			return nil, fmt.Errorf("no certificate in %s belongs to the key: its public key is another one; put the "+
				"certificate there that was made for this key", certFile)
		}
		leaf := k.chain[0]
		sum = sha256.Sum256(leaf.Raw)
		k.about.Subject, k.about.NotBefore, k.about.NotAfter = leaf.Subject.String(), leaf.NotBefore, leaf.NotAfter
		k.about.State = KeyUsable
	}
	// Header parameters are derived from the certificate, never from a setting, so that they change
	// with it. kid is the base64url SHA-256 of the certificate, the same text as x5t#S256; without a
	// certificate, of the public key (SPKI).
	k.header = make(map[string]any, len(c.Headers))
	for _, name := range c.Headers {
		if len(certs) == 0 && name != config.HeaderKeyID {
			return nil, fmt.Errorf("the header %s is derived from a certificate and there is none: add the certificate file, "+
				"or leave the header out", name)
		}
		k.header[string(name)] = base64.RawURLEncoding.EncodeToString(sum[:])
		if name == config.HeaderChain {
			encoded := make([]string, len(k.chain))
			for i, c := range k.chain {
				encoded[i] = base64.StdEncoding.EncodeToString(c.Raw)
			}
			k.header[string(name)] = encoded
		}
	}
	return k, nil
}

// chainFor finds the certificate of the key and orders those that issued it
// behind it. What does not belong to that chain is left out.
func chainFor(public crypto.PublicKey, certs []*x509.Certificate) []*x509.Certificate {
	own := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
		p, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		return ok && p.Equal(public)
	})
	if own < 0 {
		return nil
	}
	chain := []*x509.Certificate{certs[own]}
	for last := certs[own]; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		next := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.Contains(chain, c)
		})
		if next < 0 {
			break
		}
		last = certs[next]
		chain = append(chain, last)
	}
	return chain
}

// same reports whether the other key would sign the same assertions.
func (k *Key) same(other *Key) bool {
	if k == nil || other == nil {
		return k == other
	}
	return k.about.Fingerprint == other.about.Fingerprint && k.method == other.method &&
		slices.EqualFunc(k.chain, other.chain, (*x509.Certificate).Equal)
}

// Format is fmt.Formatter's: every verb prints the algorithm and the fingerprint.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.LogValue().String()) }

// LogValue is what every verb prints.
func (k Key) LogValue() slog.Value {
	return slog.StringValue(k.about.Algorithm + " key " + k.about.Fingerprint)
}
