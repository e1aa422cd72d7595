package telemetry

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ebox-gateway/internal/call"
)

// MetricsOptions are what metrics take from outside. All are required.
type MetricsOptions struct {
	Version string
	// Snapshot tells how the gateway stands. It is called for each scrape.
	Snapshot func() Snapshot
	// IsProvider tells whether the directory has a Document Provider of this id.
	IsProvider func(id string) bool
}

// Metrics counts requests and shows everything to Prometheus. It is safe for
// concurrent use.
//
// A request costs one look at the table of its route and one at that of its provider;
// what is found there are the counters themselves, so that no series is looked up by
// its labels and nothing is allocated. A series is made when it is first counted.
type Metrics struct {
	o        MetricsOptions
	registry *prometheus.Registry
	handler  http.Handler

	requests, received, sent, tries, cuts, problems, overload, providerRequests, partRequests *prometheus.CounterVec
	duration, phase, providerHeader                                                           *prometheus.HistogramVec

	// routes and providers are replaced as a whole, under mu.
	routes    atomic.Pointer[map[string]*routeMetrics]
	providers atomic.Pointer[map[string]*providerMetrics]
	mu        sync.Mutex

	noRoute    *routeMetrics
	noProvider *providerMetrics
	problem    map[string]prometheus.Counter // by the last part of the type; never changed
	refused    [2]prometheus.Counter
}

// none stands for a route or a provider that is not known: what the outside says of
// one never becomes a label.
const none = "none"

// maxProviders bounds the providers that have series of their own: a registry that
// changed its ids at every refresh must not fill the memory.
const maxProviders = 1000

// The labels for methods, classes of a status and phases, by index.
var (
	methodNames = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"}
	codeNames   = [...]string{none, "1xx", "2xx", "3xx", "4xx", "5xx"}
	phaseNames  = [...]string{"limits", "token", "header", "body"}
	authorNames = [...]string{"gateway", "upstream"}
	// problemNames are the types that the gateway answers with.
	problemNames = [...]string{
		"badRequest", "missingPermission", "resourceNotFound", "payloadTooLarge", "tooManyRequests",
		"internalServerError", "badGateway",
		"serviceUnavailable", "methodNotAllowed", "misdirectedRequest", "clientRefused", "gatewayTimeout",
	}
)

const other = "OTHER"

// lazyCounter is a counter that is made when it is first needed.
type lazyCounter = atomic.Pointer[prometheus.Counter]

type lazyObserver = atomic.Pointer[prometheus.Observer]

// routeMetrics are the series of one route.
type routeMetrics struct {
	name                        string
	requests                    [len(methodNames)][len(codeNames)][len(authorNames)]lazyCounter
	duration                    [len(codeNames)]lazyObserver
	phases                      [len(phaseNames)]lazyObserver
	received, sent, tries, cuts prometheus.Counter
}

// providerMetrics are the series of one Document Provider.
type providerMetrics struct {
	name            string
	requests, parts [len(codeNames)]lazyCounter
	header          lazyObserver
}

// NewMetrics makes the metrics, with the runtime's and the process's.
func NewMetrics(o MetricsOptions) (*Metrics, error) {
	m := &Metrics{
		o: o, registry: prometheus.NewPedanticRegistry(),
		requests: requests.counterVec(), received: received.counterVec(), sent: sent.counterVec(), tries: tries.counterVec(),
		cuts: cuts.counterVec(), problems: problems.counterVec(), overload: overload.counterVec(),
		providerRequests: providerRequests.counterVec(), partRequests: partRequests.counterVec(),
		duration: requestDuration.histogramVec(), phase: requestPhase.histogramVec(),
		providerHeader: providerHeader.histogramVec(),
		problem:        make(map[string]prometheus.Counter),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.received, m.sent, m.tries, m.cuts, m.problems, m.overload, m.providerRequests, m.partRequests,
		m.duration, m.phase, m.providerHeader,
		&collector{o.Version, o.Snapshot},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	for _, name := range append(problemNames[:len(problemNames):len(problemNames)], other) {
		m.problem[name] = m.problems.WithLabelValues(name)
	}
	m.refused = [...]prometheus.Counter{m.overload.WithLabelValues("capacity"), m.overload.WithLabelValues("stopping")}
	m.noRoute = m.newRoute(none)
	m.noProvider = &providerMetrics{name: none}
	m.routes.Store(&map[string]*routeMetrics{})
	m.providers.Store(&map[string]*providerMetrics{})
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// A scrape that comes while others hang is told so rather than kept.
		MaxRequestsInFlight: maxScrapes,
		// One part that cannot be read must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	})
	return m, nil
}

// maxScrapes bounds the scrapes at once.
const maxScrapes = 8

// ServeHTTP answers a scrape: text, or protobuf with native histograms if asked for.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

func (m *Metrics) newRoute(name string) *routeMetrics {
	return &routeMetrics{
		name: name, received: m.received.WithLabelValues(name), sent: m.sent.WithLabelValues(name),
		tries: m.tries.WithLabelValues(name), cuts: m.cuts.WithLabelValues(name),
	}
}

// UseRoutes makes the routes those of a configuration. The series of one that is gone
// are dropped; requests that it still serves count as none's.
func (m *Metrics) UseRoutes(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.routes.Load()
	next := make(map[string]*routeMetrics, len(names))
	for _, name := range names {
		if next[name] = old[name]; next[name] == nil {
			next[name] = m.newRoute(name)
		}
	}
	m.routes.Store(&next)
	for name := range old {
		if next[name] == nil {
			of := prometheus.Labels{"route": name}
			for _, v := range []interface {
				DeletePartialMatch(prometheus.Labels) int
			}{m.requests, m.received, m.sent, m.tries, m.cuts, m.duration, m.phase} {
				v.DeletePartialMatch(of)
			}
		}
	}
}

// Overloaded counts a request that was refused since too many are being served.
func (m *Metrics) Overloaded() { m.refused[0].Inc() }

// Stopping counts a request that was refused since the gateway is stopping.
func (m *Metrics) Stopping() { m.refused[1].Inc() }

// Done counts a finished request. It does not keep the record.
func (m *Metrics) Done(r *call.Record) {
	code := codeOf(r.Status)
	provider := m.providerOf(r)
	if r.Parent != "" {
		if provider != nil {
			provider.part(m, code)
			provider.waited(m, r)
		}
		return
	}
	route := (*m.routes.Load())[r.Route]
	if route == nil {
		route = m.noRoute
	}
	route.request(m, methodOf(r.Method), code, authorOf(r))
	route.observe(m, r, code)
	if provider != nil {
		provider.request(m, code)
		provider.waited(m, r)
	}
	if r.ProblemType != "" {
		last := r.ProblemType[strings.LastIndexByte(r.ProblemType, ':')+1:]
		c, ok := m.problem[last]
		if !ok {
			c = m.problem[other]
		}
		c.Inc()
	}
}

func codeOf(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

func methodOf(method string) int {
	for i, name := range methodNames {
		if name == method {
			return i
		}
	}
	return len(methodNames) - 1
}

// authorOf is 1 for an answer that is the upstream's, be it kept, and 0 for the
// gateway's own.
func authorOf(r *call.Record) int {
	if r.ProblemType != "" || r.Upstream == "" {
		return 0
	}
	return 1
}

// providerOf gives the series of the request's provider, nil if it is for none.
func (m *Metrics) providerOf(r *call.Record) *providerMetrics {
	if r.Provider == "" {
		return nil
	}
	if p := (*m.providers.Load())[r.Provider]; p != nil {
		return p
	}
	if !m.o.IsProvider(r.Provider) {
		return m.noProvider
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.providers.Load()
	if p := old[r.Provider]; p != nil {
		return p
	}
	if len(old) >= maxProviders {
		return m.noProvider
	}
	next := make(map[string]*providerMetrics, len(old)+1)
	for id, p := range old {
		next[id] = p
	}
	made := &providerMetrics{name: strings.Clone(r.Provider)} // not a piece of a request's buffer
	next[made.name] = made
	m.providers.Store(&next)
	return made
}
