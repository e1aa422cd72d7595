package cache

import (
	"net/http"
	"testing"

	"ebox-gateway/internal/call"
)

func TestWritesMakeVoid(t *testing.T) {
	fill := func(r *rig) {
		r.get("/a")
		r.get("/b?x=1")
		r.do(asked{path: "/a", who: other})
	}
	void := func(r *rig, path string, who int) bool {
		before := r.count()
		a := asked{path: path}
		if who == 2 {
			a.who = other
		}
		r.do(a)
		return r.count() > before
	}
	fresh := "Cache-Control: max-age=60"
	for _, c := range []struct {
		name                 string
		sharing              call.Sharing
		write                func(*http.Request) (*http.Response, error)
		ask                  asked
		voidA, voidB, voidA2 bool
	}{
		{"all of the enterprise's", call.SharedNever, always("done"), asked{method: "POST", path: "/a"}, true, true, false},
		{"whatever the path", call.SharedNever, always("done"), asked{method: "DELETE", path: "/elsewhere"},
			true, true, false},
		{"even if refused", call.SharedNever, func(*http.Request) (*http.Response, error) { return reply(500, "no"), nil },
			asked{method: "PATCH", path: "/a"}, true, true, false},
		{"even without an answer", call.SharedNever, func(*http.Request) (*http.Response, error) { return nil, errDown },
			asked{method: "PUT", path: "/a"}, true, true, false},
		{"an opening is one", call.SharedNever, always("document"), asked{path: "/a/content", open: true}, true, true, false},
		{"401 voids as well", call.SharedNever, func(*http.Request) (*http.Response, error) { return reply(401, "no"), nil },
			asked{path: "/c"}, true, true, false},
		{"403 voids as well", call.SharedNever, func(*http.Request) (*http.Response, error) { return reply(403, "no"), nil },
			asked{path: "/c"}, true, true, false},
		{"404 does not", call.SharedNever, func(*http.Request) (*http.Response, error) { return reply(404, "no"), nil },
			asked{path: "/c"}, false, false, false},
		{"404 voids its own", call.SharedNever, func(*http.Request) (*http.Response, error) { return reply(404, "no"), nil },
			asked{path: "/a", header: fieldsOf([]string{"Cache-Control: no-cache"})}, true, false, false},
		{"of what is shared, the target alone", call.SharedAlways, always("done"), asked{method: "POST", path: "/a"},
			true, false, false},
		{"of what is shared, Location", call.SharedAlways, always("done", "Location: /b?x=1"),
			asked{method: "POST", path: "/c"}, false, true, false},
		{"of what is shared, Content-Location", call.SharedAlways,
			always("done", "Content-Location: http://upstream.test/b?x=1"), asked{method: "POST", path: "/c"},
			false, true, false},
		{"of what is shared, not another host's Location", call.SharedAlways,
			always("done", "Location: http://elsewhere.test/b?x=1"), asked{method: "POST", path: "/c"}, false, false, false},
		{"of what is shared, nothing if it failed", call.SharedAlways, func(*http.Request) (*http.Response, error) {
			return reply(500, "no"), nil
		}, asked{method: "POST", path: "/a"}, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", fresh))
			r.policy.Sharing = c.sharing
			fill(r)
			r.origin = c.write
			r.do(c.ask)
			r.origin = always("body", fresh)
			if a, b := void(r, "/a", 1), void(r, "/b?x=1", 1); a != c.voidA || b != c.voidB {
				t.Errorf("void: /a %v, /b %v", a, b)
			}
			if a2 := void(r, "/a", 2); a2 != c.voidA2 && c.sharing == call.SharedNever {
				t.Errorf("void: another's %v", a2)
			}
		})
	}
}

func TestPurges(t *testing.T) {
	for _, c := range []struct {
		name      string
		scope     Scope
		own, them bool
	}{
		{"an enterprise", ScopeOfEnterprise(example), true, false},
		{"a route", ScopeOfRoute("route"), true, true},
		{"another route", ScopeOfRoute("another"), false, false},
		{"everything", Everything, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60"))
			r.get("/a")
			r.do(asked{path: "/a", who: other})
			if err := r.cache.Invalidate(t.Context(), nil, c.scope); err != nil {
				t.Fatal(err)
			}
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
				t.Errorf("%q, %s", g.body, g.cache())
			}
		})
	}
}

func TestAPostThatAnotherWriteOvertookIsNotKept(t *testing.T) {
	var r *rig
	r = newRig(t, func(req *http.Request) (*http.Response, error) {
		switch req.Method {
		case "POST": // the upstream has made its answer, and before it arrives
			r.do(asked{method: "PUT", path: "/a"})
			return reply(200, "posted", "Cache-Control: max-age=60", "Content-Location: /a"), nil
		case "PUT":
			return reply(204, ""), nil
		}
		return reply(200, "put", "Cache-Control: max-age=60"), nil
	})
	r.do(asked{method: "POST", path: "/a"})
	mustGet(t, r.get("/a"), 200, "put", "fwd=uri-miss; stored")
}
