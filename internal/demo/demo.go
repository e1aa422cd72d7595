// Package demo puts a simulator of all upstreams and the configuration of a gateway
// together, so that everything can be tried on one machine.
//
// It writes a configuration as a user would, as the text of a config.yaml: what is
// tried with it went through the same door as a real one.
package demo

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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

// Config is a configuration whose upstreams are those of a simulator.
func Config(sim *simulator.Simulator, listen, admin string) string {
	return fmt.Sprintf(`environment: custom
server: {listen: %q, drain: {delay: 0s, timeout: 5s}}
admin: {listen: %q}
log: {format: text}
oauth:
  tokenUrl: %s
  clients:
    demo: {clientId: %s, enterprise: %s, keystore: {file: client.p12, password: %s}}
tenancy:
  enterprises:
    - {number: 0206.731.645, name: With a mandate}
    - {number: 0212.148.896, name: With a mandate as well}
    - {number: 0474.028.805, name: Whose mandate has ended}
registry:
  url: %s/messageRegistries
  scopes: [%q]
  allowedHosts: [%q, %q]
  allowHttp: true
  allowPrivateNetworks: true
routes:
  - name: ebox-providers
    kind: ebox
    path: /ebox/providers/{providerId}
    upstream: {registry: true}
    scopes: [%q]
    rules:
      - methods: [POST]
        paths: [/publishMessage, /linkEboxMessage, /searchMessageStatus, /ebox/messages]
        for: own
        scopes: [%q]
      - methods: [POST]
        paths: [/publishMessage, /linkEboxMessage, /searchMessageStatus, /ebox/messages]
        for: another
        scopes: [%q]
      - {methods: [GET], paths: [/ebox], apiVersions: ["2"], scopes: [%q]}
      - {paths: [/ebox/messages/**], apiVersions: ["2"], scopes: [%q]}
      - {paths: [/referenceData/**], apiVersions: ["2"], scopes: [%q]}
  - name: ebox-registry
    kind: registry
    path: /ebox/registry
    upstream: %q
    scopes: [%q]
    enterprise: none
    methods: [GET]
  - {name: ebox-partition, kind: ebox, path: /ebox/partition, upstream: %q, scopes: [%q]}
  - name: ebox-federation
    kind: ebox
    path: /ebox/federation
    upstream: %q
    scopes: [%q]
    rules: [{paths: [/messageProviders/**], scopes: [%q]}]
  - {name: grant-citizen, kind: mandates, path: /grant/citizen, upstream: %q, scopes: [%q]}
`,
		listen, admin, sim.TokenURL(), clientID, Office, password,
		sim.RegistryURL(), simulator.ScopeRegistry, Host(sim.RegistryURL()), Host(sim.ProviderURL("regional")),
		simulator.ScopeDocumentConsumer, simulator.ScopePublicationSender, simulator.ScopeRepresentativePublication,
		simulator.ScopeSummaryOwnEbox,
		simulator.ScopeMessagesFull, simulator.ScopeReferenceData,
		sim.RegistryURL(), simulator.ScopeRegistry, sim.PartitionURL(), simulator.ScopeDocumentConsumer,
		sim.FederationURL(), simulator.ScopePreference, simulator.ScopeRegistry, sim.GrantURL(),
		simulator.ScopeCitizenMandates)
}

// Host is host:port of a URL.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Host
}
