package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/server"
)

// listeners reads the certificates of the listeners of the configuration.
func listeners(list config.Listeners) ([]server.Listener, error) {
	result := make([]server.Listener, 0, len(list))
	for _, l := range list {
		made := server.Listener{Name: l.Name, Address: l.Address}
		if l.TLS != nil {
			c, err := tlsConfig(*l.TLS)
			if err != nil {
				return nil, fmt.Errorf("preparing TLS of listener %s: %w", l.Name, err)
			}
			made.TLS = c
		}
		result = append(result, made)
	}
	return result, nil
}

func tlsConfig(t config.TLS) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading certFile and keyFile: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	switch t.ClientAuth {
	case config.ClientAuthRequest:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case config.ClientAuthRequire:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if t.ClientCAFile != "" {
		pem, err := os.ReadFile(t.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading clientCaFile: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading clientCaFile %s: no certificate in PEM is in it", t.ClientCAFile)
		}
	}
	return c, nil
}
