package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/docs"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// ask sends one request from this machine.
func ask(h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := request(method, target, fields...)
	r.RemoteAddr = "127.0.0.1:999"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// request is one with some header fields; its Host is example.com.
func request(method, target string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for _, f := range fields {
		if name, value, ok := strings.Cut(f, ": "); ok {
			r.Header.Set(name, value)
		}
	}
	return r
}

// token is the token of a listener.
func token(text string) func() (string, error) { return func() (string, error) { return text, nil } }

func TestAnswers(t *testing.T) {
	reason := ""
	why := func() string { return reason }
	nothing := func() any { return map[string]string{} }
	h := admin.New(admin.Options{Ready: why, Started: why, Status: nothing, Activity: nothing, Refused: nothing})
	check := func(target string, status int, want any) {
		t.Helper()
		method, path, _ := strings.Cut(target, " ")
		w := ask(h, method, path)
		var got map[string]any
		err := json.Unmarshal(w.Body.Bytes(), &got)
		if w.Code != status || err != nil || want != nil && got["status"] != want {
			t.Errorf("%s: %d, status %v, %v; want %d, %v", target, w.Code, got["status"], err, status, want)
		}
	}
	check("GET /livez", 200, admin.Up)
	check("HEAD /livez", 200, nil)
	check("GET /readyz", 200, admin.Up)
	check("GET /startupz", 200, admin.Up)
	check("GET /status", 200, nil)
	check("GET /activity", 200, nil)
	check("GET /enterprises/refused", 200, nil)
	check("GET /nothing", 404, nil)
	check("POST /livez", 405, nil)
	reason = "stopping"
	check("GET /readyz", 503, admin.Down)
	check("GET /startupz", 503, admin.Down)
	check("GET /livez", 200, admin.Up)
}

// Trouble shows within two seconds and is gone within five, however many ask.
func TestHealthIsRememberedForSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		computed, status, reason := 0, admin.Up, ""
		h := admin.New(admin.Options{
			Now: time.Now, Ready: func() string { return reason }, Unable: func() string { return reason },
			Health: func() admin.Health { computed++; return admin.Health{Status: status} },
		})
		says := func(want string, times int) {
			t.Helper()
			for range 10 {
				w := ask(h, "GET", "/health")
				if !strings.Contains(w.Body.String(), `"status": "`+want+`"`) || (w.Code == 200) != (want != admin.Down) {
					t.Fatalf("%d %s, want %s", w.Code, w.Body, want)
				}
			}
			if computed != times {
				t.Errorf("computed %d times, want %d", computed, times)
			}
		}
		says(admin.Up, 1)
		status = admin.Degraded
		time.Sleep(2*time.Second - time.Millisecond)
		says(admin.Up, 1)
		time.Sleep(time.Millisecond)
		says(admin.Degraded, 2)
		status = admin.Up
		time.Sleep(5*time.Second - time.Millisecond)
		says(admin.Degraded, 2)
		time.Sleep(time.Millisecond)
		says(admin.Up, 3)
		reason = "stopping" // is nothing to wait for
		says(admin.Down, 3)
	})
}

func TestChangesNeedTheMachineItselfOrTheToken(t *testing.T) {
	var confirmed []string
	h := admin.New(admin.Options{
		Confirm: func(hash string) error { confirmed = append(confirmed, hash); return nil },
		Token:   token("s3cret"),
	})
	const loopback, elsewhere = "127.0.0.1:999", "10.0.0.1:999"
	for _, c := range []struct {
		from, field string
		status      int
	}{
		{loopback, "", 200},
		{"[::1]:999", "", 200},
		{elsewhere, "", 403},
		{elsewhere, "Authorization: Bearer s3cret", 200},
		{elsewhere, "Authorization: Bearer s3cre", 403},
		{elsewhere, "Authorization: Bearer ", 403},
		{"", "", 403},
		// nginx beside the gateway connects from loopback for the whole network.
		{loopback, "X-Forwarded-For: 10.0.0.1", 403},
		{loopback, "Forwarded: for=10.0.0.1", 403},
		{loopback, "Via: 1.1 nginx", 403},
		{loopback, "X-Real-Ip: 10.0.0.1", 403},
		{loopback, "X-Forwarded-Host: gw.example.be", 403},
	} {
		r := request("POST", "/configuration/confirm?hash=ab", c.field)
		r.RemoteAddr = c.from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("from %s, %s: %d, want %d", c.from, c.field, w.Code, c.status)
		}
	}
	if len(confirmed) != 3 || confirmed[0] != "ab" {
		t.Errorf("confirmed %q", confirmed)
	}
}

// changing is a listener that notes what it was asked to change.
func changing(changes *[]string) http.Handler {
	note := func(what string) { *changes = append(*changes, what) }
	return admin.New(admin.Options{
		Confirm:     func(hash string) error { note("confirm " + hash); return nil },
		Purge:       func(_ context.Context, p admin.Purge) error { note("purge " + p.Route); return nil },
		Maintenance: func() []admin.Maintenance { return []admin.Maintenance{} },
		Maintain: func(_ context.Context, m admin.Maintenance) error {
			if m.Provider == "nobody" {
				return problem.NotFound("no such provider")
			}
			if m.Until.IsZero() {
				note("end " + m.Provider)
				return nil
			}
			note("begin " + m.Provider + " " + m.Until.Sub(m.Since).String() + " " + m.Reason + " by " + m.By)
			return nil
		},
		SetLevel: func(l slog.Level) { note("level " + l.String()) },
		Token:    token(""),
		Now:      func() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) },
	})
}

// A browser on the machine itself is on loopback too, whatever page it shows.
func TestNoPageInABrowserChangesAnything(t *testing.T) {
	var changes []string
	h := changing(&changes)
	for _, target := range []string{
		"POST /configuration/confirm?hash=ab", "POST /cache/purge?route=a", "POST /maintenance?provider=nsso&for=1h",
		"DELETE /maintenance?provider=nsso", "POST /log?level=debug",
	} {
		method, url, _ := strings.Cut(target, " ")
		for _, field := range []string{
			"Origin: https://evil.example", "Origin: null", "Origin: http://127.0.0.1:9090", "Referer: http://127.0.0.1:9090/",
			"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site",
			"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty",
		} {
			if w := ask(h, method, url, field); w.Code != 403 || !strings.Contains(w.Body.String(), "browsers") {
				t.Errorf("%s with %s: %d", target, field, w.Code)
			}
		}
		if w := ask(h, method, url); w.Code != 200 {
			t.Errorf("%s without a browser: %d %s", target, w.Code, w.Body)
		}
	}
	if len(changes) != 5 {
		t.Errorf("changed %q", changes)
	}
}

// The page's own button is for whoever knows the token; another site's page neither knows
// it nor may send it.
func TestThePagesButtonNeedsTheToken(t *testing.T) {
	retried := 0
	const page, site, key = "Origin: http://example.com", "Sec-Fetch-Site: same-origin", "Authorization: Bearer s3cret"
	for _, c := range []struct {
		token  string
		fields []string
		status int
	}{
		{"s3cret", []string{page, site, key}, 200},
		{"s3cret", []string{page, key}, 200}, // over http beyond loopback
		{"s3cret", []string{page, "Authorization: Bearer s3cre"}, 403},
		{"s3cret", []string{page}, 403},
		{"", []string{page, "Authorization: Bearer "}, 403},
		{"s3cret", []string{"Origin: https://evil.example", key}, 403},
		{"s3cret", []string{page, "Sec-Fetch-Site: cross-site", key}, 403}, // another site that claims to be this
		{"s3cret", []string{site, key}, 403},
	} {
		h := admin.New(admin.Options{Retry: func() { retried++ }, Token: token(c.token)})
		before := retried
		w := ask(h, "POST", "/tokens/retry", c.fields...)
		if w.Code != c.status || (retried > before) != (c.status == 200) {
			t.Errorf("%q: %d %s", c.fields, w.Code, w.Body)
		}
	}
	h := admin.New(admin.Options{Confirm: func(string) error { t.Error("confirmed"); return nil }, Token: token("s3cret")})
	if w := ask(h, "POST", "/configuration/confirm?hash=ab", page, key); w.Code != 403 {
		t.Errorf("another change from the page: %d", w.Code)
	}
}

func TestTheRunbookIsAtHand(t *testing.T) {
	w := ask(admin.New(admin.Options{}), "GET", admin.Runbook)
	for _, want := range []string{"<h3 id=\"eboxtokenrefused\">", "<title>Operations", "<table>",
		"gateway check --online"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	if w.Code != 200 || w.Header().Get("Content-Security-Policy") != ask(admin.New(admin.Options{}), "GET", "/").Header().
		Get("Content-Security-Policy") || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	for _, path := range []string{"/docs/", "/docs/none.md", "/docs/../go.mod", "/docs/docs.go"} {
		if w := ask(admin.New(admin.Options{}), "GET", path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Pages link to files of the repository, which are not served: those are named instead.
func TestEveryLinkOfTheDocumentationLeadsSomewhere(t *testing.T) {
	h := admin.New(admin.Options{})
	bodies := make(map[string]string)
	get := func(target string) string {
		if _, asked := bodies[target]; !asked {
			if w := ask(h, "GET", target); w.Code == 200 {
				bodies[target] = w.Body.String()
			} else {
				bodies[target] = ""
			}
		}
		return bodies[target]
	}
	link := regexp.MustCompile(`<a href="([^"]*)"`)
	links := 0
	err := fs.WalkDir(docs.Pages, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		page := &url.URL{Path: "/docs/" + name}
		for _, found := range link.FindAllStringSubmatch(get(page.Path), -1) {
			to, err := page.Parse(html.UnescapeString(found[1]))
			if err != nil || to.IsAbs() {
				continue
			}
			links++
			body := get(to.Path)
			if body == "" || to.Fragment != "" && !strings.Contains(body, `id="`+to.Fragment+`"`) {
				t.Errorf("%s: %s leads nowhere", name, found[1])
			}
		}
		return nil
	})
	if err != nil || links < 100 {
		t.Errorf("%d links, %v", links, err)
	}
	if !strings.Contains(get(admin.Runbook), "(deploy/prometheus-rules.yaml in the repository)") {
		t.Error("what is not served is not named")
	}
}

func TestMaintenanceSaysWhatAndForHowLong(t *testing.T) {
	for target, want := range map[string]string{
		"POST /maintenance?provider=nsso&for=2h&reason=disks": "200 begin nsso 2h0m0s disks by 127.0.0.1",
		"POST /maintenance?gateway=true&for=30m":              "200 begin  30m0s  by 127.0.0.1",
		"DELETE /maintenance?provider=nsso":                   "200 end nsso",
		"POST /maintenance?provider=nsso":                     "400 ",
		"POST /maintenance?provider=nsso&for=0s":              "400 ",
		"POST /maintenance?provider=nsso&for=-1h":             "400 ",
		"POST /maintenance?provider=nsso&for=169h":            "400 ",
		"POST /maintenance?provider=nsso&for=2":               "400 ",
		"POST /maintenance?for=2h":                            "400 ",
		"POST /maintenance?provider=nsso&gateway=true&for=2h": "400 ",
		"POST /maintenance?provider=a&provider=b&for=2h":      "400 ",
		"POST /maintenance?gateway=false&for=2h":              "400 ",
		"POST /maintenance?provider=nsso&four=2h":             "400 ",
		"DELETE /maintenance?provider=nsso&for=2h":            "400 ",
		"POST /maintenance?provider=nsso&for=2h&reason=a%0Ab": "400 ",
		"POST /maintenance?provider=nobody&for=2h":            "404 ",
		"GET /maintenance":                                    "200 ",
		"PUT /maintenance?provider=nsso":                      "405 ",

		"POST /maintenance?provider=nsso&for=2h&reason=" + strings.Repeat("a", 201): "400 ",
	} {
		var changes []string
		method, url, _ := strings.Cut(target, " ")
		w := ask(changing(&changes), method, url)
		if got := fmt.Sprintf("%d %s", w.Code, strings.Join(changes, ",")); got != want {
			t.Errorf("%s: %s: %s", target, got, w.Body)
		}
		if w.Code == 405 && w.Header().Get("Allow") != "GET, HEAD, POST, DELETE" {
			t.Errorf("Allow: %s", w.Header().Get("Allow"))
		}
	}
}

func TestTheLevelIsOneOfFour(t *testing.T) {
	var changes []string
	h := changing(&changes)
	for query, status := range map[string]int{"level=debug": 200, "level=WARN": 200, "level=loud": 400,
		"level=error%2B1000": 400, "level=debug-4": 400, "level=": 400, "": 400, "level=info&level=warn": 400,
		"level=info&x=1": 400} {
		if w := ask(h, "POST", "/log?"+query); w.Code != status {
			t.Errorf("%s: %d, want %d", query, w.Code, status)
		}
	}
	if len(changes) != 2 {
		t.Errorf("%q", changes)
	}
	if w := ask(admin.New(admin.Options{Token: token("")}), "POST", "/log?level=debug"); w.Code != 404 {
		t.Errorf("where it cannot be changed: %d", w.Code)
	}
}

func TestThePageIsItsOwnFilesAndNothingElse(t *testing.T) {
	h := admin.New(admin.Options{})
	entries, err := os.ReadDir("page")
	testkit.Must(t, err)
	kinds := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	elsewhere := regexp.MustCompile(`(?i)\b(https?:)?//[a-z0-9]`)
	markup := regexp.MustCompile(
		`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc`)
	for _, e := range entries {
		target := "/page/" + e.Name()
		if e.Name() == "index.html" {
			target = "/"
		}
		w := ask(h, "GET", target)
		content, _ := os.ReadFile("page/" + e.Name())
		if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), content) {
			t.Errorf("%s: %d", target, w.Code)
		}
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, kinds[path.Ext(e.Name())]) {
			t.Errorf("%s is %q", target, got)
		}
		for _, wanted := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'",
			"require-trusted-types-for 'script'"} {
			if !strings.Contains(w.Header().Get("Content-Security-Policy"), wanted) {
				t.Errorf("%s: policy without %s", target, wanted)
			}
		}
		if again := ask(h, "GET", target, "If-None-Match: "+w.Header().Get("ETag")); again.Code != 304 ||
			again.Body.Len() != 0 {
			t.Errorf("%s again: %d", target, again.Code)
		}
		// The namespace of SVG is a name and is fetched by nobody.
		text := strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", "")
		if found := elsewhere.FindString(strings.ReplaceAll(text, "// ", "")); found != "" {
			t.Errorf("%s leads elsewhere: %s", e.Name(), found)
		}
		if found := markup.FindString(text); found != "" {
			t.Errorf("%s makes markup of text: %s", e.Name(), found)
		}
		if strings.HasSuffix(e.Name(), ".html") && regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=`).
			MatchString(text) {
			t.Errorf("%s has something inline, which the policy forbids", e.Name())
		}
	}
}

func TestAVisitIsToThePageAlone(t *testing.T) {
	from := func(method, target string, fields ...string) http.Header {
		return admin.Visit(request(method, target, fields...)).Header
	}
	const link = "Sec-Fetch-Site: cross-site"
	if len(from("GET", "/", link, "Referer: https://tickets.example/7")) != 0 {
		t.Error("a link to the page is refused")
	}
	if len(from("GET", "/page/main.js", "Origin: http://example.com", "Sec-Fetch-Site: same-origin")) != 0 {
		t.Error("the page's own module is refused")
	}
	for _, h := range []http.Header{
		from("GET", "/status", link), from("POST", "/", link), from("GET", "/pages", link),
		from("GET", "/page/main.js", "Origin: https://evil.example"), from("GET", "/", "Origin: null"),
	} {
		if len(h) != 1 {
			t.Errorf("what a browser says of a request is forgotten: %v", h)
		}
	}
}
