package cache_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestWhatIsReused(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	type row struct {
		status int
		answer []string
		after  time.Duration
		again  []string
		reused bool
	}
	testkit.Table(t, map[string]row{
		"max-age":                 {200, []string{fresh}, 59 * time.Second, nil, true},
		"past max-age":            {200, []string{fresh}, 60 * time.Second, nil, false},
		"s-maxage before max-age": {200, []string{"Cache-Control: max-age=1, s-maxage=60"}, 30 * time.Second, nil, true},
		"max-age before Expires":  {200, []string{fresh, "Expires: 0"}, 30 * time.Second, nil, true},
		"Expires": {200, []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Sat, 01 Jan 2000 00:01:00 GMT"},
			30 * time.Second, nil, true},
		"past Expires": {200, []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Sat, 01 Jan 2000 00:01:00 GMT"},
			61 * time.Second, nil, false},
		"Expires that is no date": {200, []string{"Expires: 0"}, 0, nil, false},
		// Sums of durations beyond 292 years would come out negative.
		"Expires that never comes": {200, []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT", `ETag: "a"`},
			time.Minute, nil, true},
		"the same, excused": {200, []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT", "Cache-Control: stale-if-error=60"},
			time.Minute, nil, true},
		"made in the year 1": {200, []string{"Date: Mon, 01 Jan 0001 00:00:00 GMT", fresh, `ETag: "a"`},
			2 * time.Minute, nil, false},
		"Age counts":                   {200, []string{fresh, "Age: 50"}, 11 * time.Second, nil, false},
		"a Date in the past is an age": {200, []string{fresh, "Date: Fri, 31 Dec 1999 23:00:00 GMT"}, 0, nil, false},
		"nothing said":                 {200, nil, 0, nil, false},
		"no-store":                     {200, []string{"Cache-Control: max-age=60, no-store"}, 0, nil, false},
		"private":                      {200, []string{"Cache-Control: max-age=60, private"}, 0, nil, false},
		"private about a field":        {200, []string{`Cache-Control: max-age=60, private="x-person"`}, 0, nil, false},
		"no-cache":                     {200, []string{"Cache-Control: max-age=60, no-cache"}, 0, nil, false},
		"no-cache about a field":       {200, []string{`Cache-Control: max-age=60, no-cache="x-person"`}, 0, nil, false},
		"quoted number":                {200, []string{`Cache-Control: max-age="60"`}, 0, nil, true},
		"comma within a string":        {200, []string{`Cache-Control: x="a, no-store", max-age=60`}, 0, nil, true},
		"two that differ":              {200, []string{"Cache-Control: max-age=60, max-age=90"}, 0, nil, false},
		"two that agree":               {200, []string{fresh, fresh}, 0, nil, true},
		"negative":                     {200, []string{"Cache-Control: max-age=-60"}, 0, nil, false},
		"more than fits": {200, []string{"Cache-Control: max-age=99999999999999999999"},
			9 * time.Hour, nil, true},
		"more than fits, and no number": {200, []string{"Cache-Control: max-age=99999999999x"}, 0, nil, false},
		"Vary *":                        {200, []string{fresh, "Vary: *"}, 0, nil, false},
		"a status with a lifetime":      {404, []string{fresh}, 0, nil, true},
		"a status nobody knows":         {299, []string{fresh}, 0, nil, true},
		"a status nobody knows that must be understood": {299, []string{"Cache-Control: max-age=60, must-understand"}, 0,
			nil, false},
		"one that is understood, against no-store": {200, []string{"Cache-Control: max-age=60, must-understand, no-store"}, 0,
			nil, true},
		"206":               {206, []string{fresh, "Content-Range: bytes 0-3/10"}, 0, nil, false},
		"request max-age=0": {200, []string{fresh}, time.Millisecond, []string{"Cache-Control: max-age=0"}, false},
		"request max-age that suffices": {200, []string{fresh}, 10 * time.Second,
			[]string{"Cache-Control: max-age=20"}, true},
		"request min-fresh": {200, []string{fresh}, 10 * time.Second, []string{"Cache-Control: min-fresh=51"}, false},
		"request max-stale": {200, []string{fresh, `ETag: "a"`}, 70 * time.Second,
			[]string{"Cache-Control: max-stale=11"}, true},
		"request max-stale, however much": {200, []string{fresh, `ETag: "a"`}, 7000 * time.Second,
			[]string{"Cache-Control: max-stale"}, true},
		"request max-stale against must-revalidate": {200, []string{"Cache-Control: max-age=60, must-revalidate",
			`ETag: "a"`}, 70 * time.Second, []string{"Cache-Control: max-stale=11"}, false},
		"request no-cache": {200, []string{fresh}, 0, []string{"Cache-Control: no-cache"}, false},
		"request Pragma":   {200, []string{fresh}, 0, []string{"Pragma: no-cache"}, false},
		"request Pragma beside Cache-Control": {200, []string{fresh}, 0,
			[]string{"Pragma: no-cache", "Cache-Control: max-age=50"}, true},
		"If-Match is for the upstream": {200, []string{fresh, `ETag: "a"`}, 0, []string{`If-Match: "a"`}, false},
		"Set-Cookie":                   {200, []string{fresh, "Set-Cookie: a=b"}, 0, nil, true},
	}, func(t *testing.T, c row) {
		r := newRig(t, func(*http.Request) (*http.Response, error) { return reply(c.status, "body", c.answer...), nil })
		r.get("/a")
		time.Sleep(c.after)
		g := r.get("/a", c.again...)
		if reused := r.count() == 1; reused != c.reused {
			t.Errorf("reused: %v, %s", reused, g.cache)
		}
		if g.status != c.status || g.body != "body" {
			t.Errorf("%d %q", g.status, g.body)
		}
		if c.reused && (g.header.Get("Set-Cookie") != "" || g.header.Get("Age") == "" || g.header.Get("Age")[0] == '-') {
			t.Errorf("header %v", g.header)
		}
	})
}

func TestWhatTheRouteSays(t *testing.T) {
	const lastYear, nothing = "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT", "X-Says: nothing"
	route := func(p config.CachePolicy) call.Policy { return call.Policy{CachePolicy: p} }
	minute := route(config.CachePolicy{DefaultTTL: time.Minute})
	while := route(config.CachePolicy{StaleWhileRevalidate: time.Minute})
	silent := route(config.CachePolicy{DefaultTTL: time.Second, StaleWhileRevalidate: time.Hour, WhenSilent: true})
	type row struct {
		policy call.Policy
		answer string
		after  time.Duration
		how    string
	}
	testkit.Table(t, map[string]row{
		"a default lifetime":                {minute, nothing, 59 * time.Second, "hit; ttl=1"},
		"that is over":                      {minute, nothing, 61 * time.Second, "fwd=uri-miss"},
		"not against the answer's own word": {minute, "Cache-Control: max-age=1", 2 * time.Second, "fwd=uri-miss"},
		"heuristics":                        {call.Policy{Heuristics: true}, lastYear, 2 * time.Hour, "hit"},
		"heuristics off":                    {call.Policy{}, lastYear, 0, "fwd=stale"},
		"stale while revalidate":            {while, "Cache-Control: max-age=10", 60 * time.Second, "hit; ttl=-50"},
		"stale while revalidate, over":      {while, "Cache-Control: max-age=10", 71 * time.Second, "fwd=uri-miss"},
		"the answer's own window first": {while, "Cache-Control: max-age=10, stale-while-revalidate=5", 20 * time.Second,
			"fwd="},
		"must-revalidate forbids it":      {while, "Cache-Control: max-age=10, must-revalidate", 20 * time.Second, "fwd="},
		"only when silent, and it speaks": {silent, "Cache-Control: max-age=10", 20 * time.Second, "fwd="},
		"only when silent, and it is":     {silent, nothing, 20 * time.Second, "hit; ttl=-19"},
		"a body that is too large":        {call.Policy{MaxBody: 3}, "Cache-Control: max-age=60", 0, "fwd=uri-miss"},
	}, func(t *testing.T, c row) {
		r := newRig(t, always("body", c.answer))
		c.policy.MaxBody = cmp.Or(c.policy.MaxBody, 1000)
		r.policy = c.policy
		r.get("/a")
		time.Sleep(c.after)
		mustGet(t, r.get("/a"), 200, "body", c.how)
	})
}

func TestAnAnswerInsteadOfAFailure(t *testing.T) {
	const excusable = "max-age=1, stale-if-error=60"
	type row struct {
		answer  string
		failure origin
		after   time.Duration
		status  int
		again   []string
	}
	testkit.Table(t, map[string]row{
		"an error":         {excusable, down, 10 * time.Second, 200, nil},
		"503":              {excusable, says(503), 10 * time.Second, 200, nil},
		"no token in time": {excusable, fails(problem.Timeout("No token.", "")), 10 * time.Second, 200, nil},
		"not to a client that is refused": {excusable, fails(problem.ClientRefused("client", "its key is not known", "")),
			10 * time.Second, 502, nil},
		"not 501":                        {excusable, says(501), 10 * time.Second, 501, nil},
		"not after its time":             {excusable, down, 62 * time.Second, 502, nil},
		"not unsaid":                     {"max-age=1", down, 10 * time.Second, 502, nil},
		"not against must-revalidate":    {excusable + ", must-revalidate", down, 10 * time.Second, 502, nil},
		"not who wants it from upstream": {excusable, down, 10 * time.Second, 502, []string{"Cache-Control: no-cache"}},
	}, func(t *testing.T, c row) {
		r := newRig(t, always("body", `ETag: "a"`, "Cache-Control: "+c.answer))
		r.get("/a")
		r.origin = c.failure
		time.Sleep(c.after)
		g := r.get("/a", c.again...)
		if g.status != c.status || c.status == 200 && (g.body != "body" || !strings.Contains(g.cache, "stale-if-error")) {
			t.Errorf("%d %q %s", g.status, g.body, g.cache)
		}
	})
}

func TestHEADIsAnsweredFromGET(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60", "Content-Length: 4"))
	r.get("/a")
	if g := r.do(asked{method: "HEAD", path: "/a"}); g.status != 200 || g.body != "" ||
		g.header.Get("Content-Length") != "4" || r.count() != 1 {
		t.Errorf("%d %q %v", g.status, g.body, g.header)
	}
	r.do(asked{method: "HEAD", path: "/b"})
	if r.get("/b"); r.count() != 3 {
		t.Error("GET was answered from HEAD")
	}
}

func TestOnlyIfCached(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60"))
	if g := r.get("/a", "Cache-Control: only-if-cached"); g.status != 504 || r.count() != 0 {
		t.Errorf("%d after %d requests", g.status, r.count())
	}
	r.get("/a")
	mustGet(t, r.get("/a", "Cache-Control: only-if-cached"), 200, "body", "hit")
}

func TestVariants(t *testing.T) {
	r := newRig(t, func(req *http.Request) (*http.Response, error) {
		return reply(200, strings.ToLower(req.Header.Get("Accept-Language")), "Cache-Control: max-age=60",
			"Vary: Accept-Language, X-Kind"), nil
	})
	for _, c := range []struct {
		fields []string
		sent   bool
	}{
		{[]string{"Accept-Language: nl"}, true},
		{[]string{"Accept-Language: nl"}, false},
		{[]string{"Accept-Language: NL"}, false},
		{[]string{"Accept-Language:  nl "}, false},
		{[]string{"Accept-Language: fr"}, true},
		{[]string{"Accept-Language: nl"}, false},
		{[]string{"Accept-Language: nl", "X-Kind: a"}, true},
		{[]string{"Accept-Language: nl", "X-Kind: A"}, true},
		{[]string{"Accept-Language: nl", "X-Kind: a"}, false},
		{nil, true},
	} {
		before := r.count()
		g := r.get("/a", c.fields...)
		if sent := r.count() > before; sent != c.sent {
			t.Errorf("%v: sent %v, %s", c.fields, sent, g.cache)
		}
	}
}
