// Package demo puts a simulator of all upstreams and the configuration of a gateway
// together, so that everything can be tried on one machine.
//
// It writes a configuration as a user would, as the text of a config.yaml: what is
// tried with it went through the same door as a real one.
package demo

import (
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/simulator"
)

const (
	clientID = "demo-office"
	password = "demo"
	// Office is the enterprise that runs the gateway.
	Office enterprise.Number = 406798006
)

// NewClient makes the key that the office would have got from its certificate
// authority, as a PKCS#12 file in dir.
func NewClient(dir string) (simulator.Client, error) {
	identity, err := simulator.SelfSigned("Demo office", time.Now())
	if err != nil {
		return simulator.Client{}, err
	}
	p12, err := identity.PKCS12(password)
	if err != nil {
		return simulator.Client{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "client.p12"), p12, 0o600); err != nil {
		return simulator.Client{}, fmt.Errorf("writing the client's key store: %w", err)
	}
	return simulator.Client{ID: clientID, Certificate: identity.Certificate, Enterprise: Office}, nil
}

// Start starts a simulator on free ports that knows one client, whose key store is in dir.
func Start(dir string) (*simulator.Simulator, error) {
	client, err := NewClient(dir)
	if err != nil {
		return nil, err
	}
	return simulator.Start(simulator.Options{ListenRegional: "127.0.0.1:0", Clients: []simulator.Client{client}})
}

//go:embed config.yaml
var configuration string

// Config is a configuration whose upstreams are those of a simulator.
func Config(sim *simulator.Simulator, listen, admin string) string {
	return strings.NewReplacer(
		"<listen>", listen, "<admin>", admin, "<token>", sim.TokenURL(),
		"<registry>", sim.RegistryURL(), "<host>", Host(sim.RegistryURL()), "<regional>", Host(sim.ProviderURL("regional")),
		"<partition>", sim.PartitionURL(), "<federation>", sim.FederationURL(), "<grant>", sim.GrantURL(),
	).Replace(configuration)
}

// Host is host:port of a URL.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Host
}
