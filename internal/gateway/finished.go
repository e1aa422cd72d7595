package gateway

import "ebox-gateway/internal/exchange"

// finished is what becomes of each finished record, in this order. A new observer is
// added here and nowhere else. None may keep the record, and none may wait: the
// caller's connection waits with it.
func (g *Gateway) finished() func(*exchange.Record) {
	observers := []func(*exchange.Record){
		g.o.Done, // the access log
		g.activity.Done,
		g.metrics.Done,
		g.trace,
		g.record, // the evidence, and the log of refusals
	}
	return func(r *exchange.Record) {
		for _, observe := range observers {
			observe(r)
		}
	}
}
