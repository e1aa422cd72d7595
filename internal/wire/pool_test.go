package wire

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// kept asks once for party and gives the pool with the connection that was opened.
func kept(t *testing.T, party string, change func(*Config)) (*Transport, *pool) {
	link := "http://" + upstream(t, nil, answering(fine))
	tr := client(t, change)
	if _, body, err := ask(t, tr, Options{Party: party}, "GET", link, nil, nil); body != "fine" || err != nil {
		t.Fatalf("%q, %v", body, err)
	}
	return tr, poolOf(t, tr, link)
}

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
		surplus       bool // another connection has had surplus bytes
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
				p := poolOf(t, New(Config{IdleConn: time.Hour}), "http://up")
				here, there := net.Pipe()
				defer here.Close()
				defer there.Close()
				until := time.Now().Add(time.Hour)
				p.idle = []*conn{{Conn: here, pool: p, party: "A", wary: c.wary, hurried: c.hurried, until: until}}
				unused(p, c.unused)
				if c.surplus {
					p.sawSurplus()
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

func TestASecondTransportKnowsOfSurplus(t *testing.T) {
	common := NewCalls()
	_, p := kept(t, "A", func(c *Config) { c.Calls = common })
	p.sawSurplus()
	again := New(Config{Calls: common})
	q, err := again.pool(&url.URL{Scheme: p.scheme, Host: p.host})
	if err != nil || q.distrusted.Load() == 0 {
		t.Errorf("distrusted until %d; %v", q.distrusted.Load(), err)
	}
}

// A provider's second answer to A's first request is taken for the answer to A's second. The true one comes when it
// likes: long after the rest, and then it must not be B's.
func TestAnAnswerThatSurplusPushedBackReachesNoOtherParty(t *testing.T) {
	both(t, func(t *testing.T, scheme string, config *tls.Config) {
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
		rested(t, tr, link)
		if _, text, err := ask(t, tr, Options{Party: "B"}, "GET", link, nil, nil); text != "B, 1" || err != nil {
			t.Errorf("B got %q, %v", text, err)
		}
	})
}

func TestTheConnectionUnusedLongestMakesRoom(t *testing.T) {
	_, p := kept(t, "A", nil)
	oldest := p.idle[0]
	p.idle = append(p.idle, make([]*conn, mostIdle-1)...)
	for i := 1; i < mostIdle; i++ {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		p.idle[i] = &conn{Conn: here, socket: NewSocket(here, time.Second), pool: p}
	}
	last := p.idle[mostIdle-1]
	p.idle = p.idle[:mostIdle-1]
	p.put(last)
	if len(p.idle) != mostIdle || p.idle[0] != oldest {
		t.Fatalf("%d connections are kept", len(p.idle))
	}
	here, there := net.Pipe()
	defer there.Close()
	p.put(&conn{Conn: here, socket: NewSocket(here, time.Second), pool: p})
	if len(p.idle) != mostIdle || p.idle[0] == oldest || oldest.look() != ended {
		t.Errorf("%d connections are kept", len(p.idle))
	}
}

func TestAConnectionIsNotUsedBeyondItsAge(t *testing.T) {
	var passed atomic.Int64
	begin := time.Now()
	tr, p := kept(t, "A", func(c *Config) {
		c.Age = func() time.Duration { return time.Minute }
		c.Now = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	})
	link := "http://" + p.host
	for _, c := range []struct {
		at     time.Duration
		opened uint64
	}{{time.Minute, 1}, {time.Minute + time.Second, 2}, {2*time.Minute + time.Second, 2},
		{2*time.Minute + 2*time.Second, 3}} {
		passed.Store(int64(c.at))
		unused(p, Settle)
		if _, body, err := ask(t, tr, Options{Party: "A"}, "GET", link, nil, nil); body != "fine" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		if n := tr.Counts().Opened; n != c.opened {
			t.Errorf("after %v: %d connections, want %d", c.at, n, c.opened)
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
	if err != nil {
		t.Fatal(err)
	}
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

func TestTrailersAndRangesComeThrough(t *testing.T) {
	both(t, func(t *testing.T, scheme string, config *tls.Config) {
		const chunked = "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Content-Length\r\nTransfer-Encoding: " +
			"chunked\r\n\r\n4\r\nfine\r\n0\r\nX-Sum: 7\r\nx-late: 8\r\nContent-Length: 9\r\n\r\n"
		const partial = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/9\r\nContent-Length: 2\r\n\r\nne"
		link := scheme + "://" + upstream(t, config, func(_ int, c net.Conn) {
			for {
				head, ok := request(c)
				if !ok {
					return
				}
				if strings.Contains(head, "\r\nRange: bytes=2-3\r\n") {
					io.WriteString(c, partial)
				} else {
					io.WriteString(c, chunked)
				}
			}
		})
		tr := client(t, nil)
		r, _ := http.NewRequest("GET", link, nil)
		a, err := tr.Do(t.Context(), r, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, announced := a.Trailer["X-Sum"]; !announced || len(a.Trailer) != 1 || a.Trailer.Get("X-Sum") != "" {
			t.Errorf("announced: %v", a.Trailer)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if want := (http.Header{"X-Sum": {"7"}, "X-Late": {"8"}}); string(text) != "fine" || err != nil ||
			!reflect.DeepEqual(a.Trailer, want) {
			t.Errorf("%q, %v, trailer %v", text, err, a.Trailer)
		}
		unused(poolOf(t, tr, link), Settle)
		r.Header.Set("Range", "bytes=2-3")
		if a, err = tr.Do(t.Context(), r, Options{}); err != nil {
			t.Fatal(err)
		}
		text, err = io.ReadAll(a.Body)
		a.Body.Close()
		if a.StatusCode != http.StatusPartialContent || string(text) != "ne" || err != nil ||
			a.Header.Get("Content-Range") != "bytes 2-3/9" {
			t.Errorf("%d %v %q, %v", a.StatusCode, a.Header, text, err)
		}
		if n := tr.Counts().Opened; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}
