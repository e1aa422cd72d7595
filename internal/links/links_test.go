package links_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/links"
	"ebox-gateway/internal/testkit"
)

// maxLink is the longest name or link that is looked at.
const maxLink = 8 << 10

func formsOf(t testing.TB, base string) *links.Forms {
	t.Helper()
	u, err := url.Parse(base)
	testkit.Must(t, err)
	return new(links.NewForms(u, strings.TrimRight(u.EscapedPath(), "/")))
}

func testLinks(t testing.TB, base string) links.Map {
	return links.NewMap(formsOf(t, base), links.Base{Origin: "http://gw:8080", Prefix: "/enterprises/1/nsso"})
}

func TestLinksIntoTheUpstreamLeadBack(t *testing.T) {
	const base = "https://services.socialsecurity.be/REST/v3"
	cases := []struct{ name, base, link, want string }{
		{"an absolute URL", base, "https://services.socialsecurity.be/REST/v3/ebox",
			"http://gw:8080/enterprises/1/nsso/ebox"},
		{"the base itself", base, "https://services.socialsecurity.be/REST/v3", "http://gw:8080/enterprises/1/nsso"},
		{"the base with a query", base, "https://services.socialsecurity.be/REST/v3?a=b",
			"http://gw:8080/enterprises/1/nsso?a=b"},
		{"http for what is https", base, "http://services.socialsecurity.be/REST/v3/x",
			"http://gw:8080/enterprises/1/nsso/x"},
		{"a host in capitals", base, "HTTPS://Services.SocialSecurity.BE/REST/v3/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"the default port", base, "https://services.socialsecurity.be:443/REST/v3/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a host without scheme", base, "//services.socialsecurity.be/REST/v3/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"an absolute path", base, "/REST/v3/x?page=2", "/enterprises/1/nsso/x?page=2"},
		{"a URL in a parameter stays", base, "/REST/v3/x?next=https://services.socialsecurity.be/REST/v3/y",
			"/enterprises/1/nsso/x?next=https://services.socialsecurity.be/REST/v3/y"},
		{"dots in a query are no dot segments", base, "/REST/v3/x?a=/../b", "/enterprises/1/nsso/x?a=/../b"},
		{"a name with dots", base, "/REST/v3/x..y/.../z.pdf", "/enterprises/1/nsso/x..y/.../z.pdf"},
		{"slashes escaped with a backslash", base, `https:\/\/services.socialsecurity.be\/REST\/v3\/x`,
			`http://gw:8080/enterprises/1/nsso/x`},
		{"slashes escaped as code points", base, `https:\u002f\u002fservices.socialsecurity.be\u002fREST\u002Fv3\u002fx`,
			`http://gw:8080/enterprises/1/nsso/x`},
		{"an escaped ampersand behind the base", base, `/REST/v3/x?a=1\u0026b=2`, `/enterprises/1/nsso/x?a=1&b=2`},
		{"quotes and half a character behind the base", base, `/REST/v3/x\"\u00e9`, `/enterprises/1/nsso/x\"é`},
		{"an escape that stands for no character", base, `/REST/v3/x\ud800`, ""},
		{"a path with escaped slashes", base, `\/REST\/v3\/x`, `/enterprises/1/nsso/x`},
		{"a letter escaped", base, `\u0068ttps://services.socialsecurity.be/REST/v3/x`,
			`http://gw:8080/enterprises/1/nsso/x`},
		{"a base of another port", "https://h:8443/a", "https://h:8443/a/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a base that names its default port", "https://h:443/a", "https://h/a/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a base without a path", "https://h", "https://h:443/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a path where the base has none", "https://h", "/x", "/enterprises/1/nsso/x"},
		{"an IPv6 host", "http://[::1]:8080/a", "http://[::1]:8080/a/x", "http://gw:8080/enterprises/1/nsso/x"},

		{"the port of http with https", base, "https://services.socialsecurity.be:80/REST/v3/x",
			"http://gw:8080/enterprises/1/nsso/x"},
		{"a port with a leading zero", base, "https://services.socialsecurity.be:0443/REST/v3/x",
			"http://gw:8080/enterprises/1/nsso/x"},
		{"an empty port", base, "https://services.socialsecurity.be:/REST/v3/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a port of one's own with a leading zero", "https://h:8443", "https://h:08443/x",
			"http://gw:8080/enterprises/1/nsso/x"},
		{"a final dot", base, "https://services.socialsecurity.be./REST/v3/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a final dot in the base alone", "https://h.be./b", "https://h.be/b/x", "http://gw:8080/enterprises/1/nsso/x"},
		{"a Unicode host, the base in ASCII", "https://xn--bcher-kva.be/b", "https://Bücher.be/b/x",
			"http://gw:8080/enterprises/1/nsso/x"},
		{"a Unicode host in JSON escapes", "https://xn--bcher-kva.be/b", `https:\/\/b\u00fccher.be\/b\/x`,
			`http://gw:8080/enterprises/1/nsso/x`},
		{"an ASCII host, the base in Unicode", "https://bücher.be/b", "https://XN--bcher-kva.be:443/b/x",
			"http://gw:8080/enterprises/1/nsso/x"},

		{"another Unicode host", "https://xn--bcher-kva.be/b", "https://bücherei.be/b/x", ""},
		{"no port where the base has one", "https://h:8443/b", "https://h/b/x", ""},
		{"two final dots", base, "https://services.socialsecurity.be../REST/v3/x", ""},
		{"another host", base, "https://example.be/REST/v3/x", ""},
		{"a host that only begins alike", base, "https://services.socialsecurity.be.evil.example/REST/v3/x", ""},
		{"user information", base, "https://services.socialsecurity.be@evil.example/REST/v3/x", ""},
		{"user information before the host", base, "https://a@services.socialsecurity.be/REST/v3/x", ""},
		{"another port", base, "https://services.socialsecurity.be:8443/REST/v3/x", ""},
		{"a path beside the base", base, "https://services.socialsecurity.be/REST/v30/x", ""},
		{"a path above the base", base, "https://services.socialsecurity.be/REST", ""},
		{"dot segments that lead out", base, "/REST/v3/../v4", ""},
		{"encoded dot segments", base, "/REST/v3/%2E%2e/v4", ""},
		{"dot segments in escaped slashes", base, `\/REST\/v3\/..\/v4`, ""},
		{"an absolute URL with dot segments", base, "https://services.socialsecurity.be/REST/v3/a/..", ""},
		{"a relative path", base, "ebox/messages", ""},
		{"another scheme", base, "mailto:a@services.socialsecurity.be", ""},
		{"half a scheme", base, "https:/services.socialsecurity.be/REST/v3", ""},
		{"nothing", base, "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.link
			}
			text := `{"href":"` + c.link + `"}`
			if got := rewriteWhole(testLinks(t, c.base), text); got != `{"href":"`+want+`"}` {
				t.Fatalf("%s\n got %s\nwant %s", text, got, want)
			}
			m := testLinks(t, c.base)
			if got := m.Header([]string{c.link}); !strings.Contains(c.link, `\`) && got[0] != want {
				t.Errorf("in a header %s becomes %s", c.link, got[0])
			}
		})
	}
}

func TestAURLIsFoundBelowItsBase(t *testing.T) {
	for _, c := range []struct {
		base, authority, path, rest string
		ok                          bool
	}{
		{"https://a.example.be/v3", "A.Example.be.:443", "/v3/ebox", "/ebox", true},
		{"https://a.example.be", "a.example.be", "/any", "/any", true},
		{"https://a.example.be/v3", "a.example.be", "/v30", "", false},
		{"https://a.example.be/v3", "a.example.be:8443", "/v3", "", false},
	} {
		if rest, ok := formsOf(t, c.base).Below(c.authority, c.path); rest != c.rest || ok != c.ok {
			t.Errorf("%s below %s: %q, %t", c.authority+c.path, c.base, rest, ok)
		}
	}
}

func rewriteWhole(m links.Map, text string) string {
	w := links.Rewriter{Links: m}
	return string(w.End(w.Write(nil, []byte(text))))
}

func TestJSONIsRewrittenInPlace(t *testing.T) {
	m := testLinks(t, "https://h/b")
	// In what is wanted, @ is the gateway's path.
	cases := []struct{ name, text, want string }{
		{"href", `{"href":"https://h/b/1"}`, `{"href":"http://gw:8080@/1"}`},
		{"a name that ends in Href", `{"contentHref":"/b/1"}`, `{"contentHref":"@/1"}`},
		{"a name that ends in Url", `{"imageUrl":"/b/1"}`, `{"imageUrl":"@/1"}`},
		{"nested, with white space", "{ \"_links\" :\r\n { \"self\":\t{\"href\" : \"/b/1\"} } }",
			"{ \"_links\" :\r\n { \"self\":\t{\"href\" : \"@/1\"} } }"},
		{"a value that looks like a name", `{"a":"href","b":"/b/1","href":"/b/2"}`,
			`{"a":"href","b":"/b/1","href":"@/2"}`},

		{"the Belgif guide's plain links",
			`{"self":"/b/1","first":"https://h/b/2","prev":"/b","next":"/b?p=2","last":"/b/3"}`,
			`{"self":"@/1","first":"http://gw:8080@/2","prev":"@","next":"@?p=2","last":"@/3"}`},
		{"names below embedded", `{"embedded":{"/b/1":{"a":"/b/1","x":["/b/2"]}, "https://h/b/2" : {}},"/b/3":1}`,
			`{"embedded":{"@/1":{"a":"/b/1","x":["/b/2"]}, "http://gw:8080@/2" : {}},"/b/3":1}`},
		{"names deeper below embedded", `{"embedded" : {"a":{"\/b\/1":{"href":"/b"}}},"b":{"/b/1":1}}`,
			`{"embedded" : {"a":{"@/1":{"href":"@"}}},"b":{"/b/1":1}}`},
		{"names below embedded in an array, brackets in strings", `{"embedded":[{"x":"}]}]","/b/1":{}}],"/b/2":{}}`,
			`{"embedded":[{"x":"}]}]","@/1":{}}],"/b/2":{}}`},

		{"names in which letters are escaped",
			`{"h\u0072ef":"/b/1","x\u0055rl" : "/b/2","nex\u0074":"/b/3","a\u0072ef":"/b/4"}`,
			`{"h\u0072ef":"@/1","x\u0055rl" : "@/2","nex\u0074":"@/3","a\u0072ef":"/b/4"}`},
		{"names whose last letter is escaped",
			`{"ur\u006C":0,"aUr\u006C":"/b/1","aUr\u006c":"/b/2","pre\u0076":"/b/3","hre\u0066":"/b/4"}`,
			`{"ur\u006C":0,"aUr\u006C":"@/1","aUr\u006c":"@/2","pre\u0076":"@/3","hre\u0066":"@/4"}`},
		{"embedded in which a letter is escaped", `{"embedde\u0064":{"/b/1":{}},"/b/2":{}}`,
			`{"embedde\u0064":{"@/1":{}},"/b/2":{}}`},

		{"what is no plain link",
			`{"self":{"x":"/b/1"},"next":null,"nexts":"/b/1","Self":"/b/1","last":["/b/1"],"firstt":"/b/1","last":"/bx"}`, ""},
		{"embedded that holds no object", `{"embedded":"/b/1","/b/1":1}`, ""},
		{"names elsewhere", `{"Embedded":{"/b/1":1},"a":"embedded","/b/1":{"embedded ":{"/b/1":1}}}`, ""},
		{"another name", `{"link":"/b/1","HREF":"/b/1","xhref":"/b/1","url":"/b/1","x_url":"/b/1"}`, ""},
		{"a name in an array", `["href","/b/1"]`, ""},
		{"a number", `{"href":1,"x":"/b/1"}`, ""},
		{"null", `{"href":null,"x":"/b/1"}`, ""},
		{"an object", `{"href":{"x":"/b/1"}}`, ""},
		{"quotes in strings", `{"a":"\"href\":\"/b/1\"","b\\":"\\\\","c":"\\\"href\":"}`, ""},
		{"a text in quotes that mentions links", `{"text":"see \"href\": \"/b/1\" there"}`, ""},
		{"nothing", ``, ""},
		{"an unfinished string", `{"href":"/b/1`, ""},
		{"an unfinished escape", `{"href":"/b/1\`, ""},
		{"no JSON", `<a href="/b/1">`, ""},
		{"a link longer than any request line", `{"href":"/b/` + strings.Repeat("a", maxLink) + `"}`, ""},
		{"a name longer than any", `{"` + strings.Repeat("a", maxLink) + `Url":"/b/1"}`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := strings.ReplaceAll(c.want, "@", "/enterprises/1/nsso")
			if want == "" {
				want = c.text
			}
			for size := 1; size <= len(c.text)+1; size = size*2 + 1 {
				w := links.Rewriter{Links: m}
				var got []byte
				for rest := []byte(c.text); len(rest) > 0; {
					n := min(size, len(rest))
					got = w.Write(got, rest[:n])
					rest = rest[n:]
				}
				if got = w.End(got); string(got) != want {
					t.Fatalf("in chunks of %d\n got %s\nwant %s", size, got, want)
				}
			}
		})
	}
}

func TestTheRewriterHoldsBackLittle(t *testing.T) {
	w := links.Rewriter{Links: testLinks(t, "https://h/b")}
	chunk := bytes.Repeat([]byte("a"), 32<<10)
	in, out := 0, len(w.Write(nil, []byte(`{"href":"`)))
	for range 100 {
		in += len(chunk)
		if out += len(w.Write(nil, chunk)); in-out > maxLink {
			t.Fatalf("%d bytes are held back", in-out)
		}
	}
}

// Any chunking gives the same output; JSON stays JSON, and apart from links into
// the upstream it stays equal.
func FuzzRewriter(f *testing.F) {
	for _, s := range []string{
		`{"href":"https://h/b/1","a":["x\"",1,null]}`, `{"h\u0072ef" : "\/b\/1\u0026x"}`,
		`{"href":"/b/..","xUrl":"\\"}`, `{"a\\":"\\\"","href":"//h/b?x"}`, `"href"`, `{"href":"HTTP://H:80/b#"}`,
		`{"embedded":{"/b/1" :{"next":"/b"}},"self":"https://h.:0443/b"}`,
	} {
		f.Add(s, uint64(1))
	}
	m := testLinks(f, "https://h/b")
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		want := rewriteWhole(m, text)
		random := rand.New(rand.NewPCG(seed, 1))
		w := links.Rewriter{Links: m}
		var got []byte
		for rest := []byte(text); len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			got = w.Write(got, rest[:n])
			rest = rest[n:]
		}
		if got = w.End(got); string(got) != want {
			t.Fatalf("chunks change the output of %q\n got %q\nwant %q", text, got, want)
		}
		if !json.Valid([]byte(text)) {
			return
		}
		if want != text && !links.MayBeIn([]byte(text)) {
			t.Fatalf("%q became %q, and no link is seen in it", text, got)
		}
		var before, after any
		if err := json.Unmarshal([]byte(text), &before); err != nil {
			return
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		if !reflect.DeepEqual(withoutLinks("", before), withoutLinks("", after)) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// withoutLinks empties what a rewriter may change: links, and all below embedded, whose names may
// come to be the same.
func withoutLinks(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if name == "embedded" {
			return nil
		}
		for k, item := range v {
			v[k] = withoutLinks(k, item)
		}
	case []any:
		for i, item := range v {
			v[i] = withoutLinks("", item)
		}
	case string:
		if slices.Contains([]string{"href", "self", "first", "prev", "next", "last"}, name) ||
			strings.HasSuffix(name, "Href") || strings.HasSuffix(name, "Url") {
			return ""
		}
	}
	return v
}

func TestLinkHeaders(t *testing.T) {
	m := testLinks(t, "https://h/b")
	for in, want := range map[string]string{
		`</b/1>; rel="next"`:                         `<@/1>; rel="next"`,
		`<https://h/b/1>;rel=a, <https://h/b/2>;b`:   `<http://gw:8080@/1>;rel=a, <http://gw:8080@/2>;b`,
		`<https://x/1>; title="</b/1>", </b/2>`:      `<https://x/1>; title="</b/1>", <@/2>`,
		`<https://x/1>; title="a\"</b/1>", </b/2>;c`: `<https://x/1>; title="a\"</b/1>", <@/2>;c`,
		`</b/1`:      `</b/1`,
		`<x>; rel=a`: `<x>; rel=a`,
	} {
		values := []string{in}
		want = strings.ReplaceAll(want, "@", "/enterprises/1/nsso")
		if got := m.LinkHeader(values); got[0] != want {
			t.Errorf("%s\n got %s\nwant %s", in, got[0], want)
		}
		if values[0] != in {
			t.Error("the upstream's own slice was changed")
		}
	}
}

func TestLinksElsewhereInTheGateway(t *testing.T) {
	m := links.NewMap(formsOf(t, "https://h/b"), links.Base{Origin: "http://gw:8080", Prefix: "/enterprises/1/nsso",
		Elsewhere: func(link string) (string, bool) {
			rest, ok := strings.CutPrefix(link, "https://provider.example/v3")
			return "http://gw:8080/ebox/providers/p" + rest, ok
		}})
	const in = `{"messageProviderUrl":"https://provider.example/v3",` +
		`"aUrl":"https:\/\/provider.example\/v3\/x","bUrl":"https://h/b/1",` +
		`"cUrl":"https://other.example/v3","text":"https://provider.example/v3"}`
	const want = `{"messageProviderUrl":"http://gw:8080/ebox/providers/p",` +
		`"aUrl":"http://gw:8080/ebox/providers/p/x","bUrl":"http://gw:8080/enterprises/1/nsso/1",` +
		`"cUrl":"https://other.example/v3","text":"https://provider.example/v3"}`
	if got := rewriteWhole(m, in); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
