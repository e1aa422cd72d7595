// Package operate is what operators may see of a running gateway. The composition hands out
// a View; the packages below answer questions from it:
//
//   - preflight checks a configuration before it is used, on this machine and online
//   - explain says what would become of a request
//   - mandates asks upstreams for which enterprises there is a mandate
//   - maintenance keeps what people have switched to maintenance
//   - status says how everything stands
package operate

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
	"ebox-gateway/internal/wire"
)

// View is a gateway with the configuration in force at one moment. It is read and not
// changed, and is good for one question: the next one takes a new View.
type View struct {
	// Version is the program's, Started when the process began, Since when the
	// configuration came into force.
	Version        string
	Started, Since time.Time
	Now            func() time.Time

	Config    *config.Config
	Tokens    Tokens
	Directory *directory.Directory
	Egress    *egress.Egress
	Redis     *redisstore.Store // nil if there is none
	Callers   *tenancy.Callers
	Resolver  *tenancy.Resolver
	// Routes are in the order of Config.Routes.
	Routes []*server.Route

	Switches *maintenance.Switches
	Activity *activity.Recent
	Cache    func() cache.Stats
	// Evidence is nil if none is kept.
	Evidence *audit.Status

	// UnderWay counts the requests that are being served.
	UnderWay int64
	// RateRefusals count what the rates of enterprises and callers refused.
	RateRefusals resilience.Refusals
	// Short reports whether callers had to wait lately for file descriptors.
	Short bool
	// TurnedAway reports whether connections of callers were closed lately, unanswered: there was
	// no place for them.
	TurnedAway bool
	// Rejected is the last configuration that was not taken, if it came after the one in
	// force; nil for none.
	Rejected *Rejected
	// Suspended counts the enterprises that are suspended now.
	Suspended             int
	Internal, Admin       []net.Addr           // of the listeners
	ListenerExpiry        map[string]time.Time // of the certificates, by listener
	Stopping, ReadyBefore bool
	// Missing says what the first readiness still waits for.
	Missing string

	// Upstreams are those that were called, by name; Circuit the worst circuit of the
	// routes that lead to a provider, closed if it was never called.
	Upstreams func() []Upstream
	Circuit   func(provider string) resilience.State
	// Endpoint makes an endpoint that hands calls to f instead of sending them. show is
	// told which providers a call to the federated inbox would ask, and nobody is asked.
	Endpoint func(f Forwarder, routes []*server.Route, show func([]inbox.Provider), done func(*call.Record)) http.Handler
	// Assume is the target of a call to a provider that is not known, by the route of
	// that index, as if the provider had that base URL. What is sent there fails.
	Assume func(route int, base *url.URL, c *call.Call) (server.Target, error)
}

// Tokens are the tokens of all OAuth clients: how they stand, and one that is only tried.
type Tokens interface {
	Status() []authn.ClientStatus
	Try(ctx context.Context, client string, scopes []string, another *config.Client) (authn.Token, error)
}

// Forwarder takes a call with everything decided.
type Forwarder interface {
	Serve(http.ResponseWriter, *http.Request, *call.Call)
}

// Rejected is a configuration that was not taken.
type Rejected struct {
	At     time.Time `json:"at"`
	Hash   string    `json:"hash,omitempty"`
	Errors []string  `json:"errors"`
}

// TokenEndpoint is the name of the upstream that is the Authorization Server.
const TokenEndpoint = "token endpoint"

// Upstream is one upstream and how its circuit, bulkhead and retries stand, and the calls
// that wait for it. Its connections are shown by metrics alone.
type Upstream struct {
	Name string `json:"name"`
	Base string `json:"baseUrl"`
	resilience.State
	proxy.WaitingState
	Connections wire.Counts `json:"-"`
}
