package files

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

var beginCertificate = []byte("-----BEGIN CERTIFICATE-----")

// Authorities adds the certificates of a PEM bundle to pool and returns how many there
// were. Text around them is allowed, as bundles have it. A bundle with a certificate
// that cannot be read is an error: x509.CertPool skips those, and the connections that
// need the authority then fail one day, for no reason that anybody sees.
func Authorities(pool *x509.CertPool, bundle []byte) (int, error) {
	var found []*x509.Certificate
	begun := bytes.Count(bundle, beginCertificate)
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return 0, fmt.Errorf("certificate %d of %d: %w", len(found)+1, begun, err)
		}
		found = append(found, certificate)
	}
	switch {
	case len(found) == 0 && begun == 0:
		return 0, errors.New("it holds no PEM certificate; write the authority's certificate there, from -----BEGIN CERTIFICATE----- on")
	case len(found) < begun:
		return 0, fmt.Errorf("of %d certificates that begin, %d can be read: copy the file again, or take out what is broken", begun, len(found))
	}
	for _, certificate := range found {
		pool.AddCert(certificate)
	}
	return len(found), nil
}
