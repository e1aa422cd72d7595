package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What holds for a field of a header holds for it behind the body as well.
func TestATrailerPassesAsAFieldOfTheHeaderWould(t *testing.T) {
	for _, kind := range []string{"text/plain", "application/json"} {
		g := behindRaw(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nContent-Type: "+kind+
			"\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n2\r\n[]\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\nAlt-Svc: x\r\n"+
			"Proxy-Status: ebox-gateway; error=destination_not_found, theirs\r\nCache-Status: ebox-gateway; hit\r\n"+
			"Link: </REST/registry/v3/next>; rel=next\r\n\r\n"))
		a := g.get("GET", "/x", nil, nil)
		want := http.Header{
			"X-Sum": {"1"}, "Proxy-Status": {"theirs"}, "Link": {"<" + gatewayPrefix + "/next>; rel=next"},
		}
		if a.body != "[]" || len(a.Trailer) != len(want) {
			t.Errorf("%q, trailers %v", a.body, a.Trailer)
		}
		for name := range want {
			if a.Trailer.Get(name) != want.Get(name) {
				t.Errorf("%s: %q", name, a.Trailer.Get(name))
			}
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
	c.send("POST /x HTTP/1.1", "Host: a", "Connection: x-hop", "Transfer-Encoding: chunked",
		"Trailer: X-Hop, X-Sum, Authorization, X-Forwarded-For", "",
		"2\r\nhi\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nAuthorization: evil\r\nX-Forwarded-For: evil\r\n"+
			"On-Behalf-Of-Enterprise-Number: evil\r\nX-Other: not announced\r\n\r\n")
	if head := c.head(); !strings.Contains(head, " 200 OK\r\n") {
		t.Fatal(head)
	}
	if trailer := <-got; len(trailer) != 1 || trailer.Get("X-Sum") != "1" {
		t.Errorf("%v", trailer)
	}
}
