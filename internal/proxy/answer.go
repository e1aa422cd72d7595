package proxy

import (
	"net/http"
	"slices"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// answerHeader writes the header of the answer into h, the caller's: what may pass, and what
// the gateway adds. A rewritten body loses the fields that describe its bytes. h may hold fields
// of the layers before, which stay unless the upstream says otherwise; Vary of both counts.
func (x *exchange) answerHeader(h http.Header) {
	a, c := x.a, x.c
	vary := h["Vary"]
	for name, values := range a.Header {
		if x.rewritten && describesBytes(name) {
			continue
		}
		if values = x.passed(name, values); values != nil {
			h[name] = values
		}
	}
	if theirs := a.Header["Vary"]; len(vary) > 0 && len(theirs) > 0 {
		h["Vary"] = appendTo(vary, theirs)
	}
	call.DropListed(h, a.Header["Connection"])
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or the server would guess one
	}
	h["Via"] = appendTo(h["Via"], via(a.ProtoMajor, a.ProtoMinor))
	if a.Cache != "" {
		h["Cache-Status"] = appendTo(h["Cache-Status"], []string{problem.Pseudonym + "; " + a.Cache})
	}
	if a.Age != "" {
		h["Age"] = []string{a.Age}
	}
	nameKey(h, a.Status, c)
	// An upstream's success at the first try needs no explanation, nor does an answer
	// that came from the cache.
	if tries := c.Record.Tries; tries > 1 || tries == 1 && a.Status >= 400 {
		h["Proxy-Status"] = appendTo(h["Proxy-Status"], []string{problem.ProxyStatus("", a.Status, tries)})
	}
}

// passed gives the values of a field of the upstream's as the caller gets them, be it in an
// interim answer, in the header or behind the body: with links rewritten, and without what
// speaks in the gateway's name. It is nil for a field that goes no further.
func (x *exchange) passed(name string, values []string) []string {
	switch {
	case dropsFrom(x.c.To, name):
		return nil
	case name == "Cache-Status", name == "Proxy-Status":
		return notOurs(values)
	case !x.c.To.RewriteLinks:
	case name == "Location", name == "Content-Location":
		return x.links.Header(values)
	case name == "Link":
		return x.links.LinkHeader(values)
	}
	return values
}

// nameKey names the key of a publication in the header of a 502 or 504, be it the
// gateway's or the upstream's own, whose body is not touched: sent again with it, the same
// takes effect once.
func nameKey(h http.Header, status int, c *call.Call) {
	if c.IdempotencyKey != "" && (status == http.StatusBadGateway || status == http.StatusGatewayTimeout) {
		h[call.IdempotencyField] = []string{c.IdempotencyKey}
	}
}

// notOurs leaves out of the values of a list field (RFC 9209, RFC 9211) the members in
// this gateway's name: a provider that writes one would speak for the gateway.
func notOurs(values []string) []string {
	mayBeOurs := func(v string) bool { return strings.Contains(strings.ToLower(v), problem.Pseudonym) }
	if !slices.ContainsFunc(values, mayBeOurs) {
		return values
	}
	var kept []string
	for member := range wire.Members(values) {
		name, _, _ := strings.Cut(member, ";")
		if name = strings.Trim(name, " \t\""); !strings.EqualFold(name, problem.Pseudonym) {
			kept = append(kept, member)
		}
	}
	return kept
}

// appendTo joins the entries of a list field without touching either slice.
func appendTo(values, more []string) []string {
	if len(values) == 0 {
		return more
	}
	return append(values[:len(values):len(values)], more...)
}

// rewritesBody reports whether links in the body of the answer are to be rewritten: it is
// JSON, whole, and no problem document, which reaches the caller byte for byte.
func rewritesBody(a *call.Answer, c *call.Call) bool {
	if !c.To.RewriteLinks || c.Document {
		return false
	}
	types := a.Header["Content-Type"]
	return len(types) > 0 && isJSON(types[0])
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimRight(media, " \t"))
	return media == "application/json" || strings.HasSuffix(media, "+json") && media != problem.ContentType
}

// hasBody reports whether an answer to this method with this status can have a body.
func hasBody(method string, status int) bool {
	return method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified
}

// announceTrailers names in h the trailers that may pass: those that the upstream announced, or
// that have come already.
func (x *exchange) announceTrailers(h http.Header) {
	var names []string
	for name, values := range x.a.Trailer {
		if x.passesAsTrailer(name) && (values == nil || len(x.passed(name, values)) > 0) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		h["Trailer"] = []string{strings.Join(names, ", ")}
	}
}

// passTrailers hands on, after the body, the trailers that came, announced or not.
func (x *exchange) passTrailers(h http.Header) {
	for name, values := range x.a.Trailer {
		if !x.passesAsTrailer(name) {
			continue
		}
		if values = x.passed(name, values); len(values) > 0 {
			h[http.TrailerPrefix+name] = values
		}
	}
}

func (x *exchange) passesAsTrailer(name string) bool {
	return wire.MayTrail(name) && !dropsFrom(x.c.To, name) && !(x.rewritten && describesBytes(name)) &&
		!call.Listed(x.a.Header["Connection"], name)
}
