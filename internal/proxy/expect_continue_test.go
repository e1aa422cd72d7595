package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
)

func TestARefusalBefore100ReachesTheCallerWithout100(t *testing.T) {
	for _, connection := range []string{"keep-alive", "close"} {
		t.Run("upstream says "+connection, func(t *testing.T) {
			g := behindRaw(t, func(_ int, c *peer) {
				if head := c.head(); !strings.Contains(head, "Expect: 100-continue\r\n") {
					c.t.Errorf("the upstream is not asked first:\n%s", head)
				}
				c.send("HTTP/1.1 403 Forbidden", "Content-Length: 2", "Connection: "+connection, "", "no")
				if body, _ := c.rest(); body != "" {
					c.t.Errorf("the body was sent all the same: %q", body)
				}
			})
			c := g.dial()
			// A transport that read the body as soon as the refusal is there would ask the
			// caller for it: give it time to, before the answer goes on to the caller.
			early := make(chan bool)
			go func() {
				_, _ = c.r.Peek(1)
				close(early)
			}()
			stack := g.up.Stack
			g.up.Stack = call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
				resp, err := stack.Send(ctx, c, r)
				select {
				case <-early:
				case <-time.After(50 * time.Millisecond):
				}
				return resp, err
			})
			c.send("POST /x HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 5", "", "")
			<-early
			head := c.head()
			if !strings.HasPrefix(head, "HTTP/1.1 403") || !strings.Contains(head, "Connection: close\r\n") {
				t.Fatalf("the caller received\n%s", head)
			}
			if body, err := c.rest(); body != "no" || err != nil {
				t.Fatalf("body %q, %v", body, err)
			}
			if rec := g.record(); rec.BytesIn != 0 || rec.Status != 403 {
				t.Fatalf("%+v", rec)
			}
		})
	}
}

func TestATryAfterARefusalIsAskedAnew(t *testing.T) {
	g := behindRaw(t, func(n int, c *peer) {
		c.head()
		if n == 1 {
			c.send("HTTP/1.1 401 Unauthorized", "Content-Length: 0", "", "")
			_, _ = c.rest()
			return
		}
		c.send("HTTP/1.1 100 Continue", "", "")
		if body := c.exactly(5); body != "hello" {
			c.t.Errorf("body %q", body)
		}
		c.send("HTTP/1.1 201 Created", "Content-Length: 0", "", "")
	})
	g.up.Stack = twice{g.up.Stack}
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 5", "", "")
	if head := c.head(); head != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("first %q", head)
	}
	c.send("hello")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 201") {
		t.Fatalf("then %q", head)
	}
	if rec := g.record(); rec.Tries != 2 || rec.BytesIn != 5 {
		t.Fatalf("%+v", rec)
	}
}

func TestABodyOverTheLimitIsRefusedBefore100(t *testing.T) {
	g := behindRaw(t, func(_ int, c *peer) { c.t.Errorf("the upstream was asked: %s", c.head()) })
	g.limit(4)
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 5", "", "")
	text, err := c.rest()
	if err != nil || !strings.HasPrefix(text, "HTTP/1.1 413") || !strings.Contains(text, `"limit":4`) ||
		!strings.Contains(text, "Connection: close\r\n") {
		t.Fatalf("the caller received\n%s", text)
	}
}

func TestABodyThatProvesTooLargeEndsTheExchange(t *testing.T) {
	cut := make(chan string, 1)
	g := behindRaw(t, func(_ int, c *peer) {
		c.head()
		text, _ := c.rest()
		cut <- text
	})
	g.limit(4)
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "", "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 413") {
		t.Fatalf("the caller received\n%s", head)
	}
	if got := <-cut; strings.HasSuffix(got, "0\r\n\r\n") {
		t.Fatalf("the upstream was given a whole body: %q", got)
	}
}
