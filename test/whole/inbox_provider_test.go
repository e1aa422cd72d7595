package whole_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mailbox is a Message Registry of the test's own, for what the simulator does not do. Its list is of one page.
type mailbox struct {
	id string
	v2 bool // its errors are StatusMessages

	mu       sync.Mutex
	answer   http.HandlerFunc // instead of the list, unless nil
	requests []asked
}

// asked is a request as a provider saw it.
type asked struct {
	*http.Request
	body string
}

func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.requests = append(m.requests, asked{r, string(body)})
	answer := m.answer
	m.mu.Unlock()
	if answer == nil {
		answer = list(30)
	}
	answer(w, r)
}

// list answers with n messages.
func list(n int) http.HandlerFunc {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"messageId":"%d","receiptDate":"2026-11-20T12:%02d:00Z"}`, i, 59-i)
	}
	return says(200, fmt.Sprintf(`{"items":[%s],"totalItems":%d}`, strings.Join(items, ","), n))
}

// says answers with JSON that is not kept.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// breaksOff closes the connection without an answer, or within the one that has begun.
func breaksOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// refuses answers with an error of the provider's version.
func (m *mailbox) refuses(status int) http.HandlerFunc {
	if m.v2 {
		return says(status, `{"id":"4b2e7a3c-0b64-4b6e-9d0e-1f6a5b1c7d11","code":"WRONG","message":"no"}`)
	}
	return says(status, fmt.Sprintf(`{"type":"urn:problem-type:example:wrong","title":"Wrong","status":%d}`, status))
}

// does has the provider answer with f from now on, and with its list if f is nil.
func (m *mailbox) does(f http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = f
}

// seen gives what was asked since the last time.
func (m *mailbox) seen() []asked {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.requests
	m.requests = nil
	return list
}

// startMailboxes starts the providers, and gives the edit that makes them the only ones.
func startMailboxes(t *testing.T, all ...*mailbox) func(*testing.T, string) string {
	t.Helper()
	var providers []string
	for _, m := range all {
		server := httptest.NewServer(m)
		t.Cleanup(server.Close)
		version := "3.0"
		if m.v2 {
			version = "2.1"
		}
		providers = append(providers, fmt.Sprintf("{id: %s, url: '%s/base', apiVersion: '%s'}", m.id, server.URL, version))
	}
	return func(t *testing.T, text string) string {
		t.Helper()
		registry := regexp.MustCompile(`(?m)^  url: .*/messageRegistries\n  scopes: .*\n`)
		text = edit(registry.FindString(text), "  providers: ["+strings.Join(providers, ", ")+"]\n")(t, text)
		return edit("upstream: {registry: true}\n",
			"upstream: {registry: true}\n    retry: {tries: 1}\n    breaker: {enabled: false}\n")(t, text)
	}
}

// listed is an answer of the list, read.
type listed struct {
	Items []struct {
		Provider string `json:"providerId"`
		ID       string `json:"messageId"`
	} `json:"items"`
	Total *int   `json:"totalItems"`
	Next  string `json:"next"`
	Links map[string]struct {
		Href string `json:"href"`
	} `json:"_links"`
	Incomplete []struct {
		Provider string         `json:"providerId"`
		Reason   string         `json:"reason"`
		Problem  map[string]any `json:"problem"`
	} `json:"incomplete"`
	header http.Header
}

func (l listed) keys() []string {
	keys := make([]string, len(l.Items))
	for i, item := range l.Items {
		keys[i] = item.Provider + "/" + item.ID
	}
	return keys
}

// missing are the providers that are named as missing, with their reasons.
func (l listed) missing() string {
	var names []string
	for _, m := range l.Incomplete {
		names = append(names, m.Provider+";reason="+m.Reason)
	}
	return strings.Join(names, ", ")
}

// list asks for a page and reads it. What the body says to be missing, the header has to say too.
func (h *house) list(t *testing.T, path string, fields ...string) (l listed) {
	t.Helper()
	a := h.get(path, fields...).want(t, 200)
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		t.Fatalf("%s: %v in %s", path, err, a.body)
	}
	if header := a.header.Get("X-EBox-Incomplete"); header != l.missing() {
		t.Fatalf("%s: the header says %q, the body %q", path, header, l.missing())
	}
	l.header = a.header
	return l
}
