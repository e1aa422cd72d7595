package whole_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap stands between the gateway and an upstream and keeps every byte that the
// upstream sends.
type tap struct {
	listener net.Listener
	upstream string // host:port

	mu    sync.Mutex
	sent  bytes.Buffer // by the upstream
	conns []net.Conn
	wg    sync.WaitGroup
}

// through puts p in front of the upstream of a route.
func (p *tap) through(route string) func(*testing.T, string) string {
	return func(t *testing.T, text string) string {
		t.Helper()
		found := regexp.MustCompile(`name: ` + route + `,.* upstream: "http://([^/"]+)`).FindStringSubmatchIndex(text)
		if found == nil {
			t.Fatalf("no %s in\n%s", route, text)
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
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &caller{h.t, conn, bufio.NewReader(conn)}
}

// raw sends bytes as they are and reads the answer.
func (h *house) raw(request string) answer {
	h.t.Helper()
	c := h.dial("")
	defer c.conn.Close()
	c.write(request)
	method, _, _ := strings.Cut(request, " ")
	return c.read(method)
}

// sendAs makes a request from an address.
func (h *house) sendAs(from, method, path, body string, fields ...string) answer {
	h.t.Helper()
	c := h.dial(from)
	defer c.conn.Close()
	lines := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for _, f := range fields {
		lines += f + "\r\n"
	}
	c.write(lines + "\r\n" + body)
	return c.read(method)
}

// as is sendAs without a body.
func (h *house) as(from, method, path string, fields ...string) answer {
	h.t.Helper()
	return h.sendAs(from, method, path, "", fields...)
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
