package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ebox-gateway/internal/call"
)

// span is a range of bytes, [from, to).
type span struct{ from, to int64 }

// rangeOf reads Range (RFC 9110, section 14.2) against a body of size bytes. asked is
// false if the whole is to be given: there is no range, one in another unit, several, or
// one that cannot be read. satisfiable is false if it lies beyond the end.
func rangeOf(values []string, size int64) (s span, asked, satisfiable bool) {
	if len(values) != 1 {
		return span{}, false, false
	}
	unit, set, _ := strings.Cut(values[0], "=")
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") {
		return span{}, false, false
	}
	from, begins := strconv.ParseUint(first, 10, 62)
	to, ends := strconv.ParseUint(last, 10, 62)
	s = span{int64(from), min(int64(to)+1, size)}
	switch {
	case first == "" && ends == nil: // the last bytes
		return span{max(size-int64(to), 0), size}, true, to > 0 && size > 0
	case begins == nil && last == "":
		s.to = size
	case begins != nil || ends != nil || to < from:
		return span{}, false, false
	}
	return s, true, s.from < size
}

// ifRange reports whether a range may be given: there is no If-Range, or what it names is
// exactly what is stored (RFC 9110, section 13.1.5).
func (e *Entry) ifRange(values []string) bool {
	if len(values) == 0 {
		return true
	}
	v := strings.Trim(values[0], " \t")
	if strings.HasPrefix(v, `"`) || strings.HasPrefix(v, "W/") {
		return v == e.facts.etag && v[0] == '"'
	}
	t, ok := httpDate(v)
	return ok && !e.facts.lastModified.IsZero() && t.Equal(e.facts.lastModified)
}

// isPart reports whether a 206 is the one part that the request asked for, without a
// condition. It is kept as what it is, an answer to that range, and given to whoever asks
// for the same (RFC 9111, section 3.3); it is neither cut nor joined to others.
func isPart(h http.Header, x *call.Call) bool {
	return len(x.Field("Range")) == 1 && len(x.Field("If-Range")) == 0 &&
		strings.HasPrefix(h.Get("Content-Range"), "bytes ")
}

// part gives the status and body of an answer to a request, and the value of
// Content-Range, empty if the whole is given.
func (e *Entry) part(x *call.Call) (status int, body []byte, contentRange string) {
	if e.Status != http.StatusOK || x.Method != http.MethodGet {
		return e.Status, e.Body, ""
	}
	size := int64(len(e.Body))
	s, asked, satisfiable := rangeOf(x.Field("Range"), size)
	switch {
	case !asked || !e.ifRange(x.Field("If-Range")):
		return e.Status, e.Body, ""
	case !satisfiable:
		return http.StatusRequestedRangeNotSatisfiable, nil, fmt.Sprintf("bytes */%d", size)
	}
	return http.StatusPartialContent, e.Body[s.from:s.to], fmt.Sprintf("bytes %d-%d/%d", s.from, s.to-1, size)
}
