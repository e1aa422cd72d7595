package wire

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
)

// unused has every unused connection be so for d.
func unused(p *pool, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.since = nano() - int64(d)
	}
}

func TestWhomAnUnusedConnectionServes(t *testing.T) {
	for name, c := range map[string]struct {
		party         string
		settled       bool
		wary, hurried bool // as the answer before left it
		surplus       bool // a connection of another Transport to the same address has had surplus bytes
		busy          bool // as many connections as may settle do so
		unused        time.Duration
		want          bool
	}{
		"the same party not at once":                        {party: "A"},
		"the same party soon":                               {party: "A", unused: Settle, want: true},
		"the same party at once where many settle":          {party: "A", busy: true, want: true},
		"another party not at once where many settle":       {party: "B", busy: true},
		"the same party's PATCH not at once":                {party: "A", settled: true, busy: true},
		"the same party's PATCH not soon":                   {party: "A", settled: true, unused: Settle},
		"the same party's PATCH after a rest":               {party: "A", settled: true, unused: rest, want: true},
		"after an answer without a body nobody at once":     {party: "A", wary: true, busy: true},
		"after an answer without a body the same soon":      {party: "A", wary: true, unused: Settle, want: true},
		"another party not soon":                            {party: "B", unused: Settle},
		"another party after a rest":                        {party: "B", unused: rest, want: true},
		"another party's PATCH after a rest":                {party: "B", settled: true, unused: rest, want: true},
		"another party never after use without a rest":      {party: "B", hurried: true, unused: 100 * rest},
		"the same party after use without a rest":           {party: "A", hurried: true, busy: true, want: true},
		"after surplus elsewhere nobody, whoever it served": {party: "A", surplus: true, unused: 100 * rest},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // no time passes
				time.Sleep(time.Until(epoch)) // where this package's clock begins
				common := NewCalls()
				p := poolOf(t, New(Config{IdleConn: time.Hour, Calls: common}), "http://up")
				here, there := net.Pipe()
				defer here.Close()
				defer there.Close()
				until := time.Now().Add(time.Hour)
				p.idle = []*conn{{Conn: here, pool: p, party: "A", wary: c.wary, hurried: c.hurried, until: until}}
				unused(p, c.unused)
				if c.surplus {
					poolOf(t, New(Config{Calls: common}), "http://up").sawSurplus()
				}
				for c.busy && len(p.idle) < mostSettling+1 {
					p.idle = append(p.idle, &conn{pool: p, party: "C", since: nano(), until: until})
				}
				if got := p.take(c.party, c.settled); (got != nil) != c.want {
					t.Errorf("served: %v, want %v", got != nil, c.want)
				}
			})
		})
	}
}

// A provider's second answer to A's first request is taken for the answer to A's second. The true one comes when it
// likes: long after the rest, and then it must not be B's.
func TestAnAnswerThatSurplusPushedBackReachesNoOtherParty(t *testing.T) {
	both(t, "pushed back", func(t *testing.T, scheme string, config *tls.Config) {
		const a1, a2, b = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nA, 1",
			"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nA, 2",
			"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nB, 1"
		link := scheme + "://" + upstream(t, config, func(n int, c net.Conn) {
			if n > 0 {
				answering(b)(n, c)
				return
			}
			for _, answer := range []string{a1, a1, a2} { // the third request is answered as the second
				if _, ok := request(c); !ok {
					return
				}
				io.WriteString(c, answer)
			}
		})
		tr := client(t, nil)
		for range 2 {
			if _, text, err := ask(t, tr, Options{Party: "A"}, "GET", link, nil, nil); text != "A, 1" || err != nil {
				t.Fatalf("%q, %v", text, err)
			}
			unused(poolOf(t, tr, link), Settle)
		}
		unused(poolOf(t, tr, link), rest)
		if _, text, err := ask(t, tr, Options{Party: "B"}, "GET", link, nil, nil); text != "B, 1" || err != nil {
			t.Errorf("B got %q, %v", text, err)
		}
	})
}

func TestTheConnectionUnusedLongestMakesRoom(t *testing.T) {
	p := poolOf(t, New(Config{IdleConn: time.Hour}), "http://up")
	var first net.Conn
	for i := range mostIdle + 1 {
		here, there := net.Pipe()
		defer there.Close()
		if i == 0 {
			first = there
		}
		p.put(&conn{Conn: here, socket: NewSocket(here, time.Second), pool: p, turn: i})
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF || len(p.idle) != mostIdle || p.idle[0].turn != 1 {
		t.Errorf("%d connections are kept, the first: %v", len(p.idle), err)
	}
	p.sweep(true)
}

func TestAConnectionIsNotUsedBeyondItsAge(t *testing.T) {
	now := time.Now()
	tr := client(t, func(c *Config) {
		c.Age = func() time.Duration { return time.Minute }
		c.Now = func() time.Time { return now }
	})
	link := "http://" + upstream(t, nil, answering(fine))
	for _, c := range []struct {
		later  time.Duration
		opened uint64
	}{{0, 1}, {time.Minute, 1}, {time.Second, 2}, {time.Minute, 2}, {time.Second, 3}} {
		now = now.Add(c.later)
		unused(poolOf(t, tr, link), Settle)
		if _, body, err := ask(t, tr, Options{Party: "A"}, "GET", link, nil, nil); body != "fine" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		if n := tr.Counts().Opened; n != c.opened {
			t.Errorf("%d connections, want %d", n, c.opened)
		}
	}
}

// sessions says when a ticket has been taken in.
type sessions struct{ got chan struct{} }

func (s sessions) Get(string) (*tls.ClientSessionState, bool)  { return nil, false }
func (s sessions) Put(_ string, state *tls.ClientSessionState) { s.got <- struct{}{} }

// TLS 1.3 servers may send session tickets at any time after the handshake. They are no surplus.
func TestATicketOnAnUnusedConnectionIsTakenIn(t *testing.T) {
	config, tickets := serverConfig(t), sessions{make(chan struct{}, 1)}
	config.ClientAuth = tls.RequestClientCert // crypto/tls then sends the ticket after the client's last handshake message
	link := "https://" + upstream(t, config, answering(fine))
	tr := client(t, func(c *Config) {
		c.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			secured := TLS(NewSocket(raw, time.Minute), &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tickets})
			return secured, secured.HandshakeContext(ctx)
		}
	})
	p := poolOf(t, tr, link)
	c, err := tr.connect(t.Context(), p, "A", false, true)
	testkit.Must(t, err)
	for taken := false; !taken; {
		if got := c.look(); got != quiet {
			t.Fatalf("found %d", got)
		}
		select {
		case <-tickets.got:
			taken = true
		default:
			time.Sleep(time.Millisecond) // until it has come through the loopback
		}
	}
	c.party = "A"
	p.put(c)
	for range 2 {
		unused(p, Settle)
		if _, body, err := ask(t, tr, Options{Party: "A"}, "GET", link, nil, nil); body != "fine" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
	}
	if n := tr.Counts(); n.Opened != 1 || n.Surplus != 0 {
		t.Errorf("%+v", n)
	}
}

func TestCountsSayWhatBecameOfConnections(t *testing.T) {
	const own, earlier = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	for name, c := range map[string]struct {
		answers []string // to the requests on the first connection, which ends with them
		want    Counts
	}{
		"surplus at once":      {[]string{fine + "x", fine}, Counts{Opened: 2, Surplus: 1}},
		"an end while unused":  {[]string{fine}, Counts{Opened: 2, Ended: 1}},
		"an end at the second": {[]string{fine, ""}, Counts{Opened: 2, Resent: 1}},
		"another call's answer": {[]string{fine, "HTTP/1.1 200 OK\r\nBelGov-Related-Trace-Id: " + earlier +
			"\r\nContent-Length: 0\r\n\r\n"},
			Counts{Opened: 1, Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			link := "http://" + upstream(t, nil, func(n int, conn net.Conn) {
				if n > 0 {
					answering(fine)(n, conn)
					return
				}
				for _, answer := range c.answers {
					if _, ok := request(conn); !ok {
						return
					}
					io.WriteString(conn, answer)
				}
			})
			tr := client(t, nil)
			if _, _, err := ask(t, tr, Options{Party: "A"}, "GET", link, nil,
				http.Header{"BelGov-Trace-Id": {earlier}}); err != nil {
				t.Fatal(err)
			}
			if atOnce := tr.Counts().Surplus == 1; atOnce != (c.want.Surplus > 0) {
				t.Errorf("surplus at once: %v", atOnce)
			}
			p := poolOf(t, tr, link)
			unused(p, Settle)
			if c.want.Ended > 0 {
				for p.idle[0].look() != ended {
					time.Sleep(time.Millisecond) // until it has come through the loopback
				}
			}
			ask(t, tr, Options{Party: "A"}, "GET", link, nil, http.Header{"BelGov-Trace-Id": {own}})
			if got := tr.Counts(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTrailersComeThrough(t *testing.T) {
	link := "http://" + upstream(t, nil, answering(ok+"Trailer: X-Sum, Content-Length\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n"+
		"4\r\nfine\r\n0\r\nX-Sum: 7\r\nx-late: 8\r\nContent-Length: 9\r\n\r\n"))
	r, _ := http.NewRequest("GET", link, nil)
	a, err := client(t, nil).Do(t.Context(), r, Options{})
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
