package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What holds for a field of a header holds for it behind the body as well.
func TestATrailerPassesAsAFieldOfTheHeaderWould(t *testing.T) {
	g := behindRaw(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\n\r\n"+
		"2\r\nhi\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nProxy-Status: ebox-gateway; error=destination_not_found, theirs\r\n"+
		"Cache-Status: ebox-gateway; hit\r\nLink: </REST/registry/v3/next>; rel=next\r\n\r\n"))
	a := g.get("GET", "/x", nil, nil)
	want := http.Header{
		"X-Sum": {"1"}, "Proxy-Status": {"theirs"}, "Link": {"<" + gatewayPrefix + "/next>; rel=next"},
	}
	if a.body != "hi" || len(a.Trailer) != len(want) {
		t.Errorf("%q, trailers %v", a.body, a.Trailer)
	}
	for name := range want {
		if a.Trailer.Get(name) != want.Get(name) {
			t.Errorf("%s: %q", name, a.Trailer.Get(name))
		}
	}
}

func TestATrailerThatConnectionNamesGoesNoFurther(t *testing.T) {
	got := make(chan http.Header, 1)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Connection: x-hop", "Transfer-Encoding: chunked", "Trailer: X-Hop, X-Sum", "",
		"2\r\nhi\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\n\r\n")
	if head := c.head(); !strings.Contains(head, " 200 OK\r\n") {
		t.Fatal(head)
	}
	if trailer := <-got; len(trailer) != 1 || trailer.Get("X-Sum") != "1" {
		t.Errorf("%v", trailer)
	}
}
