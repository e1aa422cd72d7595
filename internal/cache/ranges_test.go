package cache_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestParts(t *testing.T) {
	for _, c := range []struct {
		name   string
		again  []string
		status int
		body   string
		of     string
	}{
		{"the beginning", []string{"Range: bytes=0-3"}, 206, "0123", "bytes 0-3/10"},
		{"the rest", []string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"the end", []string{"Range: bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{"more than there is", []string{"Range: bytes=5-99"}, 206, "56789", "bytes 5-9/10"},
		{"an end longer than all", []string{"Range: bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		{"beyond", []string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{"none of the end", []string{"Range: bytes=-0"}, 416, "", "bytes */10"},
		{"several", []string{"Range: bytes=0-1,3-4"}, 200, "0123456789", ""},
		{"another unit", []string{"Range: items=0-1"}, 200, "0123456789", ""},
		{"of the tag", []string{"Range: bytes=0-3", `If-Range: "a"`}, 206, "0123", "bytes 0-3/10"},
		{"of another tag", []string{"Range: bytes=0-3", `If-Range: "b"`}, 200, "0123456789", ""},
		{"of a weak tag", []string{"Range: bytes=0-3", `If-Range: W/"a"`}, 200, "0123456789", ""},
		{"of the date", []string{"Range: bytes=0-3", "If-Range: Fri, 31 Dec 1999 00:00:00 GMT"}, 206, "0123", "bytes 0-3/10"},
		{"of a later date", []string{"Range: bytes=0-3", "If-Range: Sat, 01 Jan 2000 00:00:00 GMT"}, 200, "0123456789", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("0123456789", "Cache-Control: max-age=60", `ETag: "a"`,
				"Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"))
			r.get("/a")
			g := r.get("/a", c.again...)
			if g.status != c.status || g.body != c.body || g.header.Get("Content-Range") != c.of || r.count() != 1 {
				t.Errorf("%d %q %v", g.status, g.body, g.header)
			}
		})
	}
}

func TestAPartIsKeptForTheSameRange(t *testing.T) {
	r := newRig(t, func(req *http.Request) (*http.Response, error) {
		switch req.Header.Get("Range") {
		case "bytes=-5":
			return reply(206, "56789", "Cache-Control: max-age=60", "Content-Range: bytes 5-9/10", `Etag: "1"`), nil
		case "bytes=0-1,8-9":
			return reply(206, "--x...", "Cache-Control: max-age=60", "Content-Type: multipart/byteranges; boundary=x"), nil
		}
		return reply(200, "0123456789", "Cache-Control: max-age=60", `Etag: "1"`), nil
	})
	for _, of := range []struct {
		name   string
		fields []string
		status int
		body   string
		how    string
	}{
		{"it is stored", []string{"Range: bytes=-5"}, 206, "56789", "fwd=uri-miss; stored"},
		{"and given again", []string{"Range: bytes=-5"}, 206, "56789", "hit"},
		{"or said to be what the caller has", []string{"Range: bytes=-5", `If-None-Match: "1"`}, 304, "", "hit"},
		{"several are not", []string{"Range: bytes=0-1,8-9"}, 206, "--x...", "fwd=vary-miss"},
		{"and so not again", []string{"Range: bytes=0-1,8-9"}, 206, "--x...", "fwd=vary-miss"},
		{"under a condition it is another matter", []string{"Range: bytes=-5", `If-Range: "1"`}, 206,
			"56789", "fwd=vary-miss"},
		{"it is never given for the whole", nil, 200, "0123456789", "fwd=vary-miss; stored"},
		{"from which all ranges are", []string{"Range: bytes=1-2"}, 206, "12", "hit"},
	} {
		g := r.get("/a", of.fields...)
		if g.status != of.status || g.body != of.body || !strings.Contains(g.cache, of.how) ||
			strings.Contains(g.cache, "stored") != strings.Contains(of.how, "stored") {
			t.Errorf("%s: %d %q %s", of.name, g.status, g.body, g.cache)
		}
	}
	if g := r.do(asked{method: "HEAD", path: "/b", header: fieldsOf("Range: bytes=-5")}); g.fromCache() {
		t.Errorf("HEAD: %s", g.cache)
	}
}

func TestARangeThatCannotBeIsNotKeptForTheWhole(t *testing.T) {
	r := newRig(t, func(req *http.Request) (*http.Response, error) {
		if len(req.Header["Range"]) > 0 {
			return reply(416, "", "Cache-Control: max-age=60", "Content-Range: bytes */10"), nil
		}
		return reply(200, "0123456789", "Cache-Control: max-age=60", "Content-Type: text/plain"), nil
	})
	mustGet(t, r.get("/a", "Range: bytes=20-30"), 416, "", "fwd=uri-miss")
	mustGet(t, r.get("/a"), 200, "0123456789", "fwd=uri-miss; stored")
	mustGet(t, r.get("/a", "Range: bytes=20-30"), 416, "", "hit")
	if g := r.get("/a"); g.status != 200 || len(g.header["Content-Type"]) != 1 {
		t.Errorf("%d with %v", g.status, g.header)
	}
}
