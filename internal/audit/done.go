package audit

import (
	"net/http"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
)

// Done records a finished request, if it is evidence:
//
//   - a read that its caller got, from the upstream or the cache;
//   - an opening that reached the provider, whatever came of it;
//   - the outcome of every write whose intent was recorded or that was sent.
//
// What is about nobody, a health check or the reference data, is none, and neither are
// reads that failed. Done does not wait and does not keep the record.
func (l *Log) Done(r *call.Record) {
	kind, ok := kindOfCall(r)
	if !ok {
		return
	}
	l.addCall(kind, r)
}

func (l *Log) addCall(kind Kind, r *call.Record) {
	e := entry{kind: kind, at: r.Start.Add(r.Phases.Total), call: *r.Detached()}
	l.add(&e)
}

func kindOfCall(r *call.Record) (Kind, bool) {
	switch {
	case r.Route == "" || r.Upstream == "":
		return "", false // the gateway's own answer
	case r.Intent:
		return KindOutcome, true
	case writes(r.Method, r.Action):
		return KindOutcome, r.Sent
	case r.Action == ebox.None:
		return "", false
	case r.Opening:
		return KindOpening, r.Sent
	case r.Status == 0 || r.Status >= http.StatusBadRequest || r.ProblemType != "":
		return "", false
	case r.Method == http.MethodOptions || ebox.IsReference(r.Path):
		return "", false
	}
	return KindRead, true
}

// MayRecord tells a request that may end as a record of its own, before it is known
// how it ends.
func MayRecord(r *call.Record) bool {
	if writes(r.Method, r.Action) {
		return true
	}
	return r.Action != ebox.None && r.Method != http.MethodOptions && !ebox.IsReference(r.Path)
}
