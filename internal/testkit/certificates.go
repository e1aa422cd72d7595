// Package testkit makes what the tests of several packages need.
package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a certificate and its key, on P-256.
type Certificate struct {
	*x509.Certificate
	Key *ecdsa.PrivateKey
}

// NewCertificate makes a certificate that signs itself and may sign others: for
// localhost and 127.0.0.1, from an hour ago for an hour to come. change, unless nil, alters
// that before it is signed.
func NewCertificate(t testing.TB, change func(*x509.Certificate)) *Certificate {
	t.Helper()
	return issue(t, nil, change)
}

// Issue makes a certificate that c signs. See NewCertificate.
func (c *Certificate) Issue(t testing.TB, change func(*x509.Certificate)) *Certificate {
	t.Helper()
	return issue(t, c, change)
}

func issue(t testing.TB, by *Certificate, change func(*x509.Certificate)) *Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "made in a test"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:     by == nil, BasicConstraintsValid: by == nil,
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	Must(t, err)
	made, err := x509.ParseCertificate(der)
	Must(t, err)
	return &Certificate{made, key}
}

// TLS gives the certificate to a server.
func (c *Certificate) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: c.Key}
}

// Pool trusts the certificate.
func (c *Certificate) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Certificate)
	return p
}

// PEM gives the certificate and its key, in PKCS#8.
func (c *Certificate) PEM() (certificate, key []byte) {
	der, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil { // not of a key that this package made
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Files writes the certificate and its key into a directory.
func (c *Certificate) Files(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	certificate, key := c.PEM()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	Write(t, certFile, certificate)
	Write(t, keyFile, key)
	return certFile, keyFile
}
