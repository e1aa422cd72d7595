package whole_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tap stands between the gateway and an upstream and keeps every byte that the
// upstream sends. While it is down it accepts connections and closes them.
type tap struct {
	listener net.Listener
	upstream string // host:port
	down     atomic.Bool

	mu    sync.Mutex
	sent  bytes.Buffer // by the upstream
	conns []net.Conn
	wg    sync.WaitGroup
}

// through leads a route of the demo's configuration through p.
func through(p *tap, route string) func(*testing.T, string) string {
	return p.before(`name: ` + route + `,.* upstream: "http://([^/"]+)`)
}

// before puts p in front of the host that the first group of pattern matches in the
// configuration.
func (p *tap) before(pattern string) func(*testing.T, string) string {
	return func(t *testing.T, text string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatchIndex(text)
		if found == nil {
			t.Fatalf("no %s in\n%s", pattern, text)
		}
		p.upstream = text[found[2]:found[3]]
		var err error
		if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		p.wg.Go(p.accept)
		t.Cleanup(p.close)
		return text[:found[2]] + p.listener.Addr().String() + text[found[3]:]
	}
}

func (p *tap) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.down.Load() {
			_ = in.Close()
			continue
		}
		out, err := net.Dial("tcp", p.upstream)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		p.wg.Go(func() { _, _ = io.Copy(in, io.TeeReader(out, p)); _ = in.Close() })
	}
}

// Write keeps what the upstream sends.
func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.Write(b)
}

func (p *tap) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *tap) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent.Reset()
}

// answer reads the one answer that the upstream sent since forget.
func (p *tap) answer(t *testing.T, method string) answer {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := bufio.NewReader(bytes.NewReader(p.sent.Bytes()))
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("the upstream sent %q: %v", p.sent.String(), err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the upstream sent %q: %v", p.sent.String(), err)
	}
	if _, err := r.Peek(1); err == nil {
		t.Fatalf("the upstream sent more than one answer: %q", p.sent.String())
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// caller is a connection of somebody who writes HTTP by hand.
type caller struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects to the internal endpoint, from an address if it is not empty.
func (h *house) dial(from string) *caller {
	h.t.Helper()
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &caller{h.t, conn, bufio.NewReader(conn)}
}

// write sends bytes.
func (c *caller) write(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.60q: %v", text, err)
	}
}

// read reads one answer, an informational one included, to the end of its body.
func (c *caller) read(method string) answer {
	c.t.Helper()
	a, err := c.tryRead(method)
	if err != nil {
		c.t.Fatalf("reading the answer %v: %v", a, err)
	}
	return a
}

// tryRead is read for an answer that may end early: it gives as much as came.
func (c *caller) tryRead(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// closed tells whether the gateway closed the connection, and says nothing more.
func (c *caller) closed() bool {
	_, err := c.r.ReadByte()
	var timeout net.Error
	return err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}
