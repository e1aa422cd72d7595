package activity

import (
	"net/http"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// outcome is how a request ended.
type outcome uint8

const (
	// answered is an answer below 400.
	answered outcome = iota
	// incomplete is such an answer over all Document Providers that lacks some of them.
	incomplete
	// refusedHere and refusedThere are an answer of 400 to 499 by the gateway and by
	// the upstream.
	refusedHere
	refusedThere
	// failedHere is an error of 500 and more that the gateway is the author of, since the
	// upstream did not answer as it should; failedThere is one of the upstream's, or an
	// answer that the upstream did not finish.
	failedHere
	failedThere
	// notSent is an error of the gateway's own for which nobody was asked: there was no
	// token, the circuit was open, or the gateway is at fault.
	notSent
	// gone is a caller that did not wait for its answer.
	gone
)

// By is who ended a request so, in the words of a Problem.
func (o outcome) by() string {
	switch o {
	case refusedThere, failedThere:
		return "upstream"
	case gone:
		return "caller"
	}
	return "gateway"
}

func outcomeOf(r *call.Record) outcome {
	switch {
	case r.ProblemType != "" && r.Status >= http.StatusInternalServerError && r.Tries == 0:
		return notSent
	case r.ProblemType != "" && r.Status >= http.StatusInternalServerError:
		return failedHere
	case r.ProblemType != "":
		return refusedHere
	case r.Status == call.StatusClientGone, r.Cut && r.ProxyError != problem.ProxyResponseIncomplete:
		return gone
	case r.Status >= http.StatusInternalServerError, r.Cut:
		return failedThere
	case r.Status >= http.StatusBadRequest:
		return refusedThere
	}
	if r.Missing > 0 {
		return incomplete
	}
	return answered
}
