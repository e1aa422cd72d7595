package whole_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// mail is a message at a provider of the test's own.
type mail struct {
	id       string
	received time.Time
	read     bool
}

// registryOfMail is a Message Registry that is not the simulator's, and has habits of
// its own.
type registryOfMail struct {
	id     string
	limit  int    // the most messages of a page, whatever is asked for
	counts bool   // gives totalItems
	links  bool   // gives links from page to page
	plain  bool   // writes count, links and dates as the Belgif guide and version 3 do
	layout string // of its dates
	v2     bool   // errors are StatusMessages

	server *httptest.Server

	mu       sync.Mutex
	mails    []mail // newest first
	requests []asked
	// fault, if it returns true, has answered.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

// asked is a request as a provider saw it.
type asked struct {
	method, path, enterprise, contentType, body string
	query                                       url.Values
	header                                      http.Header
}

func (p *registryOfMail) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.requests = append(p.requests, asked{
		method: r.Method, path: r.URL.Path, enterprise: r.Header.Get("On-Behalf-Of-Enterprise-Number"),
		contentType: r.Header.Get("Content-Type"), body: string(body), query: r.URL.Query(), header: r.Header,
	})
	fault := p.fault
	p.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if r.URL.Path != "/base/ebox/messages" || r.Method != http.MethodGet {
		p.fail(w, 404, "There is nothing here.")
		return
	}
	q := r.URL.Query()
	page, errPage := strconv.Atoi(q.Get("page"))
	size, errSize := strconv.Atoi(q.Get("pageSize"))
	if errPage != nil || errSize != nil || size < 1 || size > 100 || page < 1 {
		p.fail(w, 400, "page or pageSize is wrong")
		return
	}
	p.list(w, q, page, min(size, p.limit))
}

func (p *registryOfMail) list(w http.ResponseWriter, q url.Values, page, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []mail
	for _, m := range p.mails {
		if before := q.Get("receivedBefore"); before != "" {
			day, err := time.Parse(time.DateOnly, before)
			if err != nil {
				p.fail(w, 400, "receivedBefore is a day")
				return
			}
			if !m.received.Before(day) {
				continue
			}
		}
		if read := q.Get("readStatus"); read != "" && read != strconv.FormatBool(m.read) {
			continue
		}
		all = append(all, m)
	}
	var b strings.Builder
	b.WriteString(`{"items": [`)
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	for i, m := range all[from:to] {
		if i > 0 {
			b.WriteString(", ")
		}
		date := "receiptDate"
		if p.plain {
			date = "publicationDate"
		}
		fmt.Fprintf(&b, `{"messageId": %q, %q: %q, "readStatus": %t, "contentHref": "%s/base/ebox/messages/%s"}`,
			m.id, date, m.received.Format(p.layout), m.read, p.server.URL, m.id)
	}
	b.WriteString("]")
	if p.counts && p.plain {
		fmt.Fprintf(&b, `, "total": %d`, len(all))
	} else if p.counts {
		fmt.Fprintf(&b, `, "totalItems": %d`, len(all))
	}
	next := ""
	if to < len(all) {
		q.Set("page", strconv.Itoa(page+1))
		q.Set("pageSize", strconv.Itoa(size))
		next = p.server.URL + "/base/ebox/messages?" + q.Encode()
	}
	switch {
	case p.links && p.plain:
		b.WriteString(`, "first": "x"`)
		if next != "" {
			fmt.Fprintf(&b, `, "next": "%s"`, next)
		}
	case p.links:
		b.WriteString(`, "_links": {"first": {"href": "x"}`)
		if next != "" {
			fmt.Fprintf(&b, `, "next": {"href": "%s"}`, next)
		}
		b.WriteString("}")
	}
	b.WriteString("}")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, b.String())
}

func (p *registryOfMail) fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/problem+json")
	text := fmt.Sprintf(`{"type":"urn:problem-type:example:wrong","title":"Wrong","status":%d,"detail":%q}`,
		status, message)
	if p.v2 {
		w.Header().Set("Content-Type", "application/json")
		text = fmt.Sprintf(`{"id":"4b2e7a3c-0b64-4b6e-9d0e-1f6a5b1c7d11","code":"WRONG","message":%q}`, message)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// put replaces the messages, which it sorts.
func (p *registryOfMail) put(mails []mail) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortStableFunc(mails, func(a, b mail) int { return b.received.Compare(a.received) })
	p.mails = mails
}

func (p *registryOfMail) breakDown(fault func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// seen gives what was asked since the last time.
func (p *registryOfMail) seen() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.requests
	p.requests = nil
	return list
}

// startRegistries starts the providers, and gives the edit that makes them the only ones.
func startRegistries(t *testing.T, providers ...*registryOfMail) func(*testing.T, string) string {
	t.Helper()
	var list []string
	for _, p := range providers {
		if p.limit == 0 {
			p.limit = 100
		}
		if p.layout == "" {
			p.layout = time.RFC3339
		}
		p.server = httptest.NewServer(p)
		t.Cleanup(p.server.Close)
		version := "3.0"
		if p.v2 {
			version = "2.1"
		}
		list = append(list, fmt.Sprintf("{id: %s, url: '%s/base', apiVersion: '%s'}", p.id, p.server.URL, version))
	}
	return func(t *testing.T, text string) string {
		t.Helper()
		registry := regexp.MustCompile(`(?m)^  url: .*/messageRegistries\n  scopes: .*\n`)
		if !registry.MatchString(text) {
			t.Fatalf("there is no registry in\n%s", text)
		}
		text = registry.ReplaceAllString(text, "  providers: ["+strings.Join(list, ", ")+"]\n")
		return strings.Replace(text, "upstream: {registry: true}\n", "upstream: {registry: true}\n    retry: {tries: 1}\n  "+
			"  breaker: {enabled: false}\n", 1)
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
}

func (l *listed) keys() []string {
	keys := make([]string, len(l.Items))
	for i, item := range l.Items {
		keys[i] = item.Provider + "/" + item.ID
	}
	return keys
}

// missing are the providers that are named as missing, with their reasons.
func (l *listed) missing() string {
	var names []string
	for _, m := range l.Incomplete {
		names = append(names, m.Provider+";reason="+m.Reason)
	}
	return strings.Join(names, ", ")
}

// list asks for a page and reads it. What the body says to be missing, the header has to
// say too.
func (h *house) list(t *testing.T, path string, fields ...string) listed {
	t.Helper()
	a := h.get(path, fields...)
	var l listed
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %v %s", path, a.status, a.header, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		t.Fatalf("%s: %v in %s", path, err, a.body)
	}
	if header := a.header.Get("X-EBox-Incomplete"); header != l.missing() {
		t.Fatalf("%s: the header says %q, the body %q", path, header, l.missing())
	}
	return l
}

// link is the path of a link, empty if there is none.
func (l *listed) link(t *testing.T, h *house, name string) string {
	t.Helper()
	link, ok := l.Links[name]
	if !ok {
		return ""
	}
	path, ok := strings.CutPrefix(link.Href, h.base)
	if !ok {
		t.Fatalf("the link %s leads elsewhere: %s", name, link.Href)
	}
	return path
}
