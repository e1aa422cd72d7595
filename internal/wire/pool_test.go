package wire_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

// together has n calls of a party under way at once, over as many connections, and then ends them in turn.
func together(t *testing.T, tr *client, n int, party, link string) {
	t.Helper()
	var bodies []io.ReadCloser
	for range n {
		r, _ := http.NewRequest("GET", link, nil)
		a, err := tr.Do(t.Context(), r, wire.Options{Party: party})
		testkit.Must(t, err)
		bodies = append(bodies, a.Body)
	}
	for _, body := range bodies {
		if text, err := io.ReadAll(body); string(text) != "fine" {
			t.Fatalf("%q, %v", text, err)
		}
	}
}

func TestWhomAnUnusedConnectionServes(t *testing.T) {
	for name, c := range map[string]struct {
		before []string      // what A asks for, with a short rest between
		unused time.Duration // from the last of them to the request in question
		busy   bool          // many connections have their short rest
		// elsewhere has another Transport meet surplus bytes of the same address.
		elsewhere     bool
		party, method string
		want          bool
	}{
		"the same party not at once":                {party: "A"},
		"the same party soon":                       {party: "A", unused: shortRest, want: true},
		"the same party at once where many rest":    {party: "A", busy: true, want: true},
		"another party not at once where many rest": {party: "B", busy: true},
		"the same party's POST soon":                {party: "A", method: "POST", unused: shortRest, want: true},
		"the same party's PATCH not at once":        {party: "A", method: "PATCH", busy: true},
		"the same party's PATCH not soon":           {party: "A", method: "PATCH", unused: shortRest},
		"the same party's PATCH after a rest":       {party: "A", method: "PATCH", unused: rest, want: true},
		"after an answer without a body nobody at once": {
			before: []string{"/none"}, party: "A", busy: true},
		"after an answer without a body the same soon": {
			before: []string{"/none"}, party: "A", unused: shortRest, want: true},
		"after an answer with a body behind one without, the same at once where many rest": {
			before: []string{"/none", "/"}, party: "A", busy: true, want: true},
		"another party not soon":             {party: "B", unused: shortRest},
		"another party after a rest":         {party: "B", unused: rest, want: true},
		"another party's PATCH after a rest": {party: "B", method: "PATCH", unused: rest, want: true},
		// An earlier second answer may have been taken for the last one, which is then still to come.
		"another party never after use without a rest": {
			before: []string{"/", "/"}, party: "B", unused: 100 * rest},
		"the same party after use without a rest": {
			before: []string{"/", "/"}, party: "A", busy: true, want: true},
		"after surplus elsewhere nobody, whoever it served": {party: "A", elsewhere: true, unused: 100 * rest},
	} {
		t.Run(name, func(t *testing.T) {
			link := "http://" + upstream(t, nil, replying(func(head string) string {
				switch {
				case strings.Contains(head, " /none "):
					return "HTTP/1.1 204 No Content\r\n\r\n"
				case strings.Contains(head, " /surplus "):
					return fine + "x"
				}
				return fine
			}))
			tr := newClient(t, nil)
			if c.before == nil {
				c.before = []string{"/"}
			}
			for i, path := range c.before {
				if i > 0 {
					tr.pass(shortRest)
				}
				if _, _, err := ask(t, tr, wire.Options{Party: "A"}, "GET", link+path, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			tr.pass(c.unused)
			if c.elsewhere {
				other := newClient(t, func(o *wire.Config) { o.Calls = tr.calls })
				ask(t, other, wire.Options{}, "GET", link+"/surplus", nil, nil)
			}
			if c.busy {
				together(t, tr, atOnce, "C", link)
			}
			opened := tr.Counts().Opened
			if _, _, err := ask(t, tr, wire.Options{Party: c.party}, c.method, link, nil, nil); err != nil {
				t.Fatal(err)
			}
			if kept := tr.Counts().Opened == opened; kept != c.want {
				t.Errorf("served: %v, want %v", kept, c.want)
			}
		})
	}
}

// pipes is a Transport whose connections are pipes, each with an upstream that answers once.
func pipes(t *testing.T) (_ *client, theirs *[]net.Conn) {
	theirs = new([]net.Conn)
	return newClient(t, func(c *wire.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			_ = there.SetDeadline(time.Now().Add(testkit.Patience))
			*theirs = append(*theirs, there)
			go func() {
				request(there)
				io.WriteString(there, fine)
			}()
			return wire.NewSocket(here, enough), nil
		}
	}), theirs
}

func TestConnectionsAreClosedAtOnceOrWhenTheirExchangeEnds(t *testing.T) {
	tr, theirs := pipes(t)
	together(t, tr, 1, "A", "http://up")
	r, _ := http.NewRequest("GET", "http://up", nil)
	a, err := tr.Do(t.Context(), r, wire.Options{})
	testkit.Must(t, err)
	tr.CloseIdleConnections()
	if _, err := (*theirs)[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("unused: %v", err)
	}
	if text, err := io.ReadAll(a.Body); string(text) != "fine" || err != nil {
		t.Errorf("in use: %q, %v", text, err)
	}
	if _, err := (*theirs)[1].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after its use: %v", err)
	}
}

func TestTheConnectionUnusedLongestMakesRoom(t *testing.T) {
	const most = 1024
	tr, theirs := pipes(t)
	together(t, tr, most+1, "A", "http://up")
	for i, there := range *theirs {
		_ = there.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := there.Read(make([]byte, 1)); (err == io.EOF) != (i == 0) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

func TestAConnectionIsNotUsedBeyondItsAge(t *testing.T) {
	tr := newClient(t, func(c *wire.Config) { c.Age = func() time.Duration { return time.Minute } })
	link := "http://" + upstream(t, nil, answering(fine))
	for _, c := range []struct {
		later  time.Duration
		opened uint64
	}{{0, 1}, {time.Minute, 1}, {time.Second, 2}, {time.Minute, 2}, {time.Second, 3}} {
		tr.pass(c.later)
		if _, body, err := ask(t, tr, wire.Options{Party: "A"}, "GET", link, nil, nil); body != "fine" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		if n := tr.Counts().Opened; n != c.opened {
			t.Errorf("%d connections, want %d", n, c.opened)
		}
	}
}

func TestTrailersComeThrough(t *testing.T) {
	link := "http://" + upstream(t, nil, answering(ok200+"Trailer: X-Sum, Content-Length\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n"+
		"4\r\nfine\r\n0\r\nX-Sum: 7\r\nx-late: 8\r\nContent-Length: 9\r\n\r\n"))
	r, _ := http.NewRequest("GET", link, nil)
	a, err := newClient(t, nil).Do(t.Context(), r, wire.Options{})
	testkit.Must(t, err)
	defer a.Body.Close()
	if !reflect.DeepEqual(a.Trailer, http.Header{"X-Sum": nil}) {
		t.Errorf("announced: %v", a.Trailer)
	}
	text, err := io.ReadAll(a.Body)
	if want := (http.Header{"X-Sum": {"7"}, "X-Late": {"8"}}); string(text) != "fine" || err != nil ||
		!reflect.DeepEqual(a.Trailer, want) {
		t.Errorf("%q, %v, trailer %v", text, err, a.Trailer)
	}
}
