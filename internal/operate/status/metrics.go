package status

import (
	"runtime"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/operate"
)

// Metrics are what Prometheus reads of the gateway as a whole.
var Metrics = metric.Table[operate.View]{
	metric.Gauge("requests_in_flight", "Requests that are being served.",
		func(v *operate.View) int64 { return v.UnderWay }),
	metric.Counters("rate_refusals_total", "Calls refused because a rate was used up: that of the enterprise, the "+
		"caller or the upstream; or because of the caller's concurrency.",
		func(v *operate.View, put metric.Put) {
			put(float64(v.RateRefusals.Enterprise), "enterprise")
			put(float64(v.RateRefusals.Caller), "caller")
			put(float64(v.RateRefusals.Concurrency), "concurrency")
			upstream := uint64(0)
			for _, u := range v.Upstreams() {
				upstream += u.RefusedRate
			}
			put(float64(upstream), "upstream")
		}, "kind"),
	metric.Truth("ready", "1 if requests should be sent here.",
		func(v *operate.View) bool { return NotReady(v) == "" }),
	metric.Gauges("health", "1 for the state that /health shows, 0 for the others.",
		func(v *operate.View, put metric.Put) {
			put.OneOf(Health(v).Status, nil, "UP", "DEGRADED", "DOWN")
		}, "status"),
	metric.Truth("config_last_reload_successful",
		"1 if the configuration of the files is in force, 0 if it was not taken.",
		func(v *operate.View) bool { return v.Rejected == nil }),
	metric.Time("config_last_reload_success_timestamp_seconds", "When the configuration in force was taken.",
		func(v *operate.View) time.Time { return v.Since }),
	metric.Gauges("config_info", "Always 1; the labels say which configuration is in force.",
		func(v *operate.View, put metric.Put) {
			put(1, v.Config.Hash(), string(v.Config.Environment))
		}, "hash", "environment"),
	metric.Gauges("build_info", "Always 1; the labels say what is running.",
		func(v *operate.View, put metric.Put) { put(1, v.Version, runtime.Version()) }, "version", "goversion"),
	metric.Gauges("enterprises", "Enterprises in the configuration, listed or suspended.",
		func(v *operate.View, put metric.Put) {
			put(float64(len(v.Config.Tenancy.Enterprises)), "listed")
			put(float64(v.Suspended), "suspended")
		}, "state"),
	metric.Gauges("enterprises_refused", "Enterprises that a Document Provider refused when they were asked for last "+
		"(401 or 403), by provider; none for other upstreams.",
		func(v *operate.View, put metric.Put) {
			for provider, n := range refusedEnterprises(v) {
				put(float64(n.Refused), provider)
			}
		}, "provider"),
	metric.Gauges("enterprises_refused_in_a_row", "Enterprises that a Document Provider has refused since it last "+
		"served any, by provider; for other upstreams, as none, the most of one of them. Many are about the office "+
		"rather than their mandates.",
		func(v *operate.View, put metric.Put) {
			for provider, n := range refusedEnterprises(v) {
				put(float64(n.InARow), provider)
			}
		}, "provider"),
	metric.Gauges("listener_certificate_expiry_timestamp_seconds",
		"When the certificate of a listener expires. Absent for a listener without TLS.",
		func(v *operate.View, put metric.Put) {
			for name, at := range v.ListenerExpiry {
				put.Time(at, name)
			}
		}, "listener"),
}

// refusedEnterprises counts the enterprises that are refused, by the provider that refuses them:
// "none" stands for other upstreams, and for providers that the directory has no more.
func refusedEnterprises(v *operate.View) map[string]activity.Standing {
	all := make(map[string]activity.Standing)
	for _, p := range v.Directory.List() {
		all[p.ID] = activity.Standing{}
	}
	for _, of := range v.Activity.Standings() {
		provider := of.Provider
		if _, listed := all[provider]; !listed {
			provider = "none"
		}
		sum := all[provider]
		sum.Refused += of.Refused
		sum.InARow = max(sum.InARow, of.InARow)
		all[provider] = sum
	}
	return all
}
