package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// answers serves each request on each connection with a fixed text and closes.
func answers(text string) func(int, *peer) {
	return func(_ int, c *peer) {
		if c.head() != "" {
			c.send(text)
		}
	}
}

func TestAnAnswerThatIsCutShortStaysCutShort(t *testing.T) {
	cases := []struct{ name, answer, body string }{
		{"of known length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Type: application/pdf\r\n\r\nhello", "hello"},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n5\r\nhello\r\n",
			"hello"},
		{"within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", "hello"},
		{"JSON in chunks, the links before the cut rewritten",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n23\r\n" +
				`{"href":"/REST/registry/v3/x","a":"` + "\r\n", `{"href":"` + gatewayPrefix + `/x","a":"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := behindRaw(t, answers(c.answer))
			a := g.get("GET", "/x", nil, nil)
			if !errors.Is(a.err, syscall.ECONNRESET) || a.Response == nil || a.StatusCode != 200 || a.body != c.body {
				t.Fatalf("%v %q", a.err, a.body)
			}
			if rec := g.record(); !rec.Cut || rec.Cause == nil || rec.BytesOut != int64(len(c.body)) {
				t.Fatalf("%+v", rec)
			}
		})
	}
}

func TestACutBeforeTheHeaderLeftIsAProblem(t *testing.T) {
	g := behindRaw(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 20\r\nX-Theirs: 1\r\nContent-Type: "+
		"application/json\r\n\r\n{\"href\":"))
	a := g.get("GET", "/x", nil, nil)
	if a.err != nil || a.StatusCode != 502 || a.header("Content-Type") != "application/problem+json" ||
		a.header("X-Theirs") != "" {
		t.Fatalf("%v %v", a.err, a.Response)
	}
	if got := a.header("Proxy-Status"); got != "ebox-gateway; error=http_response_incomplete; tries=1" {
		t.Fatal(got)
	}
}

func TestHTTP10(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 2<<20/16)
	chunked := func(body string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n" + chunk(body)
	}
	request := []string{"GET /x HTTP/1.0", "", ""}

	t.Run("an answer of unknown length gets one", func(t *testing.T) {
		c := behindRaw(t, answers(chunked("hello")+"0\r\n\r\n")).dial()
		c.send(request...)
		head := c.head()
		if body, err := c.rest(); !strings.Contains(head, "Content-Length: 5\r\n") || body != "hello" || err != nil {
			t.Fatalf("%s%q %v", head, body, err)
		}
	})
	t.Run("one that is cut while it is held back is a problem", func(t *testing.T) {
		c := behindRaw(t, answers(chunked("hello"))).dial()
		c.send(request...)
		if head := c.head(); !strings.HasPrefix(head, "HTTP/1.0 502") {
			t.Fatal(head)
		}
	})
	t.Run("a long one streams", func(t *testing.T) {
		c := behindRaw(t, answers(chunked(long)+"0\r\n\r\n")).dial()
		c.send(request...)
		head := c.head()
		if body, err := c.rest(); strings.Contains(head, "Content-Length") || body != long || err != nil {
			t.Fatalf("%s%d bytes, %v", head, len(body), err)
		}
	})
	t.Run("a long one that is cut ends in a reset", func(t *testing.T) {
		g := behindRaw(t, answers(chunked(long)))
		c := g.dial()
		c.send(request...)
		c.head()
		if _, err := c.rest(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the caller cannot tell: %v", err)
		}
		if rec := g.record(); !rec.Cut {
			t.Fatalf("%+v", rec)
		}
	})
	t.Run("long JSON with links", func(t *testing.T) {
		text := `{"href":"/REST/registry/v3/x","a":"` + long[:100<<10] + `"}`
		c := behind(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, text)
		}).dial()
		c.send(request...)
		c.head()
		want := strings.Replace(text, "/REST/registry/v3", gatewayPrefix, 1)
		if body, _ := c.rest(); body != want {
			t.Fatalf("%d bytes", len(body))
		}
	})
}

func chunk(body string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(body), body) }
