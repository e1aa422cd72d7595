package listen

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
)

// LoadTLS makes the TLS configuration of a listener from its files. The sum is that of all
// that it was made of: one that is the same has the same files.
func LoadTLS(t config.TLS) (made *tls.Config, sum [sha256.Size]byte, err error) {
	chain, err := files.Text(t.CertFile, files.Most)
	if err != nil {
		return nil, sum, fmt.Errorf("reading certFile: %w", err)
	}
	key, err := files.Text(t.KeyFile, files.Most)
	if err != nil {
		return nil, sum, fmt.Errorf("reading keyFile: %w", err)
	}
	var authorities []byte
	if t.ClientCAFile != "" {
		if authorities, err = files.Text(t.ClientCAFile, files.Most); err != nil {
			return nil, sum, fmt.Errorf("reading clientCaFile: %w", err)
		}
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(t.ClientAuth), chain, key, authorities} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	sum = [sha256.Size]byte(h.Sum(nil))
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, sum, fmt.Errorf("reading certFile %s and keyFile %s: %w", t.CertFile, t.KeyFile, err)
	}
	made = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	switch t.ClientAuth {
	case config.ClientAuthRequest:
		made.ClientAuth = tls.VerifyClientCertIfGiven
	case config.ClientAuthRequire:
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if authorities != nil {
		made.ClientCAs = x509.NewCertPool()
		if err := files.Authorities(made.ClientCAs, authorities); err != nil {
			return nil, sum, fmt.Errorf("reading clientCaFile %s: %w", t.ClientCAFile, err)
		}
	}
	return made, sum, nil
}
