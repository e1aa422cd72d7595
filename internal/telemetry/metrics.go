package telemetry

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
type Metrics struct {
	o        MetricsOptions
	registry *prometheus.Registry
	handler  http.Handler

	requests, received, sent, tries, cuts, problems, overload, providerRequests, partRequests *prometheus.CounterVec
	duration, phase, providerHeader                                                           *prometheus.HistogramVec

	// routes and providers are the names that series may have, by themselves. They are
	// replaced as a whole, under mu.
	routes, providers atomic.Pointer[map[string]string]
	mu                sync.Mutex
}

// none stands for a route or a provider that is not known: what the outside says of
// one never becomes a label.
const none = "none"

// maxProviders bounds the providers that have series of their own: a registry that
// changed its ids at every refresh must not fill the memory.
const maxProviders = 1000

// other stands for a method or a type of problem that is not known.
const other = "OTHER"

// problemNames are the types that the gateway answers with, by the last part of the URN.
var problemNames = []string{
	"badRequest", "missingPermission", "resourceNotFound", "payloadTooLarge", "tooManyRequests", "internalServerError",
	"badGateway", "serviceUnavailable", "methodNotAllowed", "misdirectedRequest", "clientRefused", "gatewayTimeout", other,
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
	for _, name := range problemNames { // so that the first of its kind is an increase
		m.problems.WithLabelValues(name)
	}
	for _, reason := range []string{"capacity", "stopping"} {
		m.overload.WithLabelValues(reason)
	}
	m.routes.Store(&map[string]string{})
	m.providers.Store(&map[string]string{})
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

// UseRoutes makes the routes those of a configuration. The series of one that is gone
// are dropped; requests that it still serves count as none's.
func (m *Metrics) UseRoutes(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[string]string, len(names))
	for _, name := range names {
		next[name] = name
		for _, v := range []*prometheus.CounterVec{m.received, m.sent, m.tries, m.cuts} {
			v.WithLabelValues(name)
		}
	}
	old := *m.routes.Swap(&next)
	for name := range old {
		if next[name] != "" {
			continue
		}
		of := prometheus.Labels{"route": name}
		for _, v := range []interface {
			DeletePartialMatch(prometheus.Labels) int
		}{m.requests, m.received, m.sent, m.tries, m.cuts, m.duration, m.phase} {
			v.DeletePartialMatch(of)
		}
	}
}

// Overloaded counts a request that was refused since too many are being served.
func (m *Metrics) Overloaded() { m.overload.WithLabelValues("capacity").Inc() }

// Stopping counts a request that was refused since the gateway is stopping.
func (m *Metrics) Stopping() { m.overload.WithLabelValues("stopping").Inc() }

// Done counts a finished request. It does not keep the record.
func (m *Metrics) Done(r *call.Record) {
	code := codeOf(r.Status)
	provider := m.providerOf(r)
	if provider != "" && r.Phases.Header > 0 {
		m.providerHeader.WithLabelValues(provider).Observe(r.Phases.Header.Seconds())
	}
	if r.Parent != "" {
		if provider != "" {
			m.partRequests.WithLabelValues(provider, code).Inc()
		}
		return
	}
	if provider != "" {
		m.providerRequests.WithLabelValues(provider, code, authorOf(r)).Inc()
	}
	route, ok := (*m.routes.Load())[r.Route]
	if !ok {
		route = none
	}
	m.requests.WithLabelValues(route, methodOf(r.Method), code, authorOf(r)).Inc()
	m.duration.WithLabelValues(route, code).Observe(r.Phases.Total.Seconds())
	m.took(route, "limits", r.Phases.Limits)
	m.took(route, "token", r.Phases.Token)
	m.took(route, "header", r.Phases.Header)
	m.took(route, "body", r.Phases.Body)
	m.received.WithLabelValues(route).Add(float64(r.BytesIn))
	m.sent.WithLabelValues(route).Add(float64(r.BytesOut))
	m.tries.WithLabelValues(route).Add(float64(r.Tries))
	if r.Cut {
		m.cuts.WithLabelValues(route).Inc()
	}
	if r.ProblemType != "" {
		name := other
		if i := slices.Index(problemNames, r.ProblemType[strings.LastIndexByte(r.ProblemType, ':')+1:]); i >= 0 {
			name = problemNames[i]
		}
		m.problems.WithLabelValues(name).Inc()
	}
}

// took counts a part of a request that took some time.
func (m *Metrics) took(route, phase string, d time.Duration) {
	if d > 0 {
		m.phase.WithLabelValues(route, phase).Observe(d.Seconds())
	}
}

// codeOf is the class of a status.
func codeOf(status int) string {
	if status < 100 || status > 599 {
		return none
	}
	return [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}[status/100-1]
}

// methodOf is a method as a label: one that HTTP defines, in a string of our own.
func methodOf(method string) string {
	for _, name := range [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"} {
		if name == method {
			return name
		}
	}
	return other
}

// authorOf tells whose answer it was: that of the upstream even if it was kept.
func authorOf(r *call.Record) string {
	if r.ProblemType != "" || r.Upstream == "" {
		return "gateway"
	}
	return "upstream"
}

// providerOf is the request's provider as a label, empty if it is for none.
func (m *Metrics) providerOf(r *call.Record) string {
	if r.Provider == "" {
		return ""
	}
	if name, ok := (*m.providers.Load())[r.Provider]; ok {
		return name
	}
	if !m.o.IsProvider(r.Provider) {
		return none
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.providers.Load()
	if len(old) >= maxProviders {
		return none
	}
	next := maps.Clone(old)
	name := strings.Clone(r.Provider) // not a piece of a request's buffer
	next[name] = name
	m.providers.Store(&next)
	return name
}
