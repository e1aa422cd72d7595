package cache_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

func TestWhatTheCacheIsNotToldOfPassesUntouched(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	for _, of := range []struct {
		name string
		keep func(*call.Keep)
		// how is the cache's word about a read; voids that a write makes what is kept void.
		how   string
		voids bool
	}{
		{"nothing is kept anywhere", func(k *call.Keep) { *k = call.Keep{Partition: k.Partition} }, "", false},
		{"the route keeps no reads", func(k *call.Keep) { k.Reads, k.Policy = false, nil }, "", true},
		{"the route keeps others", func(k *call.Keep) { k.Policy = nil }, "fwd=bypass", true},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, always("body", fresh))
			r.get("/a")
			ask := func(method string) *call.Answer {
				x := r.call(asked{method: method, path: "/a"})
				of.keep(&x.Keep)
				a, err := r.cache.Do(t.Context(), x, r.send)
				if err != nil {
					t.Fatal(err)
				}
				a.Close()
				return a
			}
			if a := ask("GET"); a.Cache != of.how || a.Body == nil {
				t.Errorf("%q instead of %q", a.Cache, of.how)
			}
			if a := ask("POST"); a.Cache != "" {
				t.Errorf("a write says %q", a.Cache)
			}
			if g := r.get("/a"); g.fromCache() == of.voids {
				t.Errorf("after a write: %s", g.cache())
			}
		})
	}
}

func TestAReadWithABodyIsNotAnsweredFromWhatIsKept(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60"))
	r.get("/a")
	x := r.call(asked{path: "/a"})
	x.HasBody = true
	a, err := r.cache.Do(t.Context(), x, r.send)
	if err != nil || a.Body == nil || a.Cache != "fwd=bypass" || x.Record.Cache != "fwd=bypass" {
		t.Fatalf("%+v, %v", a, err)
	}
	a.Close()
}

var errNotSent = errors.New("the request did not leave")

func TestAWriteThatWasNotSentMakesNothingVoid(t *testing.T) {
	for _, of := range []struct {
		name string
		err  error
		void bool
	}{
		{"the gateway refused it", problem.BadRequest("No."), false},
		{"no connection", errNotSent, false},
		{"no answer", errDown, true},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60"))
			r.get("/a")
			r.origin = func(*http.Request) (*http.Response, error) { return nil, of.err }
			g := r.do(asked{method: "POST", path: "/a"})
			if !errors.Is(g.err, of.err) || g.cache() != cache.Pseudonym+"; fwd=method" {
				t.Errorf("%v, %s", g.err, g.cache())
			}
			r.origin = always("body", "Cache-Control: max-age=60")
			if void := !r.get("/a").fromCache(); void != of.void {
				t.Errorf("void: %v", void)
			}
		})
	}
}

func TestAWriteThatPanicsMakesVoid(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60"))
	r.get("/a")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_, _ = r.cache.Do(t.Context(), r.call(asked{method: "POST", path: "/a"}),
			func(context.Context, *call.Call, *call.Question) (*http.Response, error) { panic(http.ErrAbortHandler) })
	}()
	mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss; stored")
}

func TestWhatWasKeptIsNotGivenToAClientThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("body", "Cache-Control: max-age=1, stale-if-error=60"))
		r.get("/a")
		time.Sleep(2 * time.Second)
		r.origin = func(*http.Request) (*http.Response, error) {
			return nil, problem.ClientRefused("client", "its key is not known", "")
		}
		if g := r.get("/a"); g.status == 200 || g.err == nil {
			t.Errorf("%d %q %s", g.status, g.body, g.cache())
		}
		r.origin = func(*http.Request) (*http.Response, error) { return nil, problem.Timeout("No token.", "") }
		mustGet(t, r.get("/a"), 200, "body", "stale-if-error")
	})
}
