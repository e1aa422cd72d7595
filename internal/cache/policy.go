package cache

import (
	"maps"
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
	method string
	header http.Header
	cc     directives
	// conditional says that the caller has a precondition of its own, demanding that it
	// is one that only the upstream can judge (If-Match and its like).
	conditional, demanding bool
	// credentials says that the caller sent some of its own, passed that the upstream gets
	// them.
	credentials, passed bool
}

func newQuery(x *call.Call) query {
	h := x.Header
	q := query{method: x.Method, header: h, cc: noDirectives}
	if values, ok := h["Cache-Control"]; ok {
		q.cc = parseCacheControl(values)
	} else if pragma, ok := h["Pragma"]; ok { // section 5.4
		q.cc.noCache = parseCacheControl(pragma).noCache
	}
	q.conditional = len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
	q.demanding = len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
	q.passed = len(h["Authorization"]) > 0 && len(x.Field("Authorization")) > 0 || len(h["Cookie"]) > 0 &&
		len(x.Field("Cookie")) > 0
	q.credentials = q.passed || len(h["Authorization"]) > 0
	return q
}

// newEntry makes the entry of an answer whose header has come, or nil if the answer may
// not be stored (section 3). Its body is still to come.
func newEntry(q *query, resp *http.Response, field func(string) []string, p *call.Policy, requested,
	received time.Time) *Entry {
	if q.method != http.MethodGet || q.cc.noStore || q.demanding || !mayStoreStatus(resp.StatusCode) {
		return nil
	}
	if resp.StatusCode == http.StatusPartialContent && !isPart(resp.Header, field) {
		return nil
	}
	if resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && resp.Body != http.NoBody {
		// Its end is the end of the connection, and so is any accident.
		return nil
	}
	if resp.ContentLength > int64(p.MaxBody) {
		return nil
	}
	// Most answers that are not stored say so: nothing is copied for them.
	if cc := parseCacheControl(resp.Header["Cache-Control"]); (cc.noStore || cc.private) && !cc.mustUnderstand {
		return nil
	}
	selecting, ok := selectingFields(resp, field)
	if !ok {
		return nil
	}
	e := &Entry{
		Status: resp.StatusCode, Header: storedHeader(resp.Header, p), ProtoMajor: resp.ProtoMajor,
		ProtoMinor: resp.ProtoMinor,
		Requested:  requested, Received: received, Selecting: selecting,
	}
	e.prepare()
	if !e.mayBeStored(q) || e.keep(p) <= 0 {
		return nil
	}
	return e.forOthers()
}

// forOthers gives the entry as it is kept: without the fields that are private (section
// 5.2.2.7), and so for the one who asked alone.
func (e *Entry) forOthers() *Entry {
	if len(e.facts.cc.privateFields) == 0 {
		return e
	}
	n := *e
	n.Header = maps.Clone(e.Header)
	for _, name := range e.facts.cc.privateFields {
		delete(n.Header, name)
	}
	return &n
}

// mayStoreStatus leaves out what is no answer of its own, and the one that is about a
// range and not about the resource: whoever asks for the whole would get it too.
func mayStoreStatus(status int) bool {
	return status >= 200 && status != http.StatusNotModified && status != http.StatusRequestedRangeNotSatisfiable
}

// mayBeStored is what the answer itself has to say about it, and whether it is only for
// the caller that asked. Cookies are taken for credentials too, and a cookie that is set
// for that caller's alone unless the answer says its lifetime.
func (e *Entry) mayBeStored(q *query) bool {
	cc, f := &e.facts.cc, &e.facts
	if q.passed && !cc.forAll() || !f.saysLifetime && len(e.Header["Set-Cookie"]) > 0 {
		return false
	}
	switch {
	case cc.mustUnderstand:
		if !understood(e.Status) { // no-store is for those who do not understand it
			return false
		}
	case cc.noStore:
		return false
	}
	if cc.private {
		return false
	}
	return f.saysLifetime || cc.public || f.heuristic
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

// forAll tells that the answer to one caller with credentials may be given to others
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

// unstored tells the fields that speak of one connection, and cookies, which callers of
// the gateway get only where a route says so.
func unstored(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Set-Cookie", "Set-Cookie2":
		return true
	}
	return false
}

// selectingFields reads Vary; false if no request can be the same (section 4.1). field
// gives a field of the request as the upstream got it. A part is selected by the very
// range that brought it.
func selectingFields(resp *http.Response, field func(string) []string) ([]Selecting, bool) {
	var fields []Selecting
	if resp.StatusCode == http.StatusPartialContent {
		fields = append(fields, selectingField("Range", field), selectingField("If-Range", field))
	}
	for name := range wire.Members(resp.Header["Vary"]) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if name == "*" || !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
		if !slices.ContainsFunc(fields, func(s Selecting) bool { return s.Name == name }) {
			fields = append(fields, selectingField(name, field))
		}
	}
	slices.SortFunc(fields, func(a, b Selecting) int { return strings.Compare(a.Name, b.Name) })
	return fields, true
}

func selectingField(name string, field func(string) []string) Selecting {
	values := field(name)
	if len(values) == 0 {
		return Selecting{Name: name, Absent: true}
	}
	return Selecting{Name: name, Value: normalised(name, values)}
}

// selected reports whether the request selects this entry.
func (e *Entry) selected(field func(string) []string) bool {
	for i := range e.Selecting {
		s := &e.Selecting[i]
		values := field(s.Name)
		switch {
		case len(values) == 0:
			if !s.Absent {
				return false
			}
		case s.Absent:
			return false
		case len(values) == 1 && values[0] == s.Value:
		case normalised(s.Name, values) != s.Value:
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
func choose(variants []*Entry, mark Mark, field func(string) []string) *Entry {
	var best *Entry
	for _, e := range variants {
		if e.mark == mark && (best == nil || e.facts.date.After(best.facts.date) || e.facts.date.Equal(best.facts.date) &&
			e.Received.After(best.Received)) && e.selected(field) {
			best = e
		}
	}
	return best
}
