package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
	"ebox-gateway/internal/testkit"
)

// door is an endpoint whose calls end where the proxy would send them. nsso is its Document
// Provider, for whom the base is that of the platform; the others of the list are not active.
type door struct {
	t *testing.T
	*server.Endpoint
	// calls are those that were let in, body is that of the last one, answer is what they are
	// answered with.
	calls  []*call.Call
	body   string
	answer http.Header
	edit   func(*http.Request) // changes each request, unless nil
}

const (
	bakery   = "0206731645"
	registry = "/REST/ebox/enterprise/messageRegistry/v3"
	nsso     = "/enterprises/" + bakery + "/ebox/providers/nsso"
)

// openDoor makes an endpoint for anybody and every enterprise.
func openDoor(t *testing.T, edits ...func(*server.Options)) *door {
	t.Helper()
	d := &door{t: t, answer: http.Header{"Content-Type": {"application/json"}}}
	cfg := &config.Config{Environment: "custom", Absent: []config.AbsentAPI{{Path: "/ebox/partition",
		Reason: "Simulation has no Partition API."}}}
	cfg.Server.AllowedOrigins = []string{"https://app.example.be"}
	cfg.Server.Limits.MaxTargetBytes, cfg.Server.Limits.MaxQueryParameters = 16<<10, 1000
	o := server.Options{
		Config: cfg, Callers: tenancy.NewCallers(nil),
		Resolver:    tenancy.NewResolver(config.Tenancy{Mode: config.Any}, time.Now),
		Closed:      func() error { return nil },
		Enter:       func(context.Context, *call.Call, *tenancy.Caller) (func(), error) { return nil, nil },
		AdmitCaller: func(context.Context, *call.Call, *tenancy.Caller) error { return nil },
		Admit:       func(context.Context, *call.Call, tenancy.Tenant) error { return nil },
		Memory:      memory.NewBudget(1 << 20), Proxy: d, Done: func(*call.Record) {},
		Providers: func() ([]server.Provider, bool) {
			return []server.Provider{{ID: "nsso", State: "active"}, {ID: "a b", State: "active"},
				{ID: "retired", State: "deactivated"}}, true
		},
		Routes: []*server.Route{
			d.route("ebox-providers", "/ebox/providers/{providerId}", registry, "nsso", config.KindEBox),
			d.route("grant-citizen", "/grant/citizen", "/REST/grant/citizen/v1", "", config.KindMandates),
		},
	}
	for _, edit := range edits {
		edit(&o)
	}
	d.Endpoint = server.NewEndpoint(o)
	return d
}

// route leads to a base of the platform.
func (d *door) route(name, path, base, provider string, kind config.Kind) *server.Route {
	u := &url.URL{Scheme: "https", Host: "services.socialsecurity.be", Path: base}
	up, err := call.NewUpstream(name, u, nil, true)
	testkit.Must(d.t, err)
	r := server.NewRoute(&config.Route{Name: name, Path: path, Methods: []string{"GET", "POST", "PATCH"}, Kind: kind,
		Enterprise: config.Required}, 0)
	r.Below = func(authority, path string) (string, string, bool) {
		rest, ok := up.Forms.Below(authority, path)
		return provider, rest, ok
	}
	r.Target = func(q *call.Call) (server.Target, error) {
		if q.Provider != provider {
			return server.Target{}, problem.NotFound("No provider is called " + q.Provider + ".")
		}
		return server.Target{Upstream: up}, nil
	}
	return r
}

// Serve implements what the endpoint hands its calls to.
func (d *door) Serve(w http.ResponseWriter, r *http.Request, c *call.Call) {
	d.calls = append(d.calls, c)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	d.body = string(body)
	for name, values := range d.answer {
		w.Header()[name] = values
	}
	w.WriteHeader(http.StatusOK)
}

// ask sends a request line, "GET /path" or "GET /path HTTP/1.0", from 127.0.0.1 to localhost.
// fields are header lines; Host is one of them. One that begins with a line end is the body.
func (d *door) ask(line string, fields ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	method, target, _ := strings.Cut(line, " ")
	target, protocol, _ := strings.Cut(target, " ")
	r := &http.Request{Method: method, RequestURI: target, Host: "localhost", Proto: "HTTP/1.1", ProtoMajor: 1,
		ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody}
	if protocol == "HTTP/1.0" {
		r.Proto, r.ProtoMinor = protocol, 0
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if body, isBody := strings.CutPrefix(f, "\n"); isBody {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		} else if name == "Host" {
			r.Host = value
		} else {
			r.Header[name] = append(r.Header[name], value)
		}
	}
	if d.edit != nil {
		d.edit(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r.WithContext(server.WithPeer(r.Context(), "main", netip.MustParseAddr("127.0.0.1"))))
	return w
}

// refuses checks that the answer is a problem with a status that says something, and that no
// call was let in.
func (d *door) refuses(name string, got *httptest.ResponseRecorder, status int, says string) {
	d.t.Helper()
	isHead := got.Body.Len() == 0 && strings.HasPrefix(name, "HEAD ")
	if got.Code != status || got.Header().Get("Content-Type") != "application/problem+json" ||
		!strings.Contains(got.Body.String(), says) && !isHead {
		d.t.Errorf("%s: %d, want %d with %q: %s", name, got.Code, status, says, got.Body)
	}
	if len(d.calls) > 0 {
		d.t.Errorf("%s: it was let in", name)
		d.calls = nil
	}
}

// admits checks that a call was let in, and gives it.
func (d *door) admits(name string, got *httptest.ResponseRecorder) *call.Call {
	d.t.Helper()
	if got.Code != 200 || len(d.calls) != 1 {
		d.t.Fatalf("%s: %d with %d calls: %s", name, got.Code, len(d.calls), got.Body)
	}
	c := d.calls[0]
	d.calls = nil
	return c
}

func TestHostsThatAreKnown(t *testing.T) {
	d := openDoor(t, func(o *server.Options) {
		o.Config.Server.PublicURL = &url.URL{Scheme: "https", Host: "ebox.example.be"}
		o.Config.Server.AllowedHosts = []string{"gw.example.be", "*.apps.example.be"}
	})
	for _, c := range []struct {
		host  string
		known bool
	}{
		{"localhost", true}, {"LOCALHOST:8080", true}, {"localhost.", true},
		{"gw.example.be", true}, {"GW.example.be:80", true}, {"ebox.example.be", true}, {"a.apps.example.be", true},
		{"apps.example.be", false}, {"evil.example", false}, {"gw.example.be.evil.example", false},
		{"127.0.0.2", false}, {"[::1]", false}, {"", false},
	} {
		got := d.ask("GET "+nsso, "Host: "+c.host)
		if c.known {
			d.admits(c.host, got)
		} else {
			d.refuses(c.host, got, 421, "misdirectedRequest")
		}
	}
	d.admits("HTTP/1.0 without Host", d.ask("GET "+nsso+" HTTP/1.0", "Host: "))
	d.admits("an absolute target", d.ask("GET http://localhost"+nsso))
	d.refuses("an absolute target of another host", d.ask("GET http://evil.example"+nsso, "Host: evil.example"), 421,
		"no proxy")
}

func TestPagesInBrowsersAreTurnedAway(t *testing.T) {
	d := openDoor(t)
	const allowed = "Origin: https://app.example.be"
	for _, c := range []struct {
		name   string
		fields []string
		origin string // that the answer is exposed to
		refuse bool
	}{
		{"program", nil, "", false},
		{"typed into the address bar", []string{"Sec-Fetch-Site: none"}, "", false},
		{"same origin", []string{"Sec-Fetch-Site: same-origin"}, "", false},
		{"cross site", []string{"Sec-Fetch-Site: cross-site"}, "", true},
		{"same site, other origin", []string{"Sec-Fetch-Site: same-site"}, "", true},
		{"foreign origin", []string{"Origin: https://evil.example"}, "", true},
		{"null origin", []string{"Origin: null"}, "", true},
		{"own address as origin", []string{"Origin: http://localhost"}, "", true},
		{"foreign referer", []string{"Referer: https://evil.example/page"}, "", true},
		{"referer that is no URL", []string{"Referer: ://"}, "", true},
		{"own referer", []string{"Referer: http://localhost/x"}, "", false},
		{"allowed origin", []string{allowed, "Sec-Fetch-Site: cross-site", "Referer: https://app.example.be/x"},
			"https://app.example.be", false},
		{"allowed origin twice", []string{allowed, allowed}, "", true},
	} {
		got := d.ask("GET "+nsso+"/ebox", c.fields...)
		if c.refuse {
			d.refuses(c.name, got, 403, "server.allowedOrigins")
			continue
		}
		d.admits(c.name, got)
		if exposed := got.Header().Get("Access-Control-Allow-Origin"); exposed != c.origin {
			t.Errorf("%s: exposed to %q", c.name, exposed)
		}
	}
	got := d.ask("OPTIONS "+nsso, allowed, "Access-Control-Request-Method: GET",
		"Access-Control-Request-Headers: on-behalf-of-enterprise-number")
	if h := got.Header(); got.Code != 204 || h.Get("Access-Control-Allow-Methods") != "GET, POST, PATCH, HEAD, OPTIONS" ||
		h.Get("Access-Control-Allow-Headers") != "on-behalf-of-enterprise-number" ||
		h.Get("Access-Control-Allow-Origin") != "https://app.example.be" {
		t.Errorf("preflight: %d %v", got.Code, h)
	}
	d.refuses("foreign preflight", d.ask("OPTIONS "+nsso, "Origin: https://evil.example",
		"Access-Control-Request-Method: GET"), 403, "")
}

// Whoever can send a document to an e-Box decides what is in it. A page that its
// reader opens in a browser through the gateway ran in the gateway's origin, from where
// it could read every other e-Box; in a sandbox it has an origin of its own, null,
// which is refused.
func TestADocumentThatIsAPageCannotActInABrowser(t *testing.T) {
	d := openDoor(t)
	const sandbox = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
	for policy, types := range map[string][]string{
		sandbox: { // several fields are parted by a bar
			"", "text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "image/svg+xml", "application/xml",
			"multipart/x-mixed-replace; boundary=x", "text/plain|text/html", "text/html|text/plain",
			"text/plain, text/html", "text/plain|text/plain", "text/plain;,text/html", `text/plain; x="a, text/html"`,
			"text", "application/x-shockwave-flash", "text/xsl", "message/rfc822",
		},
		"": {"application/pdf", "application/zip", "application/json; charset=utf-8", "Text/Plain", "image/png",
			"application/octet-stream"},
	} {
		for _, contentType := range types {
			d.answer = http.Header{}
			if contentType != "" {
				d.answer["Content-Type"] = strings.Split(contentType, "|")
			}
			for _, field := range []string{"Sec-Fetch-Site: same-origin", "Upgrade-Insecure-Requests: 1"} {
				got := d.ask("GET "+nsso+"/ebox/messages/1/attachments/1/content", field).Header()
				if got.Get("Content-Security-Policy") != policy || got.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%q with %s: %v", contentType, field, got)
				}
			}
			if got := d.ask("GET " + nsso + "/ebox").Header(); got["Content-Security-Policy"] != nil ||
				got["X-Content-Type-Options"] != nil {
				t.Errorf("%q for a program: %v", contentType, got)
			}
		}
	}
}

// A link in a mail to a foreign site that redirects here still has Sec-Fetch-Site: none.
func TestARedirectedLinkOpensAndChangesNothing(t *testing.T) {
	d := openDoor(t)
	for _, c := range []struct {
		fields []string
		may    bool
	}{
		{[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"},
			false},
		{[]string{"Sec-Fetch-Site: none"}, false},
		{[]string{"Sec-Fetch-Mode: navigate"}, false},
		{[]string{"Sec-Fetch-Dest: image"}, false},
		{[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"}, false},
		{[]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, true},
		{[]string{"Sec-Fetch-Site: cross-site", "Origin: https://app.example.be"}, true},
		{[]string{"Sec-Fetch-Mode: cors", "User-Agent: node"}, true}, // server-side JavaScript
		{[]string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: none", "User-Agent: node"}, false},
		{nil, true},
	} {
		for _, line := range []string{"GET " + nsso + "/ebox/messages/1/attachments/1/content",
			"HEAD " + nsso + "/ebox/messages/1/body", "PATCH " + nsso + "/ebox/messages", "POST " + nsso + "/ebox/messages"} {
			name := line + " with " + strings.Join(c.fields, ", ")
			if got := d.ask(line, c.fields...); c.may {
				d.admits(name, got)
			} else {
				d.refuses(name, got, 403, "Sec-Fetch-Site")
			}
		}
	}
	d.admits("a list", d.ask("GET "+nsso+"/ebox/messages", "Sec-Fetch-Site: none"))
}

func TestMethods(t *testing.T) {
	d := openDoor(t)
	const route, list = "GET, POST, PATCH, HEAD, OPTIONS", "GET, HEAD, OPTIONS"
	for line, allow := range map[string]string{"OPTIONS " + nsso: route, "OPTIONS /ebox/providers": list} {
		if got := d.ask(line); got.Code != 204 || got.Header().Get("Allow") != allow {
			t.Errorf("%s: %d %v", line, got.Code, got.Header())
		}
	}
	if got := d.ask("OPTIONS *"); got.Code != 204 || !strings.Contains(got.Header().Get("Allow"), "GET") {
		t.Errorf("OPTIONS *: %d %v", got.Code, got.Header())
	}
	for line, allow := range map[string]string{
		"TRACE " + nsso: route, "PURGE " + nsso: route, "DELETE " + nsso: route, "POST /ebox/providers": list,
		"BREW /ebox/providers": list, "CONNECT localhost:443": "",
	} {
		got := d.ask(line)
		d.refuses(line, got, 405, "methodNotAllowed")
		if !strings.HasPrefix(got.Header().Get("Allow"), allow) {
			t.Errorf("%s: Allow %q", line, got.Header().Get("Allow"))
		}
	}
	d.refuses("GET *", d.ask("GET *"), 400, "neither a path nor")
	if c := d.admits("HEAD", d.ask("HEAD "+nsso+"/ebox")); c.Method != "HEAD" || c.Target != "/ebox" {
		t.Errorf("HEAD: %s %s", c.Method, c.Target)
	}
}

func TestTargetsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	d := openDoor(t)
	for _, target := range []string{
		nsso + "/../nsso/ebox", nsso + "/ebox/%2e%2e/ebox", nsso + "/ebox/.%2E/x", nsso + "/./ebox", nsso + "/ebox/..",
		nsso + "/ebox%2Fmessages", nsso + "/ebox%5cmessages", nsso + `/ebox\messages`, nsso + "/ebox%00",
		nsso + "/ebox/%252e%252e/x", nsso + "/ebox/%25%32%65", nsso + "/ebox/%zz", nsso + "/ebox/%",
		nsso + "/ebox/..;x=1/y", nsso + "/ebox?a=%zz", nsso + "/ebox?a;b",
		"/enterprises/0206731645%2Febox/providers/nsso", nsso + "/ebox?" + strings.Repeat("a&", 1001),
		nsso + "/ebox/" + strings.Repeat("x", 17000),
	} {
		d.refuses(target[:min(len(target), 80)], d.ask("GET "+target), 400, "")
	}
	for _, rest := range []string{
		"/ebox/messages?q=%C3%A9t%C3%A9&qlang=fr", "/ebox/messages?a=1&a=2&&b", "/ebox/messages?",
		"/ebox/messages?x=%2e%2e%2f", "/ebox/messages/a:b@c!$&'()*+,;=1", "/ebox/messages/%C3%A9%20x",
	} {
		u, err := d.admits(rest, d.ask("GET "+nsso+rest)).URL()
		if err != nil || u.RequestURI() != registry+rest {
			t.Errorf("%s is sent as %s, %v", rest, u.RequestURI(), err)
		}
	}
}

func TestPathsWithoutARoute(t *testing.T) {
	d := openDoor(t)
	for path, hint := range map[string]string{
		"/":                             "/ebox/providers",
		"/nothing":                      "/grant/citizen",
		"/enterprises/0206731645":       "/ebox/providers",
		"/eboxes":                       "/ebox/providers",
		"/%65box/providers":             "/ebox/providers",
		"/ebox/partition/x":             "Simulation has no Partition API.",
		"/ebox/messages/17/attachments": "/ebox/providers/nsso/ebox/messages/17/attachments",
		"/enterprises/0206731645/ebox/messages/17": "/enterprises/0206731645/ebox/providers/a%20b/ebox/messages/17",
		"/ebox/providers/unheard/ebox":             "unheard",
		"/ebox/providers/NSSO/ebox":                "NSSO",
		// What a base URL and a path make that do not fit together.
		"/enterprises/0206731645//ebox/messages": "two slashes in a row",
		"/ebox/":                                 "ends with a slash",
		"/Ebox/Messages":                         "Capital letters count",
		"/enterprises/0206731645/ebox/messages/": "use /enterprises/0206731645/ebox/messages.",
	} {
		got := d.ask("GET "+path, "On-Behalf-Of-Enterprise-Number: "+bakery)
		d.refuses(path, got, 404, hint)
		if status := got.Header().Get("Proxy-Status"); !strings.Contains(status, "error=destination_not_found") {
			t.Errorf("%s: Proxy-Status %q", path, status)
		}
	}
}

// A slash at the end of the list's own path must not become a second one in the paths that
// it gives, which would lead nowhere.
func TestTheListOfProvidersWithASlashGivesPathsThatWork(t *testing.T) {
	d := openDoor(t)
	for _, list := range []string{"/ebox/providers", "/ebox/providers/", "/enterprises/0206731645/ebox/providers/"} {
		got := d.ask("GET " + list)
		for _, id := range []string{"nsso", "a%20b"} {
			want := `"path":"` + strings.TrimSuffix(list, "/") + "/" + id + `"`
			if got.Code != 200 || !strings.Contains(got.Body.String(), want) {
				t.Errorf("%s: %d, no %s in %s", list, got.Code, want, got.Body)
			}
		}
	}
}

func TestWhatACallerAssertsIsClippedAndPrintable(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	const longest = 253 + len(":65535")
	for name, c := range map[string]struct{ host, parent, state, wantHost, wantParent, wantState string }{
		"plain":                  {"localhost:8080", parent, "a=b", "localhost:8080", parent, "a=b"},
		"a long host":            {strings.Repeat("a", 60_000), "", "", strings.Repeat("a", longest), "", ""},
		"a host that steers":     {"a\u202e\u009b", "", "", "a\ufffd\ufffd", "", ""},
		"a long traceparent":     {"a", parent + strings.Repeat("-", 60_000), "a=b", "a", "", ""},
		"a traceparent's tricks": {"a", "00-\u202e", "a=b", "a", "", ""},
		"a long tracestate":      {"a", parent, "a=" + strings.Repeat("b", 600), "a", parent, ""},
		"a tracestate's tricks":  {"a", parent, "a=\u009b", "a", parent, ""},
	} {
		var got *call.Record
		d := openDoor(t, func(o *server.Options) { o.Done = func(r *call.Record) { got = r } })
		d.ask("GET "+nsso, "Host: "+c.host, "Traceparent: "+c.parent, "Tracestate: "+c.state)
		if got.Host != c.wantHost || got.TraceParent != c.wantParent || got.TraceState != c.wantState {
			t.Errorf("%s: %.100q %q %q", name, got.Host, got.TraceParent, got.TraceState)
		}
	}
}

// What is decided about a request stands in its Call.
func TestACallSaysWhereItGoesAndForWhom(t *testing.T) {
	d := openDoor(t)
	c := d.admits("by path", d.ask("GET "+nsso+"/ebox/messages/1/attachments/2/content?x=1"))
	if c.Route != "ebox-providers" || c.Provider != "nsso" || c.Enterprise.String() != bakery || c.Claimed != bakery ||
		c.Target != "/ebox/messages/1/attachments/2/content" || c.Query != "x=1" || c.Action != ebox.Open || !c.Opening ||
		!c.Document || !slices.Equal(c.Represented, []string{bakery}) || c.Upstream != "ebox-providers" ||
		c.Links.Origin != "http://localhost" || c.Links.Prefix != nsso || c.IdempotencyKey != "" {
		t.Errorf("%+v", c)
	}
	c = d.admits("by header", d.ask("POST /ebox/providers/nsso/ebox/messages",
		"On-Behalf-Of-Enterprise-Number: BE"+bakery))
	if c.Action != ebox.Publish || c.Opening || c.Links.Prefix != "/ebox/providers/nsso" || c.Claimed != "BE"+bakery ||
		len(c.IdempotencyKey) != 38 {
		t.Errorf("%+v", c)
	}
	c = d.admits("with a key", d.ask("POST "+nsso+"/ebox/messages", `Idempotency-Key: "1`+"\u009b"+`"`))
	if c.IdempotencyKey != `"1"` {
		t.Errorf("%q", c.IdempotencyKey)
	}
	passes := openDoor(t, func(o *server.Options) { o.Routes[0].IdempotencyKey = config.KeyPassed })
	for field, want := range map[string]string{"X: y": "", `Idempotency-Key: "1"`: `"1"`} {
		c := passes.admits("a key is the caller's", passes.ask("POST "+nsso+"/ebox/messages", field))
		if c.IdempotencyKey != want {
			t.Errorf("%s: %q", field, c.IdempotencyKey)
		}
	}
	d.refuses("for nobody", d.ask("GET /ebox/providers/nsso/ebox"), 400, "enterprise")
	d.refuses("for two", d.ask("GET "+nsso, "On-Behalf-Of-Enterprise-Number: 0212148896"), 400, "enterprise")
	d = openDoor(t, func(o *server.Options) {
		o.Config.Server.PublicURL = &url.URL{Scheme: "https", Host: "gw.example.be", Path: "/e"}
	})
	if c := d.admits("behind a proxy", d.ask("GET "+nsso)); c.Links.Origin != "https://gw.example.be" ||
		c.Links.Prefix != "/e"+nsso {
		t.Errorf("%+v", c.Links)
	}
}
