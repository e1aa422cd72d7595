package whole_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

// tap stands between the gateway and an upstream and keeps what the upstream answered last.
type tap struct{ last answer }

// through puts p in front of the upstream of a route.
func (p *tap) through(route string) func(*testing.T, string) string {
	return func(t *testing.T, text string) string {
		t.Helper()
		found := regexp.MustCompile(`name: ` + route + `,.* upstream: "(http://[^/"]+)`).FindStringSubmatchIndex(text)
		if found == nil {
			t.Fatalf("no %s in\n%s", route, text)
		}
		upstream, err := url.Parse(text[found[2]:found[3]])
		testkit.Must(t, err)
		server := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
			ModifyResponse: func(resp *http.Response) error {
				body, err := io.ReadAll(resp.Body)
				p.last = answer{resp.StatusCode, resp.Header.Clone(), string(body)}
				resp.Body = io.NopCloser(bytes.NewReader(body))
				return err
			},
		})
		t.Cleanup(func() { server.Close(); http.DefaultClient.CloseIdleConnections() })
		return text[:found[2]] + server.URL + text[found[3]:]
	}
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
	conn, err := d.Dial("tcp", strings.TrimPrefix(h.Base, "http://"))
	testkit.Must(h.t, err)
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

// closed reports whether the gateway closed the connection, and says nothing more.
func (c *caller) closed() bool {
	_, err := c.r.ReadByte()
	var timeout net.Error
	return err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}
