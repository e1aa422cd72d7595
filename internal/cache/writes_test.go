package cache_test

import (
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestWritesMakeVoid(t *testing.T) {
	post := asked{method: "POST", path: "/a"}
	elsewhere := asked{method: "POST", path: "/c"}
	anew := asked{path: "/a", header: fieldsOf("Cache-Control: no-cache")}
	const none, shared, all = config.SharedNever, config.SharedAlways, "/a /b?x=1"
	for name, c := range map[string]struct {
		sharing config.Sharing
		write   origin
		ask     asked
		void    string
	}{
		"all of the enterprise's": {none, always("done"), post, all},
		"whatever the path":       {none, always("done"), asked{method: "DELETE", path: "/elsewhere"}, all},
		"even if refused":         {none, says(500), asked{method: "PATCH", path: "/a"}, all},
		"even without an answer":  {none, down, asked{method: "PUT", path: "/a"}, all},
		"even if nobody knows":    {none, func(*http.Request) (*http.Response, error) { panic("a fault") }, post, all},
		"not if it was refused":   {none, fails(problem.BadRequest("No.")), post, ""},
		"not if it was not sent":  {none, fails(errNotSent), post, ""},
		"an opening is one":       {none, always("document"), asked{path: "/a/content", open: true}, all},
		"401 voids as well":       {none, says(401), asked{path: "/c"}, all},
		"403 voids as well":       {none, says(403), asked{path: "/c"}, all},
		"404 does not":            {none, says(404), asked{path: "/c"}, ""},
		"404 voids its own":       {none, says(404), anew, "/a"},

		"of what is shared, the target alone": {shared, always("done"), post, "/a"},
		"of what is shared, Location":         {shared, always("done", "Location: /b?x=1"), elsewhere, "/b?x=1"},
		"of what is shared, Content-Location": {
			shared, always("done", "Content-Location: http://upstream.test/b?x=1"), elsewhere, "/b?x=1"},
		"of what is shared, not another host's Location": {
			shared, always("done", "Location: http://elsewhere.test/b?x=1"), elsewhere, ""},
		"of what is shared, nothing if it failed": {shared, says(500), post, ""},
	} {
		t.Run(name, func(t *testing.T) {
			origin := always("body", "Cache-Control: max-age=60")
			r := newRig(t, origin)
			r.policy.Shared = c.sharing
			kept := []string{"/a", "/b?x=1"}
			for _, path := range kept {
				r.get(path)
				r.do(asked{path: path, who: other})
			}
			r.origin = c.write
			func() {
				defer func() { _ = recover() }()
				if g := r.do(c.ask); g.cache != "fwd=method" && c.ask.method != "" {
					t.Errorf("the write: %s", g.cache)
				}
			}()
			r.origin = origin
			var void []string
			for _, path := range kept {
				if !r.get(path).fromCache() {
					void = append(void, path)
				}
				if c.sharing != shared && !r.do(asked{path: path, who: other}).fromCache() {
					t.Errorf("void: another's %s", path)
				}
			}
			if got := strings.Join(void, " "); got != c.void {
				t.Errorf("void: %q, want %q", got, c.void)
			}
		})
	}
}

func TestPurges(t *testing.T) {
	for _, c := range []struct {
		name      string
		scope     cache.Scope
		own, them bool
	}{
		{"an enterprise", cache.ScopeOfEnterprise(example), true, false},
		{"a route", cache.ScopeOfRoute("route"), true, true},
		{"another route", cache.ScopeOfRoute("another"), false, false},
		{"everything", cache.Everything, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60"))
			r.get("/a")
			r.do(asked{path: "/a", who: other})
			testkit.Must(t, r.cache.Invalidate(t.Context(), nil, c.scope))
			if own, them := !r.get("/a").fromCache(), !r.do(asked{path: "/a", who: other}).fromCache(); own != c.own ||
				them != c.them {
				t.Errorf("dropped: own %v, the other's %v", own, them)
			}
		})
	}
}

func TestAPostThatSaysWhatAGetBrings(t *testing.T) {
	const lifetime = "Cache-Control: max-age=60"
	for _, of := range []struct {
		name   string
		status int
		fields []string
		kept   bool
	}{
		{"is kept", 200, []string{lifetime, "Content-Location: /a"}, true},
		{"is kept by its whole URL too", 200, []string{lifetime, "Content-Location: http://upstream.test/a"}, true},
		{"but not without a lifetime", 200, []string{"Content-Location: /a", `Etag: "1"`}, false},
		{"nor about another resource", 200, []string{lifetime, "Content-Location: /b"}, false},
		{"nor about none", 200, []string{lifetime}, false},
		{"nor if it created something", 201, []string{lifetime, "Content-Location: /a"}, false},
		{"nor against its will", 200, []string{lifetime + ", no-store", "Content-Location: /a"}, false},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, func(req *http.Request) (*http.Response, error) {
				if req.Method == "POST" {
					return reply(of.status, "posted", of.fields...), nil
				}
				return reply(200, "got", lifetime), nil
			})
			r.get("/a")
			r.do(asked{method: "POST", path: "/a"})
			g := r.get("/a")
			if g.fromCache() != of.kept || (g.body == "posted") != of.kept {
				t.Errorf("%q, %s", g.body, g.cache)
			}
		})
	}
}

func TestAPostThatAnotherWriteOvertookIsNotKept(t *testing.T) {
	const posted, put = "posted", "put"
	for name, c := range map[string]struct {
		// overtake is done when the upstream has made its answer and before it arrives, during
		// while the other replicas are told of the POST.
		overtake, during func(a, b *rig)
		kept             string
	}{
		"nothing overtakes it":                       {nil, nil, posted},
		"before its answer comes":                    {func(a, _ *rig) { a.do(asked{method: "PUT", path: "/a"}) }, nil, put},
		"while the other replicas are told of it":    {nil, func(a, _ *rig) { a.do(asked{method: "PUT", path: "/a"}) }, put},
		"at another replica before its answer comes": {func(_, b *rig) { b.do(asked{method: "PUT", path: "/a"}) }, nil, put},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, _ := replicas(t, nil)
			a.origin = func(req *http.Request) (*http.Response, error) {
				if req.Method == "POST" {
					if c.overtake != nil {
						c.overtake(a, b)
					}
					return reply(200, posted, "Cache-Control: max-age=60", "Content-Location: /a"), nil
				}
				return reply(200, put, "Cache-Control: max-age=60"), nil
			}
			b.origin = a.origin
			if c.during != nil {
				a.second.bumping = func() { c.during(a, b) }
			}
			a.do(asked{method: "POST", path: "/a"})
			for _, r := range []*rig{a, b} {
				saved(t, a)
				if g := r.get("/a"); g.body != c.kept {
					t.Errorf("%q, %s", g.body, g.cache)
				}
			}
		})
	}
}
