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
	"ebox-gateway/internal/metric"
)

// Metrics counts requests and shows everything to Prometheus. It is safe for
// concurrent use.
type Metrics struct {
	isProvider func(id string) bool
	registry   *prometheus.Registry
	families   []metric.Family
	handler    http.Handler

	requests, received, sent, tries, cuts, planned     *prometheus.CounterVec
	problems, overload, providerRequests, partRequests *prometheus.CounterVec
	duration, phase, providerHeader                    *prometheus.HistogramVec

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

// NewMetrics makes the metrics of requests, with the runtime's, the process's and those of parts.
// isProvider reports whether the directory has a Document Provider of an id.
func NewMetrics(isProvider func(id string) bool, parts ...metric.Collector) (*Metrics, error) {
	m := &Metrics{isProvider: isProvider, registry: prometheus.NewPedanticRegistry()}
	m.requests = m.counter("requests_total", "Requests answered, by route (none if no route has the path), method "+
		"(OTHER if HTTP does not define it), class of the status and author, gateway or upstream. The class is none if "+
		"the caller went away before there was one. What the cache gives is the upstream's.",
		"route", "method", "code", "author")
	m.duration = m.histogram("request_duration_seconds",
		"Time from a request's header to the end of its answer.", "route", "code")
	m.phase = m.histogram("request_phase_seconds",
		"Time that a part of a request took: limits is waiting for rates and bulkheads, token for a token, header for the "+
			"upstream's header (of the last try). body is passing the answer on. A part that took no time is not counted.",
		"route", "phase")
	m.received = m.counter("request_body_bytes_total", "Bytes of the callers' bodies.", "route")
	m.sent = m.counter("response_body_bytes_total", "Bytes of the answers' bodies.", "route")
	m.tries = m.counter("tries_total", "Times that a request was handed to the transport of its upstream.", "route")
	m.cuts = m.counter("cut_answers_total", "Answers that were cut short, by the upstream, the caller or a stop.",
		"route")
	m.planned = m.counter("maintenance_answers_total", "Requests answered with the 503 of a maintenance, announced by "+
		"the registry or switched here. requests_total counts them too; the alerts about errors leave them out.", "route")
	m.problems = m.counter("problems_total", "Answers of which the gateway is the author, by the last part of the "+
		"problem's type (OTHER if it is not one of the gateway's own).", "type")
	m.overload = m.counter("overload_refusals_total", "Requests refused before anything was looked at: capacity "+
		"(server.limits.maxRequests) or stopping. They are counted here alone. connections are those that were closed "+
		"unanswered, for want of a place (server.limits.maxConnections, or file descriptors).", "reason")
	m.providerRequests = m.counter("provider_requests_total", "Requests for a Document Provider, by class of the "+
		"status and author of the answer; none is an id that the directory does not have.", "provider", "code", "author")
	m.providerHeader = m.histogram("provider_header_seconds",
		"Time from sending a request to a Document Provider's header.", "provider")
	m.partRequests = m.counter("part_requests_total", "Requests that the gateway made for a part of another one, as "+
		"the federated inbox does of each provider. requests_total does not count them.", "provider", "code")
	for _, part := range parts {
		if err := m.registry.Register(part); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
		m.families = append(m.families, part.Families()...)
	}
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, name := range problemNames { // so that the first of its kind is an increase
		m.problems.WithLabelValues(name)
	}
	for _, reason := range []string{"capacity", "connections", "stopping"} {
		m.overload.WithLabelValues(reason)
	}
	m.routes.Store(&map[string]string{})
	m.providers.Store(&map[string]string{})
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// A scrape that comes while others hang is refused rather than kept.
		MaxRequestsInFlight: maxScrapes,
		// One part that cannot be read must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	})
	return m, nil
}

// maxScrapes bounds the scrapes at once.
const maxScrapes = 8

// Families are all metrics that the gateway defines itself, in the order of docs/metrics.md.
func (m *Metrics) Families() []metric.Family { return m.families }

// add registers what counts a family. That panics if two have one name.
func (m *Metrics) add(kind metric.Kind, name, help string, labels []string, v prometheus.Collector) {
	m.families = append(m.families, metric.Family{Name: metric.Prefix + name, Kind: kind, Help: help, Labels: labels})
	m.registry.MustRegister(v)
}

// counter makes a counter of requests.
func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric.Prefix + name, Help: help}, labels)
	m.add(metric.KindCounter, name, help, labels, v)
	return v
}

// histogram is counter for a histogram, which is there in both forms: a Prometheus that asks for
// native ones gets buckets a tenth apart, any other the classic ones.
func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metric.Prefix + name, Help: help,
		Buckets: []float64{
			0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
		},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	m.add(metric.KindHistogram, name, help, labels, v)
	return v
}

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
		for _, v := range []*prometheus.CounterVec{m.received, m.sent, m.tries, m.cuts, m.planned} {
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
		}{m.requests, m.received, m.sent, m.tries, m.cuts, m.planned, m.duration, m.phase} {
			v.DeletePartialMatch(of)
		}
	}
}

// Overloaded counts a request that was refused since too many are being served.
func (m *Metrics) Overloaded() { m.overload.WithLabelValues("capacity").Inc() }

// TurnedAway counts a connection that was closed since there was no place for it.
func (m *Metrics) TurnedAway() { m.overload.WithLabelValues("connections").Inc() }

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
	if r.Planned {
		m.planned.WithLabelValues(route).Inc()
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

// authorOf says whose answer it was: that of the upstream even if it was kept.
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
	if !m.isProvider(r.Provider) {
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
