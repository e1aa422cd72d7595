package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRequestTrailersPassIfAnnouncedAndAllowed(t *testing.T) {
	got := make(chan string, 1)
	g := behindRaw(t, func(_ int, c *peer) {
		head := c.head()
		body := ""
		for !strings.HasSuffix(body, "0\r\n") {
			line, err := c.r.ReadString('\n')
			if err != nil {
				break
			}
			body += line
		}
		got <- head + "|" + c.head()
		c.send("HTTP/1.1 200 OK", "Content-Length: 0", "", "")
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum, Authorization, X-Forwarded-For",
		"",
		"2\r\nhi\r\n0\r\nX-Sum: 42\r\nAuthorization: evil-value\r\nX-Forwarded-For: "+
			"evil-value\r\nOn-Behalf-Of-Enterprise-Number: evil-value\r\nX-Other: evil-value\r\n\r\n")
	c.head()
	text := <-got
	if strings.Contains(text, "evil-value") || !strings.Contains(text, "Trailer: X-Sum\r\n") ||
		!strings.HasSuffix(text, "|X-Sum: 42\r\n") {
		t.Fatal(text)
	}
}

func TestAnswerTrailersPass(t *testing.T) {
	for _, kind := range []string{"text/plain", "application/json"} {
		t.Run(kind, func(t *testing.T) {
			g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.Header().Set("Trailer", "X-Sum, Set-Cookie")
				_, _ = io.WriteString(w, `{"href":"/x"}`)
				w.Header().Set("X-Sum", "42")
				w.Header().Set("Set-Cookie", "a=b")
				w.Header().Set(http.TrailerPrefix+"X-Late", "43")
				w.Header().Set(http.TrailerPrefix+"Alt-Svc", "x")
			})
			a := g.get("GET", "/x", nil, nil)
			if a.body != `{"href":"/x"}` || a.err != nil {
				t.Fatalf("%q %v", a.body, a.err)
			}
			if tr := a.Trailer; tr.Get("X-Sum") != "42" || tr.Get("X-Late") != "43" || len(tr) != 2 {
				t.Fatalf("trailers %v", tr)
			}
		})
	}
}
