package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// kind is how a metric moves.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is one metric of the gateway: every series of one name.
type family struct {
	name   string
	kind   kind
	help   string
	labels []string
	desc   *prometheus.Desc
}

// prefix begins the name of every metric that the gateway defines itself.
const prefix = "ebox_gateway_"

func define(k kind, name, help string, labels ...string) *family {
	return &family{prefix + name, k, help, labels, prometheus.NewDesc(prefix+name, help, labels, nil)}
}

// The metrics, in the order of docs/metrics.md. No label has values that callers or
// upstreams could multiply: routes, clients and scopes are the configuration's,
// providers the directory's, and everything else is one of a few words.
var (
	requests = define(counter, "requests_total", "Requests answered, by route (none if no route has the path), "+
		"method (OTHER if HTTP does not define it), class of the status and author, gateway or upstream. The class is "+
		"none if the caller went away before there was one. What the cache gives is the upstream's.", "route",
		"method", "code", "author")
	requestDuration = define(histogram, "request_duration_seconds",
		"Time from a request's header to the end of its answer.", "route", "code")
	requestPhase = define(histogram, "request_phase_seconds",
		"Time that a part of a request took: limits is waiting for rates and bulkheads, token for a token, header for the "+
			"upstream's header (of the last try). body is passing the answer on. A part that took no time is not counted.",
		"route", "phase")
	inFlight = define(gauge, "requests_in_flight", "Requests that are being served.")
	received = define(counter, "request_body_bytes_total", "Bytes of the callers' bodies.", "route")
	sent     = define(counter, "response_body_bytes_total", "Bytes of the answers' bodies.", "route")
	tries    = define(counter, "tries_total", "Times that a request was handed to the transport of its upstream.",
		"route")
	cuts = define(counter, "cut_answers_total", "Answers that were cut short, by the upstream, the "+
		"caller or a stop.", "route")
	problems = define(counter, "problems_total", "Answers of which the gateway is the author, by the last part "+
		"of the problem's type (OTHER if it is not one of the gateway's own).", "type")
	overload = define(counter, "overload_refusals_total",
		"Requests refused before anything was looked at: capacity (server.limits.maxRequests) or stopping. They are "+
			"counted here alone.", "reason")
	rateRefusals = define(counter, "rate_refusals_total", "Calls refused because a rate was used up: that of the "+
		"enterprise, the caller or the upstream; or because of the caller's concurrency.", "kind")
	providerRequests = define(counter, "provider_requests_total", "Requests for a Document Provider, by class of the "+
		"status and author of the answer; none is an id that the directory does not have.", "provider", "code", "author")
	providerHeader = define(histogram, "provider_header_seconds",
		"Time from sending a request to a Document Provider's header.", "provider")
	partRequests = define(counter, "part_requests_total", "Requests that the gateway made for a part of another one, as "+
		"the federated inbox does of each provider. requests_total does not count them.", "provider", "code")

	ready            = define(gauge, "ready", "1 if requests should be sent here.")
	health           = define(gauge, "health", "1 for the state that /health shows, 0 for the others.", "status")
	reloadSuccessful = define(gauge, "config_last_reload_successful",
		"1 if the configuration of the files is in force, 0 if it was not taken.")
	reloadTimestamp = define(gauge, "config_last_reload_success_timestamp_seconds",
		"When the configuration in force was taken.")
	configuration = define(gauge, "config_info", "Always 1; the labels say which configuration is in force.",
		"hash", "environment")
	build       = define(gauge, "build_info", "Always 1; the labels say what is running.", "version", "goversion")
	enterprises = define(gauge, "enterprises", "Enterprises in the configuration, listed or suspended.", "state")

	enterprisesRefused = define(gauge, "enterprises_refused", "Enterprises that a Document Provider refused when they "+
		"were asked for last (401 or 403), by provider; none for other upstreams.", "provider")
	refusedInARow = define(gauge, "enterprises_refused_in_a_row", "Enterprises that a Document Provider has refused "+
		"since it last served any, by provider; for other upstreams, as none, the most of one of them. Many are about the "+
		"office rather than their mandates.", "provider")
	listenerExpiry = define(gauge, "listener_certificate_expiry_timestamp_seconds",
		"When the certificate of a listener expires. Absent for a listener without TLS.", "listener")

	heldBytes = define(gauge, "held_bytes",
		"Bytes that are held in memory for callers: bodies read whole, merged inbox pages, answers kept back.")
	heldLimit = define(gauge, "held_bytes_limit",
		"Most bytes that may be held in memory for callers (server.limits.maxHeldBytes).")
	heldRefused = define(counter, "held_bytes_refusals_total", "Times that something could not be held in memory for a "+
		"caller. A body or an inbox page then gets 503; an answer passes without being kept.")

	circuitState = define(gauge, "upstream_circuit_state", "1 for the state that the upstream's circuit is in, 0 "+
		"for the others.", "upstream", "state")
	circuitOpened = define(counter, "upstream_circuit_opened_total", "Times that the upstream's circuit opened.",
		"upstream")
	circuitOpenFor = define(gauge, "upstream_circuit_open_enterprises", "Represented enterprises for which alone the "+
		"upstream's circuit is not closed; /status names them.", "upstream")
	upstreamFlight = define(gauge, "upstream_requests_in_flight", "Calls that the upstream's bulkhead holds.",
		"upstream")
	upstreamQueue = define(gauge, "upstream_requests_queued",
		"Calls that wait for a place in the upstream's bulkhead.", "upstream")
	upstreamOldest = define(gauge, "upstream_oldest_call_seconds",
		"How long the oldest call has been waiting for the upstream's header, large uploads aside; 0 if none waits.",
		"upstream")
	upstreamUnanswered = define(gauge, "upstream_unanswered_seconds",
		"For how long the upstream has had calls and answered none, with those that timed out or gave up; 0 if none waits.",
		"upstream")
	retries       = define(counter, "upstream_retries_total", "Tries after the first.", "upstream")
	retriesDenied = define(counter, "upstream_retries_denied_total",
		"Tries that were not made because the budget was spent.", "upstream")
	refusals = define(counter, "upstream_refusals_total", "Tries that the protection of the upstream refused: by its "+
		"circuit, its bulkhead, the caller's or enterprise's share of that, or its rate.", "upstream", "reason")

	connections = define(counter, "upstream_connections_total", "What happened to connections to the upstream: opened; "+
		"ended, found closed when it was to be used again; surplus, closed since bytes came that no request had asked for. "+
		"resent: a safe call went once more since its connection had ended. foreign: an answer named another call and was "+
		"not delivered. Surplus and foreign are faults of the upstream.", "upstream", "event")

	tokenRequests = define(counter, "token_requests_total",
		"Ends of token requests: granted, refused (the Authorization Server said no) or unavailable.", "client", "outcome")
	tokenForced = define(counter, "token_forced_renewals_total", "Tokens dropped because an upstream answered 401.",
		"client")
	tokenFailing = define(gauge, "token_failing", "1 while some token of the client cannot be had: refused, "+
		"unavailable, or key (its key cannot be loaded).", "client", "reason")
	tokenExpiry = define(gauge, "token_expiry_timestamp_seconds",
		"When the token for the scopes expires, while there is one.", "client", "scopes")
	certificateExpiry = define(gauge, "certificate_expiry_timestamp_seconds",
		"When the client's certificate expires: that of the key that signs, or of one that is pending.", "client", "key")
	clockDifference = define(gauge, "clock_difference_seconds", "How far the clock of the client's Authorization Server "+
		"is ahead of the gateway's, by the Date of its last answer, to half a second; negative if it is behind. Absent "+
		"before the first answer.", "client")
	keyPending = define(gauge, "key_pending", "1 while a new key of the client was loaded and has not earned a token.",
		"client")

	listTimestamp = define(gauge, "registry_list_timestamp_seconds", "When the list of Document Providers in force was "+
		"fetched from the registry.")
	listFailing = define(gauge, "registry_last_try_failed",
		"1 if the registry did not give a list the last time it was asked.")
	providers = define(gauge, "providers", "Document Providers, by state.", "state")

	cacheBytes     = define(gauge, "cache_memory_bytes", "Size of what the cache keeps in memory.")
	cacheResources = define(gauge, "cache_resources", "Resources of which the cache keeps something in memory.")
	cacheHits      = define(counter, "cache_hits_total", "Requests answered from what was kept.")
	cacheMisses    = define(counter, "cache_misses_total",
		"Requests for which the cache had nothing that could be given.")
	cacheStale = define(counter, "cache_stale_hits_total",
		"Hits past their lifetime; cache_hits_total counts them too.")
	cacheValidated   = define(counter, "cache_validations_total", "Kept answers that the upstream confirmed.")
	cacheCollapsed   = define(counter, "cache_collapsed_total", "Requests answered with what another request brought.")
	cacheStored      = define(counter, "cache_stores_total", "Answers that were stored.")
	cacheEvicted     = define(counter, "cache_evictions_total", "Kept answers that made room for others.")
	cacheInvalidated = define(counter, "cache_invalidations_total",
		"Times that something kept was made void, by a write, a refusal or a purge.")
	cacheFailures = define(counter, "cache_store_failures_total", "What the second level of the cache did not do.")

	redisUp    = define(gauge, "redis_up", "1 if Redis is as it should be. Absent without redis.url.")
	redisState = define(gauge, "redis_state", "1 for the state that Redis is in, 0 for the others: up, "+
		"troubled or away.", "state")
	redisOpened     = define(counter, "redis_circuit_opened_total", "Times that Redis had to be left alone.")
	redisUnreadable = define(counter, "redis_unreadable_total", "Values in Redis that could not be opened.")
	redisSubscribed = define(gauge, "redis_subscribed", "1 if the other replicas' invalidations are heard.")
	redisUntold     = define(gauge, "redis_untold_invalidations",
		"Invalidations that the other replicas have not been told yet.")

	evidenceQueued  = define(gauge, "evidence_queued", "Evidence records that are not on disk yet.")
	evidenceWritten = define(counter, "evidence_records_total", "Evidence records on disk.")
	evidenceLost    = define(counter, "evidence_lost_total",
		"Evidence records that were not taken because too many waited.")
	evidenceFailing  = define(gauge, "evidence_failing", "1 while evidence cannot be written.")
	evidenceRefusing = define(gauge, "evidence_refusing", "1 while requests are refused because evidence cannot be "+
		"written, or waits in too great a number.")
	evidenceMissing = define(gauge, "evidence_missing",
		"1 since evidence was found removed, replaced or cut, until the gateway is restarted.")
	evidenceGap = define(gauge, "evidence_gap_timestamp_seconds", "When the evidence last said that something may be "+
		"missing in it. Absent if it has not since the start.")
	evidenceRefusedWrites = define(counter, "evidence_refused_writes_total",
		"Writes that were not sent since their intent could not be recorded.")
	evidenceUnstamped = define(gauge, "evidence_unstamped",
		"1 while the time-stamping authority gives no time stamps of checkpoints.")

	spansExported = define(counter, "trace_spans_exported_total", "Spans that the collector took.")
	spansDropped  = define(counter, "trace_spans_dropped_total", "Spans that were given up: the queue was full or the "+
		"collector did not take them.")
)

// families are all of them.
func families() []*family {
	return []*family{
		requests, requestDuration, requestPhase, inFlight, received, sent, tries, cuts, problems, overload, rateRefusals,
		providerRequests, providerHeader, partRequests,
		ready, health, reloadSuccessful, reloadTimestamp, configuration, build, enterprises, enterprisesRefused,
		refusedInARow, listenerExpiry, heldBytes, heldLimit, heldRefused,
		circuitState, circuitOpened, circuitOpenFor, upstreamFlight, upstreamQueue, upstreamOldest, upstreamUnanswered,
		retries, retriesDenied, refusals, connections,
		tokenRequests, tokenForced, tokenFailing, tokenExpiry, certificateExpiry, clockDifference, keyPending,
		listTimestamp, listFailing, providers,
		cacheBytes, cacheResources, cacheHits, cacheMisses, cacheStale, cacheValidated, cacheCollapsed, cacheStored,
		cacheEvicted, cacheInvalidated, cacheFailures,
		redisUp, redisState, redisOpened, redisUnreadable, redisSubscribed, redisUntold,
		evidenceQueued, evidenceWritten, evidenceLost, evidenceFailing, evidenceRefusing, evidenceMissing, evidenceGap,
		evidenceRefusedWrites, evidenceUnstamped,
		spansExported, spansDropped,
	}
}

func (f *family) counterVec() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help}, f.labels)
}

// histogramVec is a histogram in both forms: a Prometheus that asks for native ones
// gets buckets a tenth apart, any other the classic ones.
func (f *family) histogramVec() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: f.name, Help: f.help,
		Buckets: []float64{
			0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
		},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, f.labels)
}
