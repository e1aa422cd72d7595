// Package simulator is the other side of the gateway: an Authorization Server
// (RFC 6749 §4.4, RFC 7523), the Provider Registry in both of its shapes, five
// Document Providers with their Message Registries, the Partition and Federation
// APIs and REST/grant/citizen, all on loopback and as strict as the real ones, so
// that what passes here has a chance to pass there. It shares no code with the
// gateway but CBE numbers and the form of a problem document (RFC 9457): an
// assertion that the gateway signs is judged here by another library.
//
// One listener stands for services.socialsecurity.be, where many upstreams share
// a host under their real paths; a second one is the host of the provider
// "regional". Every request is recorded, and faults can be laid on each upstream.
// Tests do that by the methods of Simulator, people with curl below ControlURL:
//
//	GET             /_control/state            URLs, clients, providers, mandates, counts
//	GET|POST|DELETE /_control/faults           {"upstream":"provider:nsso","kind":"latency","delay":"2s","count":3}
//	DELETE          /_control/faults/{id}      one of them
//	GET|DELETE      /_control/requests         ?upstream=grant; tokens are shown as SHA-256
//	POST            /_control/token-lifetime   {"lifetime":"30s"}
//	POST            /_control/revoke           every token issued so far is unknown from now on
//	PUT|DELETE      /_control/clients/{id}     {"enterprise":"0406798006","certificate":"<PEM>","scopes":[…]}
//	PUT|DELETE      /_control/providers/{id}   one provider, by the member names of the registry
//	POST            /_control/page-form        {"provider":"nsso","form":"hal"}
//	PUT|DELETE      /_control/mandates         {"enterprise":"0206731645","kind":"e-box","until":"2026-01-31"}
//	POST            /_control/messages         {"provider":"nsso","enterprise":"0206731645","sizes":[1024]}
//	POST            /_control/grant-health     {"up":false}
//
// The kinds of faults are the Fault… constants. The demo's facts are in seed.go. Nothing here is fit for real data.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/enterprise"
)

// mostKept bounds the requests of the record, the messages of an e-Box and the mandates of citizens: a
// simulator that runs for weeks forgets the oldest.
const mostKept = 10_000

// ends remembers keys until their times.
type ends map[string]time.Time

// has reports whether a key is remembered, once those whose time has come are forgotten.
func (e ends) has(key string, now time.Time) bool {
	maps.DeleteFunc(e, func(_ string, end time.Time) bool { return !now.Before(end) })
	_, ok := e[key]
	return ok
}

// Options say where the simulator listens and whom it knows.
type Options struct {
	// Listen is the address of the one host that all upstreams share.
	// Default "127.0.0.1:0", a free port.
	Listen string
	// ListenRegional is the address of the provider regional's own host. Empty
	// puts that provider on the one host too.
	ListenRegional string
	// PublicURL and PublicRegionalURL replace "http://<address>" in every URL that
	// the simulator gives out, where it is reached under another name, as in a
	// container. Scheme and authority only.
	PublicURL, PublicRegionalURL string
	// Clients are the OAuth clients registered in "Chaman". More can join later.
	Clients []Client
	// TokenLifetime is how long a token is valid. Default 5 minutes.
	TokenLifetime time.Duration
	// Now is the clock of tokens, mandates and receipt dates; faults wait in real
	// time. Default time.Now.
	Now func() time.Time
}

// Simulator is a running set of upstreams. All its methods may be called from
// any goroutine, while requests are being served.
type Simulator struct {
	now     func() time.Time
	started time.Time

	main, regional *site // the same site if the two share a host
	sites          []*site

	// mu guards what follows. It is not held while a request body is read, an answer is
	// written or a fault waits.
	mu sync.Mutex
	authorization
	providers  []Provider                  // in the order of the Provider Registry
	registries map[string]*messageRegistry // of those providers that the simulator serves, by id
	mandates   map[mandateKey]mandate
	paperless  map[enterprise.Number]bool // enterprises that want no paper any more
	citizen    citizenMandates
	faults     []*Fault // in the order in which they were laid
	nextFault  int
	record     record

	ctx    context.Context // ends at Close, and with it every wait
	cancel context.CancelFunc
	busy   sync.WaitGroup // servers, and requests being served
	closed bool           // nothing joins busy any more
}

// site is one listener and the upstreams mounted on it.
type site struct {
	address string          // "127.0.0.1:4711"
	base    string          // "http://127.0.0.1:4711", without a slash at the end
	mounts  map[string]*api // by path prefix
	server  *http.Server
}

// The paths under which the real hosts serve each upstream.
const (
	tokenPath       = "/REST/oauth/v5/token"
	registryPath    = "/REST/ebox/enterprise/federation/documentProviderRegistry/v1"
	federationPath  = "/REST/ebox/enterprise/federation/v1"
	partitionPath   = "/REST/ebox/enterprise/partition/v1"
	grantPath       = "/REST/grant/citizen/v1"
	controlPath     = "/_control"
	defaultLifetime = 5 * time.Minute
)

// Start makes a simulator that is listening when it returns. The caller must
// Close it. An error names the address or the client that could not be used.
func Start(o Options) (*Simulator, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.TokenLifetime <= 0 {
		o.TokenLifetime = defaultLifetime
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Simulator{
		now: o.Now, started: o.Now(),
		authorization: authorization{
			lifetime: o.TokenLifetime, clients: map[string]Client{}, tokens: map[string]*issued{},
			spent: ends{}, issued: map[string]int{},
		},
		registries: map[string]*messageRegistry{}, mandates: map[mandateKey]mandate{},
		paperless: map[enterprise.Number]bool{}, citizen: citizenMandates{nextID: 3_000_001},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open begins to listen. Requests that come at once wait for the lock, and so until all is in its
// place.
func (s *Simulator) open(o Options) (err error) {
	for _, c := range o.Clients {
		if err := s.RegisterClient(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.main, err = s.newSite(o.Listen, o.PublicURL); err != nil {
		return err
	}
	if s.regional = s.main; o.ListenRegional != "" {
		if s.regional, err = s.newSite(o.ListenRegional, o.PublicRegionalURL); err != nil {
			return err
		}
	}
	s.seed()
	s.mountToken()
	s.mountRegistry()
	s.mountPartition()
	s.mountFederation()
	s.mountGrant()
	return nil
}

func (s *Simulator) newSite(address, public string) (*site, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for the simulator on %s: %w", address, err)
	}
	base := strings.TrimRight(public, "/")
	if base == "" {
		a := l.Addr().(*net.TCPAddr)
		if a.IP.IsUnspecified() { // a listener on all addresses is reached on loopback
			a = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.Port}
		}
		base = "http://" + a.String()
	}
	at := &site{address: l.Addr().String(), base: base, mounts: map[string]*api{}}
	at.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.dispatch(at, w, r) }),
		ReadHeaderTimeout: 30 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ErrorLog:          log.New(io.Discard, "", 0), // a client that breaks off is no news here
	}
	s.busy.Go(func() {
		_ = at.server.Serve(l) // it always ends with ErrServerClosed
	})
	s.sites = append(s.sites, at)
	return at, nil
}

// Close ends the listeners, every connection and every frozen answer, and
// returns when no request is being served any more. A second Close does nothing.
func (s *Simulator) Close() (err error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	for _, at := range s.sites {
		err = errors.Join(err, at.server.Close())
	}
	s.busy.Wait()
	return err
}

// Address is where the host that the upstreams share listens, whatever name its URLs have.
func (s *Simulator) Address() string { return s.main.address }

// TokenURL is the token endpoint, which is also the audience of an assertion.
func (s *Simulator) TokenURL() string { return s.main.base + tokenPath }

// RegistryURL is the base of the Provider Registry of 2023, with /messageRegistries below it.
func (s *Simulator) RegistryURL() string { return s.main.base + registryPath }

// OldRegistryURL is the base of the older Provider Registry, with /messageProviders
// below it. It is the Federation API's base as well.
func (s *Simulator) OldRegistryURL() string { return s.main.base + federationPath }

// PartitionURL is the base of the Partition API.
func (s *Simulator) PartitionURL() string { return s.main.base + partitionPath }

// FederationURL is the base of the Federation API, with /eboxPreferences below it.
func (s *Simulator) FederationURL() string { return s.main.base + federationPath }

// GrantURL is the base of REST/grant/citizen.
func (s *Simulator) GrantURL() string { return s.main.base + grantPath }

// ControlURL is the base of the control endpoint, see the package comment.
func (s *Simulator) ControlURL() string { return s.main.base + controlPath }

// ProviderURL is the base URL of the Message Registry of a provider as the
// Provider Registry gives it out, or "" if the list does not have the provider.
func (s *Simulator) ProviderURL(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.provider(id)
	return p.URL
}
