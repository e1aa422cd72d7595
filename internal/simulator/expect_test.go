package simulator

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Found by a gateway that passes Expect on: the server read a refused body all the
// same, and asked for it first.
func TestARefusalBeforeTheBodySendsNo100(t *testing.T) {
	l := newLab(t)
	base, err := url.Parse(l.ProviderURL("nsso"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", base.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(conn, "PATCH "+base.Path+"/ebox/messages HTTP/1.1\r\nHost: "+base.Host+
		"\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want the 401 of a request without a token at once", resp.StatusCode)
	}
}
