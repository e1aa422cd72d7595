// Inside, since what it tests is a function of bytes: a connection for each input would make it a hundred times slower.

package listen

import (
	"bufio"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"ebox-gateway/internal/wire"
)

// FuzzRequest compares with net/http: what this package takes, net/http takes as the same
// request.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b=c HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc",
		"POST /x?y? HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n", "GET /? HTTP/1.0\r\n\r\n", "GET //a/b HTTP/1.0\r\n\r\n",
		"GET /a%20b;c,d HTTP/1.0\r\n\r\n", "GET /é HTTP/1.0\r\n\r\n", "GET /a?é#b HTTP/1.0\r\n\r\n",
		"GET /a#b HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\nHost:\nTransfer-Encoding: chunked\n\n0\r\nA: b\n\n",
		"GET /%41 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX:\r\nX: b \r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := &conn{r: wire.NewReader(strings.NewReader(text), nil), base: t.Context()}
		start, header, err := c.r.Head(wire.Limits{Bytes: 1 << 16, Line: 1 << 16, Fields: mostFields, Request: true})
		if err != nil {
			return
		}
		both := header["Content-Length"] != nil && header["Transfer-Encoding"] != nil
		e, p := c.request(start, header)
		if p != nil {
			return
		}
		defer e.ctx.cancel()
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimLeft(text, "\r\n"))))
		if err != nil {
			// Empty lines before the request line, which net/http does not skip, are cut off
			// above; a lone CR among them is not one.
			t.Fatalf("net/http refuses %q: %v", text, err)
		}
		ours := e.req
		body, ourErr := io.ReadAll(ours.Body)
		theirBody, theirErr := io.ReadAll(theirs.Body)
		// Trailer fields may end in a bare LF like those of the head, which net/http does not
		// look for when it wants to know whether they end.
		loneLF := theirErr != nil && strings.Contains(theirErr.Error(), "suspiciously long trailer")
		if ourErr == nil && !loneLF && (theirErr != nil || string(body) != string(theirBody)) {
			t.Errorf("body %q, net/http has %q, %v", body, theirBody, theirErr)
		}
		delete(theirs.Header, "Host")
		// RFC 9111, section 5.4, leaves Pragma to caches; net/http makes a Cache-Control of it.
		if theirs.Header["Pragma"] != nil {
			delete(theirs.Header, "Cache-Control")
			delete(ours.Header, "Cache-Control")
		}
		if !reflect.DeepEqual(ours.Header, theirs.Header) && ours.Header.Get("Trailer") == "" {
			t.Errorf("header %q, net/http has %q", ours.Header, theirs.Header)
		}
		if ours.Method != theirs.Method || ours.RequestURI != theirs.RequestURI || ours.Host != theirs.Host ||
			!reflect.DeepEqual(ours.URL, theirs.URL) ||
			ours.ContentLength != theirs.ContentLength || ours.Close != theirs.Close && !both {
			t.Errorf("%+v\nnet/http has\n%+v", ours, theirs)
		}
	})
}
