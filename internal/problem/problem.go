// Package problem is the one place where an error becomes an answer.
//
// A Problem is a problem document of RFC 9457 in the form that the Belgif REST
// guide gives it: a type that is a URN, a title, a status, a detail that says
// what to do next, and an instance that names the occurrence. Input errors list
// their issues. A Problem is an error too, so the parts of the gateway return it
// as one; a part with an error type of its own makes that type a Reporter.
//
// Nothing internal belongs in a Problem: no host names, no addresses, no text of
// a library. What the platform team needs beyond the detail goes into Cause,
// which is logged and never sent.
package problem

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Problem is one problem document, and how it is to be sent.
type Problem struct {
	// Type is the URN of the problem type, Href a page about it, if there is one.
	Type, Href string
	// Title names the type in a few words, the same for every occurrence.
	Title string
	// Status is the HTTP status of the answer.
	Status int
	// Detail is about this occurrence and says what to do next.
	Detail string
	// Issues list the parts of the input that were wrong.
	Issues []Issue
	// Members are the type's own members, written after the standard ones.
	Members []Member
	// Header holds what the status asks for besides: Retry-After, Allow.
	Header http.Header
	// ProxyError is the error type of RFC 9209 for the Proxy-Status field.
	ProxyError string
	// Cause is for the log alone.
	Cause error
}

// Member is one further member of a problem document. Value is a string, a
// bool, an integer, a []string or a time.Time.
type Member struct {
	Name  string
	Value any
}

// Issue is one mistake in the input, as the Belgif guide lists them.
type Issue struct {
	// Type is one of the Issue… constants.
	Type string
	// In is "body", "header", "path" or "query".
	In string
	// Name is the parameter, or the JSON pointer of the member in a body.
	Name string
	// Value is what was sent; empty leaves the member out.
	Value string
	// Detail says what is wrong with it and what is expected.
	Detail string
}

// Types of issues under urn:problem-type:belgif:input-validation:.
const (
	IssueSchemaViolation = "schemaViolation"
	IssueInvalidInput    = "invalidInput"
	IssueRequiredInput   = "requiredInput"
)

// Reporter is an error that knows the problem it is to the caller.
type Reporter interface {
	error
	Problem() *Problem
}

// Error implements error with the detail and, for the log, the cause.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return p.Title + ": " + p.Detail + ": " + p.Cause.Error()
	}
	return p.Title + ": " + p.Detail
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Problem makes every Problem a Reporter of itself.
func (p *Problem) Problem() *Problem { return p }

// From finds the problem that err is, or an internal server error if nobody
// said what it is to the caller.
func From(err error) *Problem {
	var r Reporter
	if errors.As(err, &r) {
		return r.Problem()
	}
	return Internal(err)
}

// With adds a member and returns the problem.
func (p *Problem) With(name string, value any) *Problem {
	p.Members = append(p.Members, Member{name, value})
	return p
}

// Because sets the cause, for the log, and returns the problem.
func (p *Problem) Because(err error) *Problem {
	p.Cause = err
	return p
}

// Proxy sets the error type of RFC 9209 and returns the problem.
func (p *Problem) Proxy(errorType string) *Problem {
	p.ProxyError = errorType
	return p
}

func (p *Problem) header(name, value string) *Problem {
	if p.Header == nil {
		p.Header = make(http.Header, 1)
	}
	p.Header[name] = []string{value}
	return p
}

// Error types of RFC 9209, section 2.3, that the gateway uses.
const (
	ProxyDNSTimeout            = "dns_timeout"
	ProxyDNSError              = "dns_error"
	ProxyDestinationNotFound   = "destination_not_found"
	ProxyDestinationUnavail    = "destination_unavailable"
	ProxyIPProhibited          = "destination_ip_prohibited"
	ProxyIPUnroutable          = "destination_ip_unroutable"
	ProxyConnectionRefused     = "connection_refused"
	ProxyConnectionTerminated  = "connection_terminated"
	ProxyConnectionTimeout     = "connection_timeout"
	ProxyConnectionReadTimeout = "connection_read_timeout"
	ProxyConnectionWriteTimeo  = "connection_write_timeout"
	ProxyConnectionLimit       = "connection_limit_reached"
	ProxyTLSProtocolError      = "tls_protocol_error"
	ProxyTLSCertificateError   = "tls_certificate_error"
	ProxyTLSAlertReceived      = "tls_alert_received"
	ProxyRequestError          = "http_request_error"
	ProxyRequestDenied         = "http_request_denied"
	ProxyResponseIncomplete    = "http_response_incomplete"
	ProxyHeaderSectionSize     = "http_response_header_section_size"
	ProxyContentCoding         = "http_response_content_coding"
	ProxyResponseTimeout       = "http_response_timeout"
	ProxyProtocolError         = "http_protocol_error"
	ProxyInternalResponse      = "proxy_internal_response"
	ProxyInternalError         = "proxy_internal_error"
	ProxyConfigurationError    = "proxy_configuration_error"
	ProxyLoopDetected          = "proxy_loop_detected"
)

const (
	belgif      = "urn:problem-type:belgif:"
	own         = "urn:problem-type:ebox-gateway:"
	problemPage = "https://www.belgif.be/specification/rest/api-guide/problems/"
	issueType   = "urn:problem-type:belgif:input-validation:"
	issuePage   = "https://www.belgif.be/specification/rest/api-guide/issues/"
)

func standard(name, title string, status int, detail, proxyError string) *Problem {
	p := special("", title, status, detail, proxyError)
	p.Type, p.Href = belgif+name, problemPage+name+".html"
	return p
}

// special is a problem for which the Belgif guide has no type.
func special(name, title string, status int, detail, proxyError string) *Problem {
	return &Problem{Type: own + name, Title: title, Status: status, Detail: detail, ProxyError: proxyError}
}

// BadRequest is input that the gateway cannot send on: 400.
func BadRequest(detail string, issues ...Issue) *Problem {
	p := standard("badRequest", "Bad Request", http.StatusBadRequest, detail, ProxyRequestError)
	p.Issues = issues
	return p
}

// Unreadable is a request that is no HTTP, or none that the gateway speaks: 400, or what
// its status says (RFC 6585, section 5: 431; RFC 9110, sections 15.5.12, 15.5.15, 15.5.18,
// 15.6.2 and 15.6.6).
func Unreadable(status int, detail string) *Problem {
	p := BadRequest(detail)
	names := map[int]string{
		http.StatusRequestTimeout:              "requestTimeout",
		http.StatusLengthRequired:              "lengthRequired",
		http.StatusRequestURITooLong:           "uriTooLong",
		http.StatusExpectationFailed:           "expectationFailed",
		http.StatusRequestHeaderFieldsTooLarge: "requestHeaderFieldsTooLarge",
		http.StatusNotImplemented:              "notImplemented",
		http.StatusHTTPVersionNotSupported:     "httpVersionNotSupported",
	}
	if name, ok := names[status]; ok {
		p.Type, p.Href = own+name, ""
	}
	p.Status, p.Title = status, http.StatusText(status)
	return p
}

// Slow is a caller that sends its body too slowly, or stands still: 408 (RFC 9110, section
// 15.5.9).
func Slow() *Problem {
	return Unreadable(http.StatusRequestTimeout, "The request's body came too slowly, or not at all. Nothing was "+
		"sent, or not the whole of it. Send it again, faster than server.limits.minBodyRate and without pauses as long "+
		"as server.limits.bodyIdleTimeout.")
}

// NotFound is a path, provider or API that is not there: 404.
func NotFound(detail string, issues ...Issue) *Problem {
	p := standard("resourceNotFound", "Resource Not Found", http.StatusNotFound, detail, ProxyDestinationNotFound)
	p.Issues = issues
	return p
}

// MethodNotAllowed is a method that the route does not have: 405 with Allow.
func MethodNotAllowed(method string, allow []string) *Problem {
	list := strings.Join(allow, ", ")
	return special("methodNotAllowed", "Method Not Allowed", http.StatusMethodNotAllowed,
		"The method "+method+" is not available here. Use one of: "+list+".", ProxyRequestError).header("Allow", list)
}

// Forbidden is a caller, enterprise, route or action that is not allowed: 403.
func Forbidden(detail string, issues ...Issue) *Problem {
	p := standard("missingPermission", "Missing Permission", http.StatusForbidden, detail, ProxyRequestDenied)
	p.Issues = issues
	return p
}

// Misdirected is a Host that this gateway does not answer for: 421.
func Misdirected(detail string) *Problem {
	return special("misdirectedRequest", "Misdirected Request", http.StatusMisdirectedRequest, detail, ProxyRequestDenied)
}

// TooLarge is a body over the limit, in bytes: 413.
func TooLarge(limit int64, detail string) *Problem {
	return standard("payloadTooLarge", "Payload Too Large", http.StatusRequestEntityTooLarge, detail, ProxyRequestError).
		With("limit", limit)
}

// TooMany is a rate that was exceeded: 429 with the time to wait, rounded up to
// whole seconds.
func TooMany(limit int, wait time.Duration, detail string) *Problem {
	s := WholeSeconds(wait)
	return standard("tooManyRequests", "Too Many Requests", http.StatusTooManyRequests, detail, ProxyRequestDenied).
		With("limit", limit).With("retryAfterSec", s).header("Retry-After", itoa(s))
}

// Unavailable is something that is not there for now: 503. A positive wait is
// sent as Retry-After, rounded up to whole seconds; zero means it is not known.
func Unavailable(detail string, wait time.Duration) *Problem {
	p := standard("serviceUnavailable", "Service Unavailable", http.StatusServiceUnavailable, detail,
		ProxyDestinationUnavail)
	if wait > 0 {
		s := WholeSeconds(wait)
		p.With("retryAfterSec", s).header("Retry-After", itoa(s))
	}
	return p
}

// UnavailableUntil is something that comes back at a known moment: 503 with
// Retry-After as a date.
func UnavailableUntil(detail string, end time.Time) *Problem {
	return standard("serviceUnavailable", "Service Unavailable", http.StatusServiceUnavailable, detail,
		ProxyDestinationUnavail).
		With("retryAfter", end).header("Retry-After", end.UTC().Format(http.TimeFormat))
}

// ClientRefused is the Authorization Server's refusal of the client or of a
// scope: 502, and no Retry-After, since waiting does not help.
func ClientRefused(oauthCode, scope, detail string) *Problem {
	p := special("clientRefused", "Client Refused", http.StatusBadGateway, detail, ProxyConfigurationError).
		With("error", oauthCode)
	if scope != "" {
		p.With("scope", scope)
	}
	return p
}

// BadGateway is an upstream that could not be reached or gave no usable answer: 502.
func BadGateway(detail, proxyError string) *Problem {
	return standard("badGateway", "Bad Gateway", http.StatusBadGateway, detail, proxyError)
}

// Timeout is an upstream that was too slow: 504.
func Timeout(detail, proxyError string) *Problem {
	return special("gatewayTimeout", "Gateway Timeout", http.StatusGatewayTimeout, detail, proxyError)
}

// Internal is a fault of the gateway itself: 500. The cause is logged.
func Internal(cause error) *Problem {
	return standard("internalServerError", "Internal Server Error", http.StatusInternalServerError,
		"The gateway failed to handle this request. Tell the platform team the instance of this problem; it names the "+
			"request in the gateway's log.",
		ProxyInternalError).Because(cause)
}

// Clip bounds what a message repeats of somebody's input: 64 bytes, cut between characters.
func Clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// WholeSeconds is a wait as Retry-After says it, rounded up.
func WholeSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
