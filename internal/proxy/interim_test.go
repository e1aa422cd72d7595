package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/wire"
)

func TestInterimAnswersPass(t *testing.T) {
	serve := func(_ int, c *peer) {
		for c.head() != "" {
			c.send("HTTP/1.1 102 Processing", "", "")
			c.send("HTTP/1.1 103 Early Hints", "Link: </REST/registry/v3/style>; rel=preload", "Set-Cookie: a=b",
				"Connection: X-Hop", "X-Hop: 1", "X-Hint: 1", "Proxy-Status: ebox-gateway; error=destination_not_found, theirs",
				"", "")
			c.send("HTTP/1.1 200 OK", "Content-Length: 2", "X-Final: 1", "", "ok")
		}
	}
	t.Run("before the final answer, and leave nothing in it", func(t *testing.T) {
		c := behindRaw(t, serve).dial()
		c.send("GET /x HTTP/1.1", "Host: a", "", "")
		if head := c.head(); head != "HTTP/1.1 102 Processing\r\n" {
			t.Fatalf("first\n%s", head)
		}
		hint := c.head()
		if !strings.HasPrefix(hint, "HTTP/1.1 103 Early Hints\r\n") || !strings.Contains(hint, "X-Hint: 1\r\n") ||
			!strings.Contains(hint, "<"+gatewayPrefix+"/style>") || !strings.Contains(hint, "Proxy-Status: theirs\r\n") {
			t.Errorf("second\n%s", hint)
		}
		for _, no := range []string{"Set-Cookie", "X-Hop", "Connection"} {
			if strings.Contains(hint, no) {
				t.Errorf("%s passes:\n%s", no, hint)
			}
		}
		final := c.head()
		if !strings.HasPrefix(final, "HTTP/1.1 200 OK\r\n") || !strings.Contains(final, "X-Final: 1\r\n") ||
			strings.Contains(final, "X-Hint") {
			t.Errorf("last\n%s", final)
		}
	})
	t.Run("but not to HTTP/1.0, which knows none", func(t *testing.T) {
		c := behindRaw(t, serve).dial()
		c.send("GET /x HTTP/1.0", "Host: a", "", "")
		if head := c.head(); !strings.Contains(head, " 200 OK\r\n") {
			t.Errorf("first\n%s", head)
		}
	})
}

func TestAFloodOfInterimAnswersReachesTheCallerOnlyOnce(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\n\r\n"
	g := behindRaw(t, func(_ int, c *peer) {
		c.head()
		c.send(strings.Repeat(hint, 2*wire.MostInterim))
		c.head() // until the gateway has closed the connection
	})
	once := g.up.Stack
	g.up.Stack = call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		for range 2 { // as package resilience does
			if answer, err := once.Send(ctx, c, r); err == nil {
				return answer, nil
			}
		}
		return once.Send(ctx, c, r)
	})
	c := g.dial()
	c.send("GET /x HTTP/1.1", "Host: a", "", "")
	passed := 0
	head := c.head()
	for ; head+"\r\n" == hint; head = c.head() {
		passed++
	}
	if passed != wire.MostInterim || !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("%d interim answers, then\n%s", passed, head)
	}
	if tries := (<-g.records).Tries; tries != 3 {
		t.Errorf("%d tries", tries)
	}
}

// The server writes a 100 when a caller's body is first read, which the transport does
// while it reads on from the upstream.
func TestAnInterimAnswerDoesNotBreakIntoA100(t *testing.T) {
	g := behindRaw(t, func(_ int, c *peer) {
		for c.head() != "" {
			c.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" +
				strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5))
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	})
	for range 10 {
		c := g.dial()
		c.send("POST /x HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 4", "", "")
		if head := c.head(); head != "HTTP/1.1 102 Processing\r\n" {
			t.Fatalf("before the 100\n%s", head)
		}
		head := c.head()
		for ; head == "HTTP/1.1 102 Processing\r\n" || head == "HTTP/1.1 100 Continue\r\n"; head = c.head() {
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("at last\n%s", head)
		}
	}
}

func TestCallerCredentialsPassWhereTheUpstreamIsSaidToKnowItsCallers(t *testing.T) {
	for _, passes := range []bool{false, true} {
		heads := make(chan string, 1)
		g := behindRaw(t, func(_ int, c *peer) {
			heads <- c.head()
			c.send("HTTP/1.1 200 OK", "Content-Length: 2", "Set-Cookie: s=1", "Strict-Transport-Security: max-age=1", "", "ok")
		})
		g.up.CallerCredentials = passes
		c := g.dial()
		c.send("GET /x HTTP/1.1", "Host: a", "Authorization: Basic abc", "Cookie: c=1", "Proxy-Authorization: p", "", "")
		both := <-heads + c.head()
		for name, want := range map[string]bool{"\r\nAuthorization: Basic abc": passes, "Cookie: c=1": passes,
			"Set-Cookie: s=1": passes, "Proxy-Authorization": false, "Strict-Transport-Security": false} {
			if strings.Contains(both, name) != want {
				t.Errorf("passes %t: %q:\n%s", passes, name, both)
			}
		}
	}
}
