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
	var texts [3][]byte
	for i, from := range [3][2]string{{"certFile", t.CertFile}, {"keyFile", t.KeyFile}, {"clientCaFile", t.ClientCAFile}} {
		if from[1] == "" {
			continue
		}
		if texts[i], err = files.Text(from[1], files.Most); err != nil {
			return nil, sum, fmt.Errorf("reading %s: %w", from[0], err)
		}
	}
	chain, key, authorities := texts[0], texts[1], texts[2]
	sum = sha256.Sum256(fmt.Appendf(nil, "%s %q", t.ClientAuth, texts))
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
