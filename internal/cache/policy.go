package cache

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/wire"
)

// query is what a request says that matters to a cache.
type query struct {
	cc directives
	// conditional says that the caller has a precondition of its own, demanding that it
	// is one that only the upstream can judge (If-Match and its like).
	conditional, demanding bool
	// credentials says that the caller sent some of its own, passed that the upstream gets
	// them.
	credentials, passed bool
}

func newQuery(x *call.Call) query {
	h := x.Header
	q := query{cc: noDirectives}
	if values, ok := h["Cache-Control"]; ok {
		q.cc = parseCacheControl(values)
	} else if pragma, ok := h["Pragma"]; ok { // section 5.4
		q.cc.noCache = parseCacheControl(pragma).noCache
	}
	q.conditional = len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
	q.demanding = len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
	q.passed = len(x.Field("Authorization")) > 0 || len(x.Field("Cookie")) > 0
	q.credentials = q.passed || len(h["Authorization"]) > 0
	return q
}

// newEntry makes the entry of an answer whose header has come, or nil if the answer may
// not be stored (section 3). Its body is still to come.
func (rd *reading) newEntry(resp *http.Response, received time.Time) *Entry {
	status, p := resp.StatusCode, rd.x.Keep.Policy
	switch {
	case rd.q.cc.noStore || rd.q.demanding,
		// What is no answer of its own, and the one that is about a range and not about the
		// resource: whoever asks for the whole would get it too.
		status < 200 || status == http.StatusNotModified || status == http.StatusRequestedRangeNotSatisfiable,
		status == http.StatusPartialContent && !isPart(resp.Header, rd.x),
		// Its end is the end of the connection, and so is any accident.
		resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && resp.Body != http.NoBody,
		resp.ContentLength > int64(p.MaxBody):
		return nil
	}
	// Most answers that are not stored say so: nothing is copied for them.
	if cc := parseCacheControl(resp.Header["Cache-Control"]); cc.forbids(status) {
		return nil
	}
	selecting, ok := selectingFields(resp, rd.x)
	if !ok {
		return nil
	}
	e := &Entry{
		Status: status, Header: storedHeader(resp.Header, p), ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Requested: rd.requested, Received: received, Selecting: selecting,
	}
	if e.prepare(); !e.mayBeStored(&rd.q) || e.keep(p) <= 0 {
		return nil
	}
	return e
}

// mayBeStored is what the answer itself has to say about it, and whether it is only for
// the caller that asked. Cookies are taken for credentials too, and a cookie that is set
// for that caller's alone unless the answer says its lifetime.
func (e *Entry) mayBeStored(q *query) bool {
	cc, f := &e.facts.cc, &e.facts
	if q.passed && !cc.forAll() || !f.saysLifetime && len(e.Header["Set-Cookie"]) > 0 {
		return false
	}
	return !cc.forbids(e.Status) && (f.saysLifetime || cc.public || f.heuristic)
}

// forbids reports whether an answer of this status says that it must not be stored. A no-store beside
// must-understand is for those who do not understand the status.
func (cc *directives) forbids(status int) bool {
	if cc.mustUnderstand {
		return cc.private || !understood(status)
	}
	return cc.private || cc.noStore
}

// sharable reports whether what one caller got may be given to callers of other
// enterprises. A caller with credentials of its own takes the answer for its own,
// whether or not they went on (section 3.5).
func (e *Entry) sharable(q *query, s config.Sharing) bool {
	cc := &e.facts.cc
	if q.credentials && !cc.forAll() {
		return false
	}
	return s == config.SharedAlways || s == config.SharedPublic && cc.public
}

// forAll reports whether the answer to one caller with credentials may be given to others
// (section 3.5).
func (cc *directives) forAll() bool {
	return cc.public || cc.sMaxAge != absent || cc.mustRevalidate
}

// storedHeader copies what may be stored of a header (section 3.1).
func storedHeader(from http.Header, p *call.Policy) http.Header {
	h := make(http.Header, len(from)+2)
	for name, values := range from {
		if !unstored(name) || p.Cookies && (name == "Set-Cookie" || name == "Set-Cookie2") {
			h[name] = values
		}
	}
	call.DropListed(h, from["Connection"])
	return h
}

// unstored reports whether a field is not kept: one about a single connection, or a cookie, which
// callers of the gateway get only where a route says so.
func unstored(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Set-Cookie", "Set-Cookie2":
		return true
	}
	return false
}

// selectingFields reads Vary; false if no request can be the same (section 4.1). A part is
// selected by the very range that brought it.
func selectingFields(resp *http.Response, x *call.Call) ([]Selecting, bool) {
	var fields []Selecting
	add := func(name string) {
		if !slices.ContainsFunc(fields, func(s Selecting) bool { return s.Name == name }) {
			fields = append(fields, selectingField(name, x))
		}
	}
	if resp.StatusCode == http.StatusPartialContent {
		add("Range")
		add("If-Range")
	}
	for name := range wire.Members(resp.Header["Vary"]) {
		if name == "*" || !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
		add(textproto.CanonicalMIMEHeaderKey(name))
	}
	slices.SortFunc(fields, func(a, b Selecting) int { return strings.Compare(a.Name, b.Name) })
	return fields, true
}

// selectingField is a field of the request as the upstream gets it.
func selectingField(name string, x *call.Call) Selecting {
	values := x.Field(name)
	if len(values) == 0 {
		return Selecting{Name: name, Absent: true}
	}
	return Selecting{Name: name, Value: normalised(name, values)}
}

// selected reports whether the request selects this entry.
func (e *Entry) selected(x *call.Call) bool {
	for _, s := range e.Selecting {
		values := x.Field(s.Name)
		same := len(values) == 1 && values[0] == s.Value && !s.Absent // the most frequent case
		if !same && selectingField(s.Name, x) != s {
			return false
		}
	}
	return true
}

// normalised joins the lines of a field and takes out blanks that mean nothing. The
// codings, charsets and languages that a request accepts are compared without regard to
// case; their order, where it means nothing either, is made the same.
func normalised(name string, values []string) string {
	parts := slices.Collect(wire.Members(values))
	switch name {
	case "Accept-Encoding", "Accept-Charset", "Accept-Language":
		for i, part := range parts {
			parts[i] = strings.ToLower(strings.ReplaceAll(part, " ", ""))
		}
		slices.Sort(parts)
	}
	return strings.Join(parts, ", ")
}

// choose gives, of the variants that the request selects, the one that was received
// last (section 4); nil if there is none.
func choose(variants []*Entry, mark Mark, x *call.Call) *Entry {
	var best *Entry
	for _, e := range variants {
		if e.mark == mark && (best == nil || e.facts.date.After(best.facts.date) || e.facts.date.Equal(best.facts.date) &&
			e.Received.After(best.Received)) && e.selected(x) {
			best = e
		}
	}
	return best
}
