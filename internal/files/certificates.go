package files

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

var beginCertificate = []byte("-----BEGIN CERTIFICATE-----")

// Certificates reads a PEM bundle, in which there may be other text. A bundle with a
// certificate that cannot be read is an error: x509.CertPool skips those, and the
// connections that need the authority then fail one day, for no reason that anybody sees.
func Certificates(bundle []byte) (list []*x509.Certificate, err error) {
	begun := bytes.Count(bundle, beginCertificate)
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", len(list)+1, begun, err)
		}
		list = append(list, certificate)
	}
	switch {
	case len(list) == 0 && begun == 0:
		return nil, errors.New("it holds no PEM certificate; write the authority's certificate there, from " +
			"-----BEGIN CERTIFICATE----- on")
	case len(list) < begun:
		return nil, fmt.Errorf("of %d certificates that begin, %d can be read: copy the file again, or take out what "+
			"is broken", begun, len(list))
	}
	return list, nil
}

// Trusted are the system's authorities and those of a PEM bundle.
func Trusted(bundle []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificate authorities: %w", err)
	}
	return pool, Authorities(pool, bundle)
}

// Authorities adds the certificates of a PEM bundle to pool.
func Authorities(pool *x509.CertPool, bundle []byte) error {
	list, err := Certificates(bundle)
	for _, certificate := range list {
		pool.AddCert(certificate)
	}
	return err
}

// CertificatesIn reads the certificates of a PEM file, one at least.
func CertificatesIn(file string) ([]*x509.Certificate, error) {
	text, err := Text(file, Most)
	if err != nil {
		return nil, err
	}
	list, err := Certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}
