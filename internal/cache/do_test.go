package cache_test

import (
	"testing"

	"ebox-gateway/internal/call"
)

func TestWhatTheCacheIsNotToldOfPassesUntouched(t *testing.T) {
	for _, of := range []struct {
		name string
		so   func(*call.Call)
		// how is the cache's word about a read; voids that a write makes what is kept void.
		how   string
		voids bool
	}{
		{"nothing is kept anywhere", func(x *call.Call) { x.Keep = call.Keep{Partition: x.Keep.Partition} }, "", false},
		{"the route keeps no reads", func(x *call.Call) { x.Keep.Reads, x.Keep.Policy = false, nil }, "", true},
		{"the route keeps others", func(x *call.Call) { x.Keep.Policy = nil }, "fwd=bypass", true},
		{"it has a body", func(x *call.Call) { x.HasBody = true }, "fwd=bypass", true},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60"))
			r.get("/a")
			for _, method := range []string{"GET", "POST"} {
				x := r.call(asked{method: method, path: "/a"})
				of.so(x)
				a, err := r.cache.Do(t.Context(), x, r.send)
				if err != nil || method == "GET" && (a.Cache != of.how || a.Body == nil || x.Record.Cache != of.how) {
					t.Fatalf("%+v, %v", a, err)
				}
				a.Close()
			}
			if g := r.get("/a"); g.fromCache() == of.voids {
				t.Errorf("after a write: %s", g.cache)
			}
		})
	}
}
