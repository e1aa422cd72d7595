package authn

import (
	"strings"

	"ebox-gateway/internal/metric"
)

// Metrics are what Prometheus reads of the OAuth clients.
var Metrics = metric.Table[[]ClientStatus]{
	metric.Counters("token_requests_total",
		"Ends of token requests: granted, refused (the Authorization Server said no) or unavailable.",
		ofClients(func(c *ClientStatus, put metric.Put) {
			put(sumOf(c, func(t *TokenStatus) uint64 { return t.Granted }), c.Name, "granted")
			put(sumOf(c, func(t *TokenStatus) uint64 { return t.Refusals }), c.Name, "refused")
			put(sumOf(c, func(t *TokenStatus) uint64 { return t.Outages }), c.Name, "unavailable")
		}), "client", "outcome"),
	metric.Counters("token_forced_renewals_total", "Tokens dropped because an upstream answered 401.",
		ofClients(func(c *ClientStatus, put metric.Put) {
			put(sumOf(c, func(t *TokenStatus) uint64 { return t.Forced }), c.Name)
		}), "client"),
	metric.Gauges("token_failing",
		"1 while some token of the client cannot be had: refused, unavailable, or key (its key cannot be loaded).",
		ofClients(func(c *ClientStatus, put metric.Put) {
			refused, away := false, false
			for _, t := range c.Tokens {
				away = away || t.Error != nil && t.Error.Code == Unavailable
				refused = refused || t.Error != nil && t.Error.Code != Unavailable
			}
			put(metric.One(refused), c.Name, "refused")
			put(metric.One(away), c.Name, "unavailable")
			put(metric.One(c.KeyError != nil), c.Name, "key")
		}), "client", "reason"),
	metric.Gauges("token_expiry_timestamp_seconds", "When the token for the scopes expires, while there is one.",
		ofClients(func(c *ClientStatus, put metric.Put) {
			for _, t := range c.Tokens {
				put.Time(t.Expires, c.Name, strings.Join(t.Scopes, " "))
			}
		}), "client", "scopes"),
	metric.Gauges("certificate_expiry_timestamp_seconds",
		"When the client's certificate expires: that of the key that signs, or of one that is pending.",
		ofClients(func(c *ClientStatus, put metric.Put) {
			if c.Key != nil {
				put.Time(c.Key.NotAfter, c.Name, "current")
			}
			if c.Pending != nil {
				put.Time(c.Pending.NotAfter, c.Name, "pending")
			}
		}), "client", "key"),
	metric.Gauges("clock_difference_seconds",
		"How far the clock of the client's Authorization Server is ahead of the gateway's, by the Date of its last "+
			"answer, to half a second; negative if it is behind. Absent before the first answer.",
		ofClients(func(c *ClientStatus, put metric.Put) {
			if c.Clock != nil {
				put(c.Clock.AheadSeconds, c.Name)
			}
		}), "client"),
	metric.Gauges("key_pending", "1 while a new key of the client was loaded and has not got a token yet.",
		ofClients(func(c *ClientStatus, put metric.Put) { put(metric.One(c.Pending != nil), c.Name) }), "client"),
}

// ofClients reads each client.
func ofClients(read func(*ClientStatus, metric.Put)) func(*[]ClientStatus, metric.Put) {
	return func(clients *[]ClientStatus, put metric.Put) {
		for i := range *clients {
			read(&(*clients)[i], put)
		}
	}
}

// sumOf adds up what the tokens of a client say.
func sumOf(c *ClientStatus, count func(*TokenStatus) uint64) (sum float64) {
	for i := range c.Tokens {
		sum += float64(count(&c.Tokens[i]))
	}
	return sum
}
