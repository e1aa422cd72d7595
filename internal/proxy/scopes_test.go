package proxy

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestScopesThatARefusalAsksFor(t *testing.T) {
	long := strings.Repeat("s", maxScope+1)
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
		{"a large body", "", "application/json", `{"requiredScopes":["a"],"x":"` + strings.Repeat("x", maxRefusal) + `"}`,
			403, nil},
		{"another status", `Bearer scope="scope:a"`, "application/json", `{"requiredScopes":["a"]}`, 404, nil},
		{"no JSON", "", "text/plain", `{"requiredScopes":["a"]}`, 403, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {c.contentType}}
			if c.challenge != "" {
				h["Www-Authenticate"] = []string{c.challenge}
			}
			resp := &http.Response{StatusCode: c.status, Header: h, Body: io.NopCloser(strings.NewReader(c.body)),
				ContentLength: -1}
			rec := call.New().Record
			noteScopes(resp, rec)
			if passed, err := io.ReadAll(resp.Body); string(passed) != c.body || err != nil {
				t.Errorf("passed %q, %v", passed, err)
			}
			if !slices.Equal(rec.MissingScopes, c.want) {
				t.Errorf("%q", rec.MissingScopes)
			}
		})
	}
}
