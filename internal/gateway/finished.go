package gateway

import "ebox-gateway/internal/call"

// finished is what becomes of each finished record, in this order. A new observer is
// added here and nowhere else. None may keep the record, and none may wait: the
// caller's connection waits with it.
func (g *Gateway) finished() func(*call.Record) {
	observers := []func(*call.Record){
		g.o.Done, // the access log
		g.activity.Done,
		g.metrics.Done,
		g.trace,
		g.record, // the evidence, and the log of refusals
	}
	return func(r *call.Record) {
		for _, observe := range observers {
			observe(r)
		}
	}
}
