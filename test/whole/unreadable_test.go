package whole_test

import (
	"strings"
	"testing"
)

func TestARequestThatCannotBeReadGetsAProblem(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		name, request string
		status        int
		kind          string
	}{
		{"no HTTP at all", "HELO gateway\r\n\r\n", 400, "belgif:badRequest"},
		{"no Host in HTTP/1.1", "GET /ebox/providers HTTP/1.1\r\n\r\n", 400, "belgif:badRequest"},
		{"a blank in a field's name", "GET /ebox/providers HTTP/1.1\r\nHost: localhost\r\nX Y: 1\r\n\r\n", 400,
			"belgif:badRequest"},
		{"two lengths", "POST /grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: " +
			"2\r\n\r\nab", 400, "belgif:badRequest"},
		{"an unknown transfer coding", "POST /grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " +
			"rot13\r\n\r\n", 501, "ebox-gateway:notImplemented"},
		{"a version to come", "GET /ebox/providers HTTP/3.7\r\nHost: localhost\r\n\r\n", 505,
			"ebox-gateway:httpVersionNotSupported"},
		{"a header without an end", "GET /ebox/providers HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 80<<10) +
			"\r\n\r\n", 431, "ebox-gateway:requestHeaderFieldsTooLarge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.raw(c.request)
			p := got.problem(t)
			if got.status != c.status || p["type"] != "urn:problem-type:"+c.kind {
				t.Errorf("%d %s, want %d", got.status, got.body, c.status)
			}
			id := got.header.Get("X-Request-Id")
			if id == "" || p["instance"] != "urn:uuid:"+id {
				t.Errorf("%v %s", got.header, got.body)
			}
			if detail, _ := p["detail"].(string); strings.Contains(detail, ": .") || len(detail) < 40 {
				t.Errorf("detail %q", detail)
			}
		})
	}
}
