package cache

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/wire"
)

// absent stands for a directive that is not there.
const absent = time.Duration(-1)

// forever is what a number of seconds means that is too large to count (RFC 9111,
// section 1.2.2).
const forever = time.Duration(1<<31) * time.Second

// directives are those of a Cache-Control field that this cache knows, of a request or
// of an answer. Durations are absent where the directive is; one that cannot be read is
// 0, which makes what it is about stale (section 4.2.1). no-cache and private that name
// fields are read as if they did not (sections 5.2.2.4 and 5.2.2.7).
type directives struct {
	noStore, noCache, private, public bool
	mustRevalidate, mustUnderstand    bool // must- and proxy-revalidate are one to a shared cache
	onlyIfCached                      bool

	maxAge, sMaxAge          time.Duration
	staleWhile, staleIfError time.Duration
	minFresh, maxStale       time.Duration
}

var noDirectives = directives{maxAge: absent, sMaxAge: absent, staleWhile: absent, staleIfError: absent,
	minFresh: absent, maxStale: absent}

// parseCacheControl reads the field. It takes what it can make sense of: nobody who
// writes no-store means it less because of a comma too many.
func parseCacheControl(values []string) directives {
	d := noDirectives
	for m := range wire.Members(values) {
		d.add(m)
	}
	return d
}

// add takes in one directive as it was written.
func (d *directives) add(m string) {
	name, value, hasValue := strings.Cut(m, "=")
	if strings.HasPrefix(value, `"`) {
		value, _, _ = strings.Cut(value[1:], `"`)
	}
	if bare := strings.TrimRight(name, " \t"); bare != name {
		name, value = bare, "" // the grammar has no blanks around "="
	}
	switch strings.ToLower(name) {
	case "no-store":
		d.noStore = true
	case "no-cache":
		d.noCache = true
	case "private":
		d.private = true
	case "public":
		d.public = true
	case "must-revalidate", "proxy-revalidate":
		d.mustRevalidate = true
	case "must-understand":
		d.mustUnderstand = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		d.maxAge = seconds(value, d.maxAge)
	case "s-maxage":
		d.sMaxAge = seconds(value, d.sMaxAge)
	case "stale-while-revalidate":
		d.staleWhile = seconds(value, d.staleWhile)
	case "stale-if-error":
		d.staleIfError = seconds(value, d.staleIfError)
	case "min-fresh":
		d.minFresh = seconds(value, d.minFresh)
	case "max-stale":
		if hasValue {
			d.maxStale = seconds(value, d.maxStale)
		} else {
			d.maxStale = forever // however stale
		}
	}
}

// seconds reads a delta-seconds. before is what an earlier directive of that name said:
// two that differ contradict each other, and then neither counts.
func seconds(value string, before time.Duration) time.Duration {
	d, ok := parseSeconds(value)
	if !ok || before != absent && before != d {
		return 0
	}
	return d
}

// parseSeconds reads a number of seconds: digits and nothing else.
func parseSeconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return min(time.Duration(n)*time.Second, forever), true
}
