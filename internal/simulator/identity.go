package simulator

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// Identity is a key with its certificate, as an office gets it from its
// certificate authority.
type Identity struct {
	Key         *rsa.PrivateKey
	Certificate *x509.Certificate
}

// SelfSigned makes an RSA key of 2048 bits and a certificate for it that is valid
// from an hour before now until a year after. name is the subject's common name.
func SelfSigned(name string, now time.Time) (*Identity, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", name, err)
	}
	template := &x509.Certificate{ // its number is drawn
		Subject:   pkix.Name{CommonName: name, Country: []string{"BE"}},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.AddDate(1, 0, 0),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate of %s: %w", name, err)
	}
	return &Identity{Key: key, Certificate: cert}, nil
}

// PKCS12 gives the key and the certificate as a PKCS#12 file under a password.
func (i *Identity) PKCS12(password string) ([]byte, error) {
	data, err := pkcs12.Modern.Encode(i.Key, i.Certificate, nil, password)
	if err != nil {
		return nil, fmt.Errorf("writing the PKCS#12 file: %w", err)
	}
	return data, nil
}
