package wire

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// readAnswer reads an answer to a GET as an exchange does.
func readAnswer(text []byte) (a http.Response, body []byte, err error) {
	r := NewReader(bytes.NewReader(text))
	start, h, err := r.Head(answerHead)
	if err != nil {
		return a, nil, err
	}
	_, http10, err := parseStatus(&a, start)
	if err != nil {
		return a, nil, err
	}
	f, err := ParseFraming(h, http10)
	if err != nil {
		return a, nil, err
	}
	a.Header = h
	switch {
	case a.StatusCode < 200 || a.StatusCode == http.StatusNoContent || a.StatusCode == http.StatusNotModified:
	case f.Length == Chunked:
		c := NewChunks(r)
		body, err = io.ReadAll(&c)
	case f.Length == Undeclared:
		body, err = io.ReadAll(r)
	default:
		if body, err = io.ReadAll(io.LimitReader(r, f.Length)); err == nil && int64(len(body)) < f.Length {
			err = io.ErrUnexpectedEOF
		}
	}
	return a, body, err
}

// Where we accept an answer, net/http accepts it too and reads the same. We refuse more: see Limits and ParseFraming.
// What net/http refuses and we accept is repaired, as RFC 9112 has proxies do, and listed here.
func FuzzAnswersAreReadAsNetHTTPReadsThem(f *testing.F) {
	for _, s := range []string{
		fine, "HTTP/1.1 204 No Content\r\n\r\nsurplus", "HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nfine", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length : 2\n\nok",
	} {
		f.Add([]byte(s))
	}
	ask := httptest.NewRequest("GET", "/", nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, body, err := readAnswer(text)
		if err != nil {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), ask)
		if err != nil {
			// A list of equal lengths (RFC 9110, section 8.6), a blank before a colon (RFC 9112, section 5.1).
			return
		}
		defer theirs.Body.Close()
		their, err := io.ReadAll(theirs.Body)
		if ours.StatusCode != theirs.StatusCode || err == nil && !bytes.Equal(body, their) {
			t.Fatalf("we read %d %q, net/http %d %q", ours.StatusCode, body, theirs.StatusCode, their)
		}
		for name, values := range theirs.Header {
			if strings.TrimRight(name, " \t") != name {
				continue // net/http takes a blank before the colon for a part of the name, and the field is lost
			}
			if name != "Content-Length" && !reflect.DeepEqual(ours.Header[name], values) && !folded(text) && len(ours.Header[name]) != len(values) {
				t.Fatalf("%s: we read %q, net/http %q", name, ours.Header[name], values)
			}
		}
	})
}

// folded reports whether a value may be folded, where blanks are kept otherwise.
func folded(text []byte) bool {
	return bytes.Contains(text, []byte("\n ")) || bytes.Contains(text, []byte("\n\t"))
}
