package proxy_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestScopesThatARefusalAsksFor(t *testing.T) {
	long := strings.Repeat("s", 160+1)
	for _, c := range []struct {
		name, challenge, contentType, body string
		status                             int
		want                               []string
	}{
		{"a challenge", `Bearer realm="x", error="insufficient_scope", scope="scope:a scope:b"`, "", "", 401,
			[]string{"scope:a", "scope:b"}},
		{"a challenge and a problem", `Bearer scope="scope:a"`, "application/problem+json",
			`{"requiredScopes":["scope:a","scope:c"]}`, 403, []string{"scope:a", "scope:c"}},
		{"another parameter", `Bearer myscope="scope:a"`, "", "", 403, nil},
		{"a challenge without an end", `Bearer scope="scope:a`, "", "", 403, nil},
		{"what is no scope", "", "application/json", `{"requiredScopes":["a b","\u001b[31m","\"","é","","` + long +
			`","ok"]}`, 403, []string{"ok"}},
		{"many", "", "application/json", `{"requiredScopes":["1","2","3","4","5","6","7","8","9","10","11"]}`, 403,
			[]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
		{"a large body", "", "application/json", `{"requiredScopes":["a"],"x":"` + strings.Repeat("x", 16<<10) + `"}`,
			403, nil},
		{"another status", `Bearer scope="scope:a"`, "application/json", `{"requiredScopes":["a"]}`, 404, nil},
		{"no JSON", "", "text/plain", `{"requiredScopes":["a"]}`, 403, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.contentType}
				if c.challenge != "" {
					w.Header()["Www-Authenticate"] = []string{c.challenge}
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			if a := g.get("GET", "/x", nil, nil); a.body != c.body || a.err != nil {
				t.Errorf("passed %q, %v", a.body, a.err)
			}
			if got := g.record().MissingScopes; !slices.Equal(got, c.want) {
				t.Errorf("%q", got)
			}
		})
	}
}
