package whole_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// beside adds a route /beside to an upstream that is no simulator.
func beside(server *httptest.Server) func(*testing.T, string) string {
	return add("  - {name: beside, kind: ebox, path: /beside, upstream: '" + server.URL +
		"/base', scopes: [], enterprise: none}\n")
}

func TestTrailersOfAnAnswerReachTheCaller(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Checksum, Set-Cookie")
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		fmt.Fprint(w, `{"a":1}`)
		w.(http.Flusher).Flush()
		w.Header().Set("X-Checksum", "abc")
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}))
	defer server.Close()
	h := open(t, beside(server))
	for _, contentType := range []string{"text/plain", "application/json"} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(contentType+" over "+proto, func(t *testing.T) {
				transport := &http.Transport{Protocols: new(http.Protocols)}
				transport.Protocols.SetHTTP1(proto == "HTTP/1.1")
				transport.Protocols.SetUnencryptedHTTP2(proto == "HTTP/2")
				defer transport.CloseIdleConnections()
				resp, err := (&http.Client{Transport: transport}).Get(h.base + "/beside/x?type=" + contentType)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"a":1}` {
					t.Fatalf("%q %v", body, err)
				}
				if resp.Trailer.Get("X-Checksum") != "abc" || resp.Trailer.Get("X-Late") != "late" ||
					resp.Trailer.Get("Set-Cookie") != "" {
					t.Errorf("%v", resp.Trailer)
				}
			})
		}
	}
	t.Run("HTTP/1.0 has none", func(t *testing.T) {
		c := h.dial("")
		c.write("GET /beside/x?type=text/plain HTTP/1.0\r\n\r\n")
		if got := c.read("GET").want(t, 200); got.body != `{"a":1}` || got.header.Get("Content-Length") != "7" ||
			got.header.Get("Trailer") != "" {
			t.Errorf("%v %q", got.header, got.body)
		}
	})
}

// rawUpstream answers each request with bytes, whatever they are, and keeps the
// heads of the requests.
type rawUpstream struct {
	listener net.Listener
	mu       sync.Mutex
	answer   string
	heads    []string
	wg       sync.WaitGroup
}

func newRawUpstream(t *testing.T) *rawUpstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{listener: listener}
	u.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			u.wg.Go(func() { u.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); u.wg.Wait() })
	return u
}

func (u *rawUpstream) serve(conn net.Conn) {
	defer conn.Close()
	r, head := bufio.NewReader(conn), ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		head += line
	}
	u.mu.Lock()
	u.heads = append(u.heads, head)
	answer := u.answer
	u.mu.Unlock()
	_, _ = io.WriteString(conn, answer)
}

func TestAnswersThatNoUpstreamShouldGive(t *testing.T) {
	u := newRawUpstream(t)
	h := open(t, add("  - {name: beside, kind: ebox, path: /beside, upstream: 'http://"+u.listener.Addr().String()+
		"', scopes: [], enterprise: none, retry: {tries: 1}, breaker: {enabled: false}}\n"))
	for _, c := range []struct {
		name, answer string
		status       int
		proxy, body  string
	}{
		{"a switch that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " +
			"websocket\r\n\r\n", 502, "error=", ""},
		{"early hints first", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			200, "", "ok"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", 502, "error=", ""},
		{"a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", 502, "error=", ""},
		{"a header of 4 MB", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 4<<20) + "\r\n\r\n", 502,
			"error=http_response_header_section_size", ""},
		{"nothing", "", 502, "error=connection_terminated", ""},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-Le", 502, "error=", ""},
		{"HTTP/1.0 to its end", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end", 200, "", "to the end"},
		{"204 with a body", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\nsmuggled", 204, "", ""},
		{"JSON that is none", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n\xff\"\\\"x",
			200, "", "\xff\"\\\"x"},
		{"no content type", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 200, "", "<html>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u.mu.Lock()
			u.answer, u.heads = c.answer, nil
			u.mu.Unlock()
			got := h.get("/beside/x").want(t, c.status)
			if !strings.Contains(got.header.Get("Proxy-Status"), c.proxy) {
				t.Errorf("Proxy-Status %q", got.header.Get("Proxy-Status"))
			}
			if c.status != 502 && got.body != c.body {
				t.Errorf("%q", got.body)
			}
			if c.name == "no content type" && got.header.Get("Content-Type") != "" {
				t.Errorf("guessed %q", got.header.Get("Content-Type"))
			}
			if c.status == 502 {
				got.problem(t)
			}
			u.mu.Lock()
			defer u.mu.Unlock()
			if len(u.heads) != 1 {
				t.Errorf("upstream saw %d requests", len(u.heads))
			}
		})
	}
}

// What two servers could take for one request or for two must be one, or none.
func TestNoRequestIsSmuggledInAnother(t *testing.T) {
	h := open(t)
	inner := "GET /enterprises/own" + nsso + "/ebox HTTP/1.1\r\nHost: localhost\r\n\r\n"
	const start = " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	mandate := grant + "/mandates?representedEnterpriseNumber=" + mandated
	for _, c := range []struct{ name, request string }{
		{"in the body of a refused one", "POST " + box + "/../x" + start + fmt.Sprintf("Content-Length: %d\r\n\r\n",
			len(inner)) + inner},
		{"in the body of a method that the route lacks", "POST /ebox/registry/x" +
			start + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(inner)) + inner},
		{"in the body of a GET", "GET " + mandate + start + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(inner)) + inner},
		{"coding that is not understood", "POST " + grant + "/mandates" + start +
			"Transfer-Encoding: xchunked\r\n\r\n" + inner},
		{"coding twice", "POST " + grant + "/mandates" + start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: " +
			"identity\r\n\r\n0\r\n\r\n" + inner},
		{"two lengths", "POST " + grant + "/mandates" + start + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
			len(inner)) + inner},
		{"length with a sign", "POST " + grant + "/mandates" + start + "Content-Length: +0\r\n\r\n" + inner},
		{"space before the colon", "POST " + grant + "/mandates" + start + "Content-Length : 0\r\n\r\n" + inner},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			who := h.dial("")
			who.write(c.request)
			first, err := who.tryRead("GET")
			if err == nil && first.status < 400 {
				t.Errorf("%d %s", first.status, first.body)
			}
			for err == nil { // whatever else comes on this connection
				_, err = who.tryRead("GET")
			}
			if n := h.sim.RequestCount("provider:nsso"); n != 0 {
				t.Errorf("the inner request was served after %d", first.status)
			}
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	h := open(t)
	c := h.dial("")
	var all string
	for i := range 5 {
		number := []string{mandated, another}[i%2]
		all += "GET /enterprises/" + number + nsso + "/ebox/messages?pageSize=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
	}
	c.write(all)
	for i := range 5 {
		mine, other := mandated, another
		if i%2 == 1 {
			mine, other = another, mandated
		}
		if got := c.read("GET").want(t, 200); !strings.Contains(got.body, mine) || strings.Contains(got.body, other) {
			t.Errorf("answer %d is not for %s: %s", i, mine, got.body)
		}
	}
}
