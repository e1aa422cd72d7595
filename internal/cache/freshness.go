package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/call"
)

const (
	maxHeuristic = 24 * time.Hour
	// validatedFor is how long an answer past its lifetime is kept to be asked about.
	validatedFor = 24 * time.Hour
)

// saidLifetime is the lifetime that an answer says (section 4.2.1): s-maxage before
// max-age before Expires.
func saidLifetime(cc *directives, h http.Header, date time.Time) (time.Duration, bool) {
	switch {
	case cc.sMaxAge != absent:
		return cc.sMaxAge, true
	case cc.maxAge != absent:
		return cc.maxAge, true
	}
	if _, says := h["Expires"]; !says {
		return 0, false
	}
	t, ok := httpDate(h.Get("Expires"))
	if !ok {
		return 0, true // a date that is none is in the past (section 5.3)
	}
	return min(max(t.Sub(date), 0), forever), true
}

// lifetime is how long the entry is fresh.
func (e *Entry) lifetime(p *call.Policy) time.Duration {
	f := &e.facts
	if f.saysLifetime {
		return f.lifetime
	}
	// A thing that is missing today may be there tomorrow.
	if p.DefaultTTL > 0 && f.heuristic && e.Status < 400 && e.Status != http.StatusNoContent {
		return p.DefaultTTL
	}
	if p.Heuristics && !f.lastModified.IsZero() && (f.heuristic || f.cc.public) {
		return min(max(f.date.Sub(f.lastModified)/10, 0), maxHeuristic)
	}
	return 0
}

// age is the entry's current_age (section 4.2.3).
func (e *Entry) age(now time.Time) time.Duration {
	return e.facts.initialAge + max(now.Sub(e.Received), 0)
}

// mayBeStale reports whether the entry may be given past its lifetime at all (section
// 4.2.4). To a shared cache, s-maxage says what proxy-revalidate says.
func (e *Entry) mayBeStale() bool {
	cc := &e.facts.cc
	return !cc.mustRevalidate && !cc.noCache && cc.sMaxAge == absent
}

// window is how long past its lifetime the entry may be given, by what it says itself
// or else by the route's word.
func (e *Entry) window(said, route time.Duration, p *call.Policy) time.Duration {
	switch {
	case !e.mayBeStale():
		return 0
	case said != absent:
		return said
	case p.WhenSilent && e.facts.saysLifetime:
		return 0
	}
	return route
}

func (e *Entry) staleWhile(p *call.Policy) time.Duration {
	return e.window(e.facts.cc.staleWhile, p.StaleWhileRevalidate, p)
}

func (e *Entry) staleIfError(p *call.Policy) time.Duration {
	return e.window(e.facts.cc.staleIfError, p.StaleIfError, p)
}

// keep is for how long the entry can be of use, 0 if it cannot.
func (e *Entry) keep(p *call.Policy) time.Duration {
	if e.facts.cc.noCache && !e.validator() {
		return 0
	}
	left := e.lifetime(p) - e.facts.initialAge
	left += max(e.staleWhile(p), e.staleIfError(p))
	if e.validator() {
		left = max(left, 0) + validatedFor
	}
	return min(max(left, 0), forever)
}

// usage is what a stored answer is good for.
type usage uint8

const (
	unusable   usage = iota // not without asking the upstream
	usable                  // as it is
	refreshing              // as it is, while a new one is fetched
)

// judge says what an entry is good for, to a request of these directives (section
// 4.2.4 and 5.2.1), and how much of its lifetime is left, which is negative past it.
func (e *Entry) judge(cc *directives, p *call.Policy, now time.Time) (usage, time.Duration) {
	age := e.age(now)
	left := e.lifetime(p) - age
	if cc.noCache || e.facts.cc.noCache || cc.maxAge != absent && age > cc.maxAge {
		return unusable, left
	}
	if cc.minFresh != absent && left < cc.minFresh {
		return unusable, left
	}
	switch {
	case left > 0:
		return usable, left
	case cc.maxStale != absent && -left <= cc.maxStale && e.mayBeStale():
		return usable, left
	case cc.maxAge == absent && -left < e.staleWhile(p):
		return refreshing, left
	}
	return unusable, left
}

// excuses reports whether the entry may be given because the upstream fails.
func (e *Entry) excuses(cc *directives, p *call.Policy, now time.Time) bool {
	stale := e.age(now) - e.lifetime(p)
	if cc.noCache || cc.maxAge != absent && e.age(now) > cc.maxAge || !e.mayBeStale() {
		return false
	}
	return stale < e.staleIfError(p) || cc.staleIfError != absent && stale < cc.staleIfError
}

// ageOf reads Age (section 5.1): the first member counts, and what is no number is
// ignored.
func ageOf(field string) time.Duration {
	first, _, _ := strings.Cut(field, ",")
	age, _ := parseSeconds(strings.Trim(first, " \t"))
	return age
}

// dateForms are the three forms of a date (RFC 9110, section 5.6.7).
var dateForms = [...]string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}

// httpDate reads a date. By RFC 9111, section 4.2, case does not matter and GMT is the
// only zone. http.ParseTime overlooks no case of GMT and takes more than the grammar has, such as
// an hour of one digit: a date is one only if writing it gives the same again, but for the day's name.
func httpDate(s string) (time.Time, bool) {
	if zone := len(s) - len("GMT"); zone > 0 && strings.EqualFold(s[zone:], "GMT") {
		s = s[:zone] + "GMT"
	}
	t, err := http.ParseTime(s)
	return t, err == nil && slices.ContainsFunc(dateForms[:], func(form string) bool {
		return strings.EqualFold(behindDay(t.Format(form)), behindDay(s))
	})
}

func behindDay(date string) string { return date[max(strings.IndexAny(date, " ,"), 0):] }

// heuristically reports whether an answer of a status may be kept though it says no lifetime (RFC
// 9110, section 15.1).
func heuristically(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood reports whether this cache keeps the rules of a status, as
// must-understand asks (RFC 9111, section 5.2.2.3).
func understood(status int) bool {
	return heuristically(status) || status == 302 || status == 307 || status == 303 ||
		status >= 400 && status <= 451 && status != 418 || status >= 500 && status <= 505
}
