package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/server"
)

// certificates remembers the TLS configurations made so far by what they were made
// of, so that a listener whose files did not change is left alone by a reload.
type certificates map[[sha256.Size]byte]*tls.Config

// listeners makes the listeners of a configuration.
func (c certificates) listeners(list config.Listeners) ([]server.Listener, error) {
	result := make([]server.Listener, 0, len(list))
	for _, l := range list {
		made := server.Listener{Name: l.Name, Address: l.Address}
		if l.TLS != nil {
			t, err := c.config(*l.TLS)
			if err != nil {
				return nil, fmt.Errorf("preparing TLS of listener %s: %w", l.Name, err)
			}
			made.TLS = t
		}
		result = append(result, made)
	}
	return result, nil
}

// listenerExpiry is when the certificates of listeners expire, by the listener's name.
func listenerExpiry(lists ...[]server.Listener) *map[string]time.Time {
	all := make(map[string]time.Time)
	for _, list := range lists {
		for _, l := range list {
			if l.TLS != nil && l.TLS.Certificates[0].Leaf != nil {
				all[l.Name] = l.TLS.Certificates[0].Leaf.NotAfter
			}
		}
	}
	return &all
}

func (c certificates) config(t config.TLS) (*tls.Config, error) {
	chain, err := os.ReadFile(t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("reading certFile: %w", err)
	}
	key, err := os.ReadFile(t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading keyFile: %w", err)
	}
	var authorities []byte
	if t.ClientCAFile != "" {
		if authorities, err = os.ReadFile(t.ClientCAFile); err != nil {
			return nil, fmt.Errorf("reading clientCaFile: %w", err)
		}
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(t.ClientAuth), chain, key, authorities} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	if made, ok := c[sum]; ok {
		return made, nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("reading certFile %s and keyFile %s: %w", t.CertFile, t.KeyFile, err)
	}
	made := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	switch t.ClientAuth {
	case config.ClientAuthRequest:
		made.ClientAuth = tls.VerifyClientCertIfGiven
	case config.ClientAuthRequire:
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if authorities != nil {
		made.ClientCAs = x509.NewCertPool()
		if !made.ClientCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("reading clientCaFile %s: no certificate in PEM is in it", t.ClientCAFile)
		}
	}
	c[sum] = made
	return made, nil
}
