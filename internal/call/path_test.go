package call_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestCheckPath(t *testing.T) {
	cases := []struct {
		name, path string
		ok         bool
	}{
		{"nothing", "", true},
		{"a slash", "/", true},
		{"an empty segment, as a base URL with a slash makes it", "//ebox//messages", true},
		{"all of pchar", "/-._~!$&'()*+,=:@", true},
		{"an encoded space", "/a%20b", true},
		{"encoded UTF-8", "/caf%C3%A9", true},
		{"an encoded percent sign", "/100%25", true},
		{"an encoded percent sign that begins no escape", "/100%25zz", true},
		{"three dots", "/.../a", true},
		{"a name with dots", "/a..b/..c/d..", true},
		{"a matrix parameter", "/a;v=1.2/b", true},

		{"no leading slash", "ebox", false},
		{"a dot segment", "/a/../b", false},
		{"a single dot", "/a/./b", false},
		{"an encoded dot segment", "/a/%2e%2E/b", false},
		{"a dot segment with a matrix parameter", "/a/..;x=1/b", false},
		{"a dot segment with an encoded matrix parameter", "/a/..%3Bx/b", false},
		{"an encoded slash", "/a%2Fb", false},
		{"a backslash", `/a\b`, false},
		{"an encoded backslash", "/a%5cb", false},
		{"an encoded NUL", "/a%00", false},
		{"an encoded DEL", "/a%7f", false},
		{"double encoding", "/a%252e", false},
		{"double encoding, the digits encoded too", "/a%25%32%65", false},
		{"a broken escape", "/a%2", false},
		{"an overlong dot", "/%c0%ae%c0%ae/", false},
		{"latin 1", "/caf%E9", false},
		{"a space", "/a b", false},
		{"a control character", "/a\x01", false},
		{"more than 8 KiB", "/" + strings.Repeat("a", 8<<10), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := call.CheckPath(c.path)
			if (err == nil) != c.ok {
				t.Fatalf("%q: %v", c.path, err)
			}
			var p *problem.Problem
			if err != nil && (!errors.As(err, &p) || p.Status != 400 || len(p.Issues) == 0) {
				t.Fatalf("%q: not a 400 with issues: %v", c.path, err)
			}
		})
	}
}

func TestCheckQuery(t *testing.T) {
	cases := []struct {
		name, query string
		ok          bool
	}{
		{"nothing", "", true},
		{"parameters", "page=1&pageSize=20", true},
		{"the most parameters", "a&b&c&d", true},
		{"one too many", "a&b&c&d&e", false},
		{"an escape", "q=%C3%A9+b", true},
		{"a second question mark", "q=a?b/c", true},
		{"a semicolon, which two servers split differently", "x=1;y=2&z=3", false},
		{"a broken escape", "q=%", false},
		{"an escape of no digits", "q=%zz", false},
		{"a space, which would end the request line", "q=a HTTP/1.1", false},
		{"a line feed", "q=a\nb", false},
		{"more than 16 KiB", strings.Repeat("a", 16<<10+1), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := call.CheckQuery(c.query, 4); (err == nil) != c.ok {
				t.Fatalf("%v", err)
			}
		})
	}
}

func FuzzCheckQueryAgreesWithParseQuery(f *testing.F) {
	for _, q := range []string{"a=b", "a;b", "%", "a=%41&b", "=&=&", "+"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		if call.CheckQuery(q, 1000) != nil {
			return
		}
		if _, err := url.ParseQuery(q); err != nil {
			t.Fatalf("%q is accepted: %v", q, err)
		}
	})
}

// urlOf is where a call for a path below a base goes. The query "?" is one that is empty.
func urlOf(t testkit.T, base, path, query string) (*url.URL, *call.Upstream, error) {
	parsed, err := url.Parse(base)
	testkit.Must(t, err)
	to, err := call.NewUpstream("x", parsed, nil, false)
	testkit.Must(t, err)
	u, err := (&call.Call{To: to, Target: path, Query: strings.TrimPrefix(query, "?"), BareQuery: query == "?"}).URL()
	return u, to, err
}

func TestWhereACallGoes(t *testing.T) {
	for _, c := range []struct{ base, path, want string }{
		{"https://h/a/b", "/c", "https://h/a/b/c"},
		{"https://h/a/b/", "/c", "https://h/a/b/c"},
		{"https://h/a/b", "", "https://h/a/b"},
		{"https://h", "", "https://h"},
		{"https://h", "/x%20y", "https://h/x%20y"},
		{"https://h/a%20b", "/%63!'()*", "https://h/a%20b/%63!'()*"},
		{"https://h/a", "//c", "https://h/a//c"},
		{"https://h", "//evil.example/x", ""},
		{"https://h", "/a?", "https://h/a?"},
	} {
		path, bare := strings.CutSuffix(c.path, "?")
		u, _, err := urlOf(t, c.base, path, map[bool]string{true: "?"}[bare])
		if (err == nil) != (c.want != "") || err == nil && u.String() != c.want {
			t.Errorf("%s + %s: %v, %v; want %s", c.base, c.path, u, err, c.want)
		}
	}
}

// checkJoined says whether a path that CheckPath accepts stays below the base,
// however an upstream decodes it, and goes out byte for byte.
func checkJoined(t interface {
	testkit.T
	Fatalf(string, ...any)
}, below, path string) {
	if call.CheckPath(path) != nil {
		return
	}
	u, to, err := urlOf(t, below, path, "a=b")
	if err != nil {
		if !strings.HasPrefix(path, "//") {
			t.Fatalf("%q is accepted and cannot be joined: %v", path, err)
		}
		return
	}
	base := to.Base
	prefix := strings.TrimRight(base.EscapedPath(), "/")
	if got := u.EscapedPath(); got != prefix+path {
		t.Fatalf("%q is sent as %q", path, got)
	}
	want := prefix + path + "?a=b"
	if want[0] == '?' {
		want = "/" + want
	}
	if got := u.RequestURI(); got != want {
		t.Fatalf("%q makes the request line %q", path, got)
	}
	if u.Host != base.Host || u.Scheme != base.Scheme || u.User != nil || u.Opaque != "" {
		t.Fatalf("%q leads to %s", path, u)
	}
	decoded := u.EscapedPath()
	for range 3 { // a server that decodes too often
		for _, s := range strings.FieldsFunc(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
			if name, _, _ := strings.Cut(s, ";"); name == "." || name == ".." {
				t.Fatalf("%q holds a dot segment for somebody: %q", path, decoded)
			}
		}
		next, err := url.PathUnescape(decoded)
		if err != nil {
			return
		}
		if strings.Count(next, "/") != strings.Count(path+prefix, "/") {
			t.Fatalf("%q holds a slash for somebody: %q", path, next)
		}
		decoded = next
	}
}

func TestNoCallLeavesTheBase(t *testing.T) {
	piece := rapid.SampledFrom([]string{"/", "a", ".", "..", "%2e", "%2F", "%5c", "%25", "2e", "%32", "%65", ";", "%3b",
		"\\", "%00", "%c0%ae", "é", "!", "'", "(", "*", "%", "[", "~", "%20", ":", "@"})
	base := rapid.SampledFrom([]string{"https://h/REST/v3", "https://h", "https://h:8443/a%20b/"})
	rapid.Check(t, func(t *rapid.T) {
		checkJoined(t, base.Draw(t, "base"), "/"+strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "path"), ""))
	})
}

func FuzzWhereACallGoes(f *testing.F) {
	for _, s := range []string{"/a/b", "/a%2fb", "/%2e%2e/x", "/..;/x", "//x", "/%25%32%65", "/a%20b'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) { checkJoined(t, "https://h/REST/v3", path) })
}
