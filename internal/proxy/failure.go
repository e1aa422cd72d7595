package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// failed answers the caller after the call failed with err. a, unless nil, has what the
// cache did.
func (x *exchange) failed(a *call.Answer, err error) {
	if a != nil && a.Cache != "" {
		x.w.Header()["Cache-Status"] = []string{problem.Pseudonym + "; " + a.Cache}
	}
	bodyErr := x.body.ended()
	ctx := x.r.Context()
	var own *problem.Problem
	switch {
	case errors.Is(bodyErr, errBodyTooLarge):
		x.refuse(tooLarge(x.c.MaxBody))
		return
	case errors.As(bodyErr, &own):
		x.refuse(cutShort(own, x.c.Record.Sent))
		return
	case errors.Is(ctx.Err(), context.Canceled), bodyErr != nil && gone(bodyErr):
		x.clientGone(err)
	case errors.Is(bodyErr, os.ErrDeadlineExceeded):
		x.refuse(problem.Slow().Because(bodyErr))
		return
	case bodyErr != nil && bodyErr != io.EOF:
		x.refuse(problem.BadRequest("The request body could not be read to its end. Send it again, whole and correctly " +
			"framed.").Because(bodyErr))
		return
	}
	var reporter problem.Reporter
	if errors.As(err, &reporter) {
		x.refuse(reporter.Problem())
		return
	}
	f := x.p.o.Classify(err)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.Timeout, f.Cancelled = true, false
	}
	x.c.Record.Sent = x.c.Record.Sent || f.Sent
	x.refuse(upstreamProblem(f, x.c, x.c.Record.Sent).Because(err))
}

// cutShort is the problem for which a body was refused while it went up.
func cutShort(p *problem.Problem, sent bool) *problem.Problem {
	if !sent {
		return p
	}
	told := *p
	told.Detail += " The beginning of the request had been sent, and was cut short: the upstream never got its end."
	return &told
}

// gone reports whether the caller's connection ended within its body.
func gone(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && !op.Timeout()
}

// clientGone ends the exchange of a caller that went away. Nothing is written: to return
// without an answer would have the server send an empty 200.
func (x *exchange) clientGone(cause error) {
	x.c.Record.Status, x.c.Record.Cause = call.StatusClientGone, cause
	panic(http.ErrAbortHandler)
}

// refuse answers with a problem of the gateway's.
func (x *exchange) refuse(p *problem.Problem) {
	rec := x.c.Record
	rec.Status, rec.ProblemType, rec.ProxyError, rec.Detail, rec.Cause = p.Status, p.Type, p.ProxyError, p.Detail, p.Cause
	rec.Planned = p.Planned
	if p.Status == http.StatusInternalServerError {
		x.p.o.Log.ErrorContext(x.r.Context(), "the gateway failed to handle a request", "request", rec.ID, "upstream",
			rec.Upstream, "cause", p.Cause)
	}
	nameKey(x.w.Header(), p.Status, x.c)
	problem.Write(x.w, x.r, p, rec.ID, rec.Tries)
}

func tooLarge(limit int64) *problem.Problem {
	return problem.TooLarge(limit, "The request body is larger than this route allows. The member limit says how "+
		"many bytes it may have.")
}

// upstreamProblem is what a failure of the transport is to the caller: 502, or 504
// if the upstream was too slow. After a write it says whether the request was sent.
func upstreamProblem(f call.Failure, c *call.Call, sent bool) *problem.Problem {
	kind := f.Kind
	if kind == "" {
		switch {
		case f.Timeout:
			kind = problem.ProxyResponseTimeout
		case f.Cancelled:
			kind = problem.ProxyInternalError
		default:
			kind = problem.ProxyProtocolError
		}
	}
	detail, known := explanations[kind]
	switch {
	case known:
	case f.Timeout:
		detail = "The upstream did not answer in time."
	default:
		detail = "The upstream gave no usable answer."
	}
	safe := c.Method == http.MethodGet || c.Method == http.MethodHead || c.Method == http.MethodOptions
	switch {
	case c.Opening && sent:
		detail += " The request had been sent: the document may be marked as read. It was not sent again."
	case c.IdempotencyKey != "" && sent:
		detail += " The request had been sent and may have taken effect. Send the same again with the header " +
			"Idempotency-Key: " + c.IdempotencyKey +
			" (409 then says that it had taken effect)."
	case safe:
		detail += " Try again later."
	case sent:
		detail += " The request had been sent and may have taken effect: find out whether it did before sending it again."
	default:
		detail += " The request was not sent, so it had no effect and can be sent again later."
	}
	var p *problem.Problem
	if f.Timeout {
		p = problem.Timeout(detail, kind)
	} else {
		p = problem.BadGateway(detail, kind)
	}
	if !safe {
		p.With("requestSent", sent)
		if c.IdempotencyKey != "" {
			p.With("idempotencyKey", c.IdempotencyKey)
		}
	}
	return p
}

// explanations say in a sentence what happened, without a host, an address or a text of a
// library, by the error type of RFC 9209.
var explanations = map[string]string{
	problem.ProxyDNSError:             "The name of the upstream could not be resolved.",
	problem.ProxyDNSTimeout:           "The name of the upstream could not be resolved.",
	problem.ProxyConnectionRefused:    "The upstream refused the connection.",
	problem.ProxyConnectionTimeout:    "No connection to the upstream could be made in time.",
	problem.ProxyConnectionTerminated: "The upstream ended the connection before it had answered.",
	problem.ProxyTLSProtocolError:     "No TLS connection to the upstream could be made.",
	problem.ProxyTLSAlertReceived:     "No TLS connection to the upstream could be made.",
	problem.ProxyTLSCertificateError:  "The upstream's certificate could not be trusted.",
	problem.ProxyIPProhibited:         "The upstream has no address that the gateway may connect to.",
	problem.ProxyIPUnroutable:         "The upstream has no address that the gateway may connect to.",
	problem.ProxyDestinationUnavail:   "The upstream has no address that the gateway may connect to.",
	problem.ProxyResponseIncomplete:   "The upstream's answer was cut short.",
	problem.ProxyInternalError:        "The gateway gave up before the upstream had answered.",
	problem.ProxyHeaderSectionSize:    "The header of the upstream's answer was too large.",
	problem.ProxyContentCoding: "The upstream's answer has a content coding that was not asked for and that cannot be " +
		"undone.",
}
