package proxy_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestWhatIsAskedForOnARouteThatRewrites(t *testing.T) {
	for _, c := range []struct {
		name              string
		rewrite, document bool
		coding, rng       string
	}{
		{"links are rewritten: uncoded and whole", true, false, "identity", ""},
		{"a document: as the caller asked", true, true, "gzip", "bytes=0-9"},
		{"no links are rewritten: as the caller asked", false, false, "gzip", "bytes=0-9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan http.Header, 1)
			g := behind(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
			g.up.RewriteLinks = c.rewrite
			g.call = func(_ *http.Request, made *call.Call) { made.Document = c.document }
			g.get("GET", "/x", http.Header{"Accept-Encoding": {"gzip"}, "Range": {"bytes=0-9"}, "If-Range": {`"x"`}}, nil)
			h := <-got
			if h.Get("Accept-Encoding") != c.coding || h.Get("Range") != c.rng || (h.Get("If-Range") == "") != (c.rng == "") {
				t.Fatalf("%v", h)
			}
		})
	}
}

func TestAnswersThatAreRewritten(t *testing.T) {
	const link, back = `{"href":"/REST/registry/v3/x"}`, `{"href":"` + gatewayPrefix + `/x"}`
	large := `{"href":"/REST/registry/v3/x","a":"` + strings.Repeat("a", 100<<10) + `"}`
	largeBack := strings.Replace(large, "/REST/registry/v3", gatewayPrefix, 1)
	cases := []struct {
		name, kind, coding, body, want string
		document                       bool
		length                         int
	}{
		{"JSON", "application/json", "", link, back, false, len(back)},
		{"JSON with a parameter, in capitals", "Application/JSON ; charset=utf-8", "", link, back, false, len(back)},
		{"HAL", "application/hal+json", "", link, back, false, len(back)},
		{"JSON of more than 64 KiB", "application/json", "", large, largeBack, false, -1},
		{"a problem", "application/problem+json", "", link, link, false, len(link)},
		{"JSON whose coding is none", "application/json", "none", link, back, false, len(back)},
		{"a document that is JSON", "application/json", "", link, link, true, len(link)},
		{"text", "text/plain", "", link, link, false, len(link)},
	}
	digests := []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}
	for _, c := range cases {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(c.name+" "+method, func(t *testing.T) {
				g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
					h := w.Header()
					h.Set("Content-Type", c.kind)
					if c.coding != "" {
						h.Set("Content-Encoding", c.coding)
					}
					for _, name := range digests {
						h.Set(name, "sum")
					}
					h.Set("Etag", `"tag"`)
					h.Set("Content-Length", strconv.Itoa(len(c.body)))
					_, _ = io.WriteString(w, c.body)
				})
				g.call = func(_ *http.Request, made *call.Call) { made.Document = c.document }
				a := g.get(method, "/x", nil, nil)
				rewritten := c.body != c.want
				for _, name := range digests {
					if (a.header(name) == "") != rewritten {
						t.Errorf("%s: %q", name, a.header(name))
					}
				}
				if a.header("Etag") != `"tag"` {
					t.Error("the entity tag is gone")
				}
				if method == "HEAD" {
					length := a.header("Content-Length")
					if (length == "") != rewritten || !rewritten && a.ContentLength != int64(c.length) {
						t.Errorf("length %s", length)
					}
				} else if a.body != c.want || a.ContentLength != int64(c.length) {
					t.Errorf("length %d, %.300s", a.ContentLength, a.body)
				}
			})
		}
	}
}

func TestJSONThatIsCodedAllTheSameIsRewritten(t *testing.T) {
	const link, back = `{"next":"/REST/registry/v3/x?page=2"}`, `{"next":"` + gatewayPrefix + `/x?page=2"}`
	large := `{"a":"` + strings.Repeat("a", 100<<10) + `","next":"/REST/registry/v3/x"}`
	largeBack := strings.Replace(large, "/REST/registry/v3", gatewayPrefix, 1)
	gzipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return b.String()
	}
	for _, c := range []struct {
		name, coding, body string
		document           bool
		status             int
		want, wantCoding   string // of a 502 want is the error in Proxy-Status
	}{
		{"gzip", "gzip", gzipped(link), false, 200, back, ""},
		{"gzip of more than 64 KiB", "gzip", gzipped(large), false, 200, largeBack, ""},
		{"an empty body", "gzip", "", false, 200, "", ""},
		{"a document", "gzip", gzipped(link), true, 200, gzipped(link), "gzip"},
		{"an unknown coding", "br", link, false, 502, "http_response_content_coding", ""},
		{"what is not gzip", "gzip", link, false, 502, "http_response_content_coding", ""},
		{"gzip that is cut short", "gzip", gzipped(link)[:20], false, 502, "http_response_incomplete", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", c.coding)
				w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
				_, _ = io.WriteString(w, c.body)
			})
			g.call = func(_ *http.Request, made *call.Call) { made.Document = c.document }
			for range 2 { // the connection is in order afterwards
				a := g.get("GET", "/x", nil, nil)
				if a.StatusCode != c.status || a.header("Content-Encoding") != c.wantCoding {
					t.Fatalf("%d %q", a.StatusCode, a.header("Content-Encoding"))
				}
				if c.status == 200 && a.body != c.want {
					t.Errorf("%.200s", a.body)
				}
				status := a.header("Proxy-Status")
				if c.status == 502 && (strings.Contains(a.body, "/REST") || !strings.Contains(status, "error="+c.want)) {
					t.Errorf("%s %s", status, a.body)
				}
			}
		})
	}
}

func TestAPartThatNobodyAskedForIsRefused(t *testing.T) {
	const part = `"href":"/REST/registry/v3/x"}`
	g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Range", "bytes 1-29/30")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, part)
	})
	// On this route no Range goes up, so that it makes no difference.
	for _, header := range []http.Header{nil, {"Range": {"bytes=1-"}}} {
		if a := g.get("GET", "/x", header, nil); a.StatusCode != 502 || strings.Contains(a.body, "/REST") ||
			!strings.Contains(a.header("Proxy-Status"), "http_protocol_error") {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	g.call = func(_ *http.Request, c *call.Call) { c.Document = true }
	if a := g.get("GET", "/x", http.Header{"Range": {"bytes=1-"}}, nil); a.StatusCode != 206 || a.body != part {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	for _, status := range []int{204, 304} {
		g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(status)
		})
		if a := g.get("GET", "/x", nil, nil); a.err != nil || a.StatusCode != status || a.header("Etag") == "" {
			t.Fatalf("%d: %v", status, a)
		}
	}
}
