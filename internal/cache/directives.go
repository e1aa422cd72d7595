package cache

import (
	"net/textproto"
	"strings"
	"time"
)

// absent stands for a directive that is not there.
const absent = time.Duration(-1)

// forever is what a number of seconds means that is too large to count (RFC 9111,
// section 1.2.2).
const forever = time.Duration(1<<31) * time.Second

// directives are those of a Cache-Control field that this cache knows, of a request or
// of an answer. Durations are absent where the directive is; one that cannot be read is
// 0, which makes what it is about stale (section 4.2.1).
type directives struct {
	noStore, private, public       bool
	noCache                        bool
	mustRevalidate, mustUnderstand bool // must- and proxy-revalidate are one to a shared cache
	onlyIfCached                   bool
	// noCacheFields and privateFields are those named by the qualified forms, in
	// canonical form; then noCache and private are false.
	noCacheFields, privateFields []string

	maxAge, sMaxAge          time.Duration
	staleWhile, staleIfError time.Duration
	minFresh, maxStale       time.Duration
	anyMember                bool
}

var noDirectives = directives{maxAge: absent, sMaxAge: absent, staleWhile: absent, staleIfError: absent,
	minFresh: absent, maxStale: absent}

// parseCacheControl reads the field. It takes what it can make sense of: nobody who
// writes no-store means it less because of a comma too many.
func parseCacheControl(values []string) directives {
	d := noDirectives
	for _, rest := range values {
		for rest != "" {
			var m member
			m, rest = nextMember(rest)
			if m.name != "" {
				d.anyMember = true
				d.add(m)
			}
		}
	}
	return d
}

// member is one directive as it was written.
type member struct {
	name, value string
	hasValue    bool
	spaced      bool // blanks around "=", which the grammar does not have
}

// nextMember takes the first directive off a list. A comma in a quoted string does not
// part.
func nextMember(s string) (m member, rest string) {
	s = strings.TrimLeft(s, " \t,")
	i := strings.IndexAny(s, "=,")
	if i < 0 {
		return member{name: textproto.TrimString(s)}, ""
	}
	m.name = strings.TrimRight(s[:i], " \t")
	m.spaced = len(m.name) != i
	if s[i] == ',' {
		m.spaced = false
		return m, s[i+1:]
	}
	m.hasValue = true
	s = s[i+1:]
	if trimmed := strings.TrimLeft(s, " \t"); len(trimmed) != len(s) {
		m.spaced, s = true, trimmed
	}
	if strings.HasPrefix(s, `"`) {
		var text string
		text, s = unquote(s[1:])
		m.value = text
		if i := strings.IndexByte(s, ','); i >= 0 {
			return m, s[i+1:]
		}
		return m, ""
	}
	if i := strings.IndexByte(s, ','); i >= 0 {
		m.value, rest = s[:i], s[i+1:]
	} else {
		m.value = s
	}
	m.value = strings.TrimRight(m.value, " \t")
	return m, rest
}

// unquote reads a quoted string up to its end, or the end of s.
func unquote(s string) (text, rest string) {
	end := strings.IndexAny(s, `"\`)
	if end < 0 {
		return s, ""
	}
	if s[end] == '"' {
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

func (d *directives) add(m member) {
	switch {
	case is(m.name, "no-store"):
		d.noStore = true
	case is(m.name, "no-cache"):
		d.noCacheFields, d.noCache = qualified(m, d.noCacheFields, d.noCache)
	case is(m.name, "private"):
		d.privateFields, d.private = qualified(m, d.privateFields, d.private)
	case is(m.name, "public"):
		d.public = true
	case is(m.name, "must-revalidate"), is(m.name, "proxy-revalidate"):
		d.mustRevalidate = true
	case is(m.name, "must-understand"):
		d.mustUnderstand = true
	case is(m.name, "only-if-cached"):
		d.onlyIfCached = true
	case is(m.name, "max-age"):
		d.maxAge = m.seconds(d.maxAge)
	case is(m.name, "s-maxage"):
		d.sMaxAge = m.seconds(d.sMaxAge)
	case is(m.name, "stale-while-revalidate"):
		d.staleWhile = m.seconds(d.staleWhile)
	case is(m.name, "stale-if-error"):
		d.staleIfError = m.seconds(d.staleIfError)
	case is(m.name, "min-fresh"):
		d.minFresh = m.seconds(d.minFresh)
	case is(m.name, "max-stale"):
		if !m.hasValue { // however stale
			d.maxStale = forever
			return
		}
		d.maxStale = m.seconds(d.maxStale)
	}
}

func is(name, directive string) bool {
	return len(name) == len(directive) && strings.EqualFold(name, directive)
}

// qualified reads no-cache and private: with field names they are about those alone.
func qualified(m member, fields []string, whole bool) ([]string, bool) {
	if !m.hasValue || whole {
		return nil, true
	}
	for _, name := range strings.FieldsFunc(m.value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		fields = append(fields, textproto.CanonicalMIMEHeaderKey(name))
	}
	if len(fields) == 0 {
		return nil, true
	}
	return fields, false
}

// seconds reads a delta-seconds. before is what an earlier directive of that name said:
// two that differ contradict each other, and then neither is believed.
func (m *member) seconds(before time.Duration) time.Duration {
	d, ok := parseSeconds(m.value)
	if !ok || m.spaced || before != absent && before != d {
		return 0
	}
	return d
}

// parseSeconds reads a number of seconds: digits and nothing else.
func parseSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = 10*n + int64(s[i]-'0'); n >= int64(forever/time.Second) {
			n = int64(forever / time.Second) // and all digits after it change nothing
		}
	}
	return time.Duration(n) * time.Second, true
}
