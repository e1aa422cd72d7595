package cache

import (
	"maps"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/wire"
)

// etagOf gives the entity tag of an answer as it is written, if it can be compared.
func etagOf(h http.Header) string {
	return strings.Trim(h.Get("Etag"), " \t")
}

// opaque is what is compared of a tag when weakness does not count.
func opaque(tag string) string { return strings.TrimPrefix(tag, "W/") }

// matchesAny reports whether an If-None-Match names the tag, weakly compared, or is "*".
func matchesAny(values []string, tag string) bool {
	for item := range wire.Members(values) {
		if item == "*" || tag != "" && opaque(item) == opaque(tag) {
			return true
		}
	}
	return false
}

// notModified judges the caller's own precondition by a stored answer (section 4.3.2):
// If-None-Match if there is one, else If-Modified-Since.
func (e *Entry) notModified(h http.Header) bool {
	if e.Status != http.StatusOK && e.Status != http.StatusPartialContent {
		return false
	}
	if tags := h["If-None-Match"]; len(tags) > 0 {
		return matchesAny(tags, e.facts.etag)
	}
	since, ok := httpDate(h.Get("If-Modified-Since"))
	if !ok {
		return false
	}
	modified := e.facts.lastModified
	if modified.IsZero() {
		modified = e.facts.date
	}
	return !modified.After(since)
}

// question gives the preconditions with which the upstream is asked whether the entry
// still holds (section 4.3.1), in place of the caller's: its own are judged by what comes.
func (e *Entry) question() *call.Question {
	q := new(call.Question)
	if e.facts.etag != "" {
		q.IfNoneMatch = []string{e.facts.etag}
	}
	if !e.facts.lastModified.IsZero() {
		q.IfModifiedSince = e.Header["Last-Modified"][:1:1]
	}
	return q
}

// freshened gives the entry with what a 304, or the answer to a HEAD, says anew
// (section 3.2).
func (e *Entry) freshened(answer http.Header, p *call.Policy, requested, received time.Time) *Entry {
	h := maps.Clone(e.Header)
	delete(h, "Age") // it is that of the old answer, and so is the date
	delete(h, "Date")
	for name, values := range storedHeader(answer, p) {
		if !describesBytes(name) && name != "Etag" && name != "Cache-Status" {
			h[name] = values
		}
	}
	n := *e
	n.Header, n.Requested, n.Received, n.facts = h, requested, received, facts{}
	return n.prepare()
}

// describesBytes reports whether a field is about the bytes as they are stored: their length,
// coding or checksum.
func describesBytes(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest":
		return true
	}
	return false
}

// sameAs reports whether the answer to a HEAD is about what is stored (section 4.3.5).
func (e *Entry) sameAs(head *http.Response) bool {
	h := head.Header
	for _, name := range [...]string{"Etag", "Last-Modified", "Content-Length"} {
		if v := h.Get(name); v != "" && v != e.Header.Get(name) {
			return false
		}
	}
	return head.StatusCode == e.Status
}
