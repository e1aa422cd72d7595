package proxy

import (
	"net/http"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Values that many messages share. Nobody changes them in place.
var (
	trailersToken = []string{"trailers"}
	identityToken = []string{"identity"}
	closeToken    = []string{"close"}

	via10 = []string{"1.0 " + problem.Pseudonym}
	via11 = []string{"1.1 " + problem.Pseudonym}
	via20 = []string{"2.0 " + problem.Pseudonym}
)

// via is the gateway's entry in Via for a message received in this version.
func via(major, minor int) []string {
	switch {
	case major == 2:
		return via20
	case major == 1 && minor == 0:
		return via10
	}
	return via11
}

// answerHeader writes the header of resp into h, the caller's: what may pass, with
// links rewritten, and what the gateway adds. A rewritten body loses the fields that
// describe its bytes. h may hold fields of the layers before, which stay unless the
// upstream says otherwise; Vary of both counts.
func (p *Proxy) answerHeader(h http.Header, resp *http.Response, c *Call, rec *call.Record, m *linkMap, rewritten bool) {
	vary := h["Vary"]
	for name, values := range resp.Header {
		if c.Upstream.dropsFromAnswer(name) || rewritten && describesBytes(name) {
			continue
		}
		h[name] = values
	}
	if len(vary) > 0 && len(resp.Header["Vary"]) > 0 {
		h["Vary"] = append(vary[:len(vary):len(vary)], resp.Header["Vary"]...)
	}
	dropListed(h, resp.Header)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or the server would guess one
	}
	if c.Upstream.RewriteLinks {
		if v, ok := h["Location"]; ok {
			h["Location"] = m.header(v)
		}
		if v, ok := h["Content-Location"]; ok {
			h["Content-Location"] = m.header(v)
		}
		if v, ok := h["Link"]; ok {
			h["Link"] = m.linkHeader(v)
		}
	}
	h["Via"] = appendTo(h["Via"], via(resp.ProtoMajor, resp.ProtoMinor))
	h["X-Request-Id"] = []string{rec.ID}
	h["X-Ebox-Environment"] = p.environment
	// An upstream's success at the first try needs no explanation, nor does an
	// answer that came from the cache.
	if rec.Tries > 1 || rec.Tries == 1 && resp.StatusCode >= 400 {
		h["Proxy-Status"] = appendTo(h["Proxy-Status"], []string{problem.ProxyStatus("", resp.StatusCode, rec.Tries)})
	}
}

// appendTo joins the entries of a list field without touching either slice.
func appendTo(values, more []string) []string {
	if len(values) == 0 {
		return more
	}
	return append(values[:len(values):len(values)], more...)
}

// rewritesBody tells whether links in the body of resp are to be rewritten: it is
// JSON, whole, not coded, and no problem document, which reaches the caller byte for
// byte.
func rewritesBody(resp *http.Response, c *Call) bool {
	if !c.Upstream.RewriteLinks || c.Document || resp.StatusCode == http.StatusPartialContent {
		return false
	}
	for _, coding := range resp.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return false
		}
	}
	types := resp.Header["Content-Type"]
	return len(types) > 0 && isJSON(types[0])
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimRight(media, " \t")
	const suffix = "+json"
	return strings.EqualFold(media, "application/json") ||
		len(media) > len(suffix) && strings.EqualFold(media[len(media)-len(suffix):], suffix) &&
			!strings.EqualFold(media, problem.ContentType)
}

// hasBody tells whether an answer to this method with this status can have a body.
func hasBody(method string, status int) bool {
	return method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified
}

// announceTrailers names in h the trailers that the upstream announced and that may
// pass.
func announceTrailers(h http.Header, resp *http.Response, rewritten bool) {
	var names []string
	for name := range resp.Trailer {
		if passesAsTrailer(name, rewritten) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		h["Trailer"] = []string{strings.Join(names, ", ")}
	}
}

// passTrailers hands on, after the body, the trailers that came, announced or not.
func passTrailers(h http.Header, resp *http.Response, announced string, rewritten bool) {
	for name, values := range resp.Trailer {
		if len(values) == 0 || !passesAsTrailer(name, rewritten) {
			continue
		}
		if !listHas(announced, name) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

func passesAsTrailer(name string, rewritten bool) bool {
	return !dropsFromAnswer(name) && mayTrail(name) && name != "Content-Length" && name != "Host" &&
		name != "X-Request-Id" && name != "X-Ebox-Environment" && !(rewritten && describesBytes(name))
}

func listHas(list, name string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ", ")
		if item == name {
			return true
		}
	}
	return false
}
