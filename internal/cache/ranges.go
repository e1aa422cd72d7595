package cache

import (
	"net/http"
	"strconv"
	"strings"
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
	unit, set, ok := strings.Cut(values[0], "=")
	if !ok || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") || strings.IndexByte(set, ',') >= 0 {
		return span{}, false, false
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return span{}, false, false
	}
	if first == "" { // the last bytes
		n, ok := parsePosition(last)
		if !ok {
			return span{}, false, false
		}
		return span{max(size-n, 0), size}, true, n > 0 && size > 0
	}
	from, ok := parsePosition(first)
	if !ok {
		return span{}, false, false
	}
	to := size
	if last != "" {
		end, ok := parsePosition(last)
		if !ok || end < from {
			return span{}, false, false
		}
		to = min(end+1, size)
	}
	return span{from, to}, true, from < size
}

func parsePosition(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 62)
	return n, err == nil
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
func isPart(h http.Header, field func(string) []string) bool {
	return len(field("Range")) == 1 && len(field("If-Range")) == 0 && strings.HasPrefix(one(h["Content-Range"]), "bytes ")
}

// part gives the status and body of an answer to a request, and the value of
// Content-Range, empty if the whole is given.
func (e *Entry) part(method string, field func(string) []string) (status int, body []byte, contentRange string) {
	if e.Status != http.StatusOK || method != http.MethodGet {
		return e.Status, e.Body, ""
	}
	size := int64(len(e.Body))
	s, asked, satisfiable := rangeOf(field("Range"), size)
	switch {
	case !asked || !e.ifRange(field("If-Range")):
		return e.Status, e.Body, ""
	case !satisfiable:
		return http.StatusRequestedRangeNotSatisfiable, nil, "bytes */" + strconv.FormatInt(size, 10)
	}
	return http.StatusPartialContent, e.Body[s.from:s.to],
		"bytes " + strconv.FormatInt(s.from, 10) + "-" + strconv.FormatInt(s.to-1, 10) + "/" + strconv.FormatInt(size, 10)
}
