package whole_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// linksIn gives every link of an answer: the members of its JSON that hold one, and
// the header fields that do.
func linksIn(t *testing.T, a answer) []string {
	t.Helper()
	var links []string
	if location := a.header.Get("Location"); location != "" {
		links = append(links, location)
	}
	for _, field := range a.header["Link"] {
		_, rest, _ := strings.Cut(field, "<")
		target, _, found := strings.Cut(rest, ">")
		if !found {
			t.Errorf("Link %q", field)
		}
		links = append(links, target)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		return links
	}
	var walk func(v any, embedded bool)
	walk = func(v any, embedded bool) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item, embedded)
			}
		case map[string]any:
			for name, value := range v {
				text, isText := value.(string)
				switch {
				case isText && (slices.Contains([]string{"href", "self", "first", "prev", "next", "last"}, name) ||
					strings.HasSuffix(name, "Href") || strings.HasSuffix(name, "Url")):
					links = append(links, text)
				case embedded && strings.Contains(name, "/"):
					links = append(links, name)
				}
				walk(value, embedded || name == "embedded")
			}
		}
	}
	var doc any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Errorf("%v in %s", err, a.body)
	}
	walk(doc, false)
	return links
}

// crawl follows every link from the starting points, as one caller, and gives how
// many different ones there were.
func (h *house) crawl(t *testing.T, prefix string, starts []string, fields ...string) int {
	t.Helper()
	const enough = 25
	seen := make(map[string]bool)
	queue := starts
	for len(queue) > 0 && len(seen) < enough {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		got := h.get(path, fields...)
		if got.status != 200 {
			t.Errorf("%s leads to %d %s", path, got.status, got.body)
			continue
		}
		for _, link := range linksIn(t, got) {
			u, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s holds %q: %v", path, link, err)
				continue
			}
			if u.Host == "www.belgif.be" || strings.HasSuffix(u.Path, "/stop") { // about a problem, and for a POST
				continue
			}
			if u.IsAbs() && u.Scheme+"://"+u.Host != h.Base || !strings.HasPrefix(u.Path, prefix+"/") && u.Path != prefix {
				t.Errorf("%s holds %s, which does not lead back to %s", path, link, h.Base+prefix)
				continue
			}
			if !strings.Contains(u.Path, "/"+simulator.LargeMessage) { // its 81 MB would be read to be described
				queue = append(queue, u.RequestURI())
			}
		}
	}
	return len(seen)
}

func TestEveryLinkCanBeFollowedByTheSameCaller(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 5 {
		h.newMandate(mandated)
	}
	publications := map[string][2]string{ // whose Location is an absolute URL at nsso, an absolute path at regional
		nsso: {"/ebox/messages", publication()},
		regional: {"/publishMessage", parted(messagePart + `{"recipient":{"eboxType":"enterprise","eboxIdValue":"` +
			mandated + `"},"subject":{"nl":"x"},"bodyMainContent":true,"bodyContent":{"nl":"x"},"replyAuthorized":false}`)},
	}
	for _, c := range []struct {
		name, prefix, field string
		form                simulator.PageForm
	}{
		{"path as this caller writes it", "/enterprises/BE0206.731.645", "Accept: application/json", simulator.PagePlain},
		{"header", "", "On-Behalf-Of-Enterprise-Number: " + mandated, simulator.PageHAL},
		{"own", "/enterprises/own", "Accept: application/json", simulator.PageHAL},
	} {
		for _, provider := range []string{nsso, regional} {
			testkit.Must(t, h.sim.SetPageForm(strings.TrimPrefix(provider, "/ebox/providers/"), c.form))
			base := c.prefix + provider
			first := base + "/ebox/messages/" + simulator.FirstMessage
			t.Run(provider+" by "+c.name, func(t *testing.T) {
				n := h.crawl(t, base, []string{
					base + "/ebox", base + "/ebox/messages?pageSize=2&readStatus=false", first, first + "/attachments",
					first + "/attachments/1", base + "/referenceData/senderOrganizations?pageSize=1",
					base + "/referenceData/senderApplications",
				}, c.field)
				if n < 20 {
					t.Errorf("%d links are too few to say anything", n)
				}
			})
		}
		if c.name == "own" {
			continue
		}
		for provider, p := range publications {
			sent := h.send("POST", c.prefix+provider+p[0], strings.NewReader(p[1]), mixed, c.field).want(t, 201)
			location := strings.TrimPrefix(sent.header.Get("Location"), h.Base)
			if !strings.HasPrefix(location, c.prefix+provider+"/ebox/messages/") {
				t.Fatalf("Location %q", location)
			}
			h.get(location, c.field).want(t, 200)
		}
		for path, start := range map[string]string{"/ebox/partition": "/ebox/" + mandated + "/routingRules?pageSize=1",
			grant: "/mandates?pageSize=2"} {
			if n := h.crawl(t, c.prefix+path, []string{c.prefix + path + start}, c.field); n < 3 {
				t.Errorf("%s by %s: %d pages show nothing", path, c.name, n)
			}
		}
	}
	for prefix, field := range map[string]string{"/enterprises/" + mandated: "Accept: application/json",
		"": "On-Behalf-Of-Enterprise-Number: " + mandated} {
		t.Run("inbox below "+prefix, func(t *testing.T) {
			starts := []string{prefix + "/ebox", prefix + "/ebox/messages?pageSize=20&page=2"}
			if n := h.crawl(t, prefix+"/ebox", starts, field); n < 20 {
				t.Errorf("%d links are too few to say anything", n)
			}
		})
	}
}

func TestTheRegistrysProvidersAreReachedThroughTheGateway(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, c := range []struct{ prefix, list string }{
		{"", "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated, "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated, "/ebox/federation/messageProviders"},
	} {
		prefix := c.prefix
		got := h.get(prefix+c.list).want(t, 200)
		for _, provider := range []string{nsso, regional} {
			if want := `"messageProviderUrl":"` + h.Base + prefix + provider; !strings.Contains(got.body, want) {
				t.Errorf("no %s in %s", want, got.body)
			}
		}
		for _, link := range linksIn(t, got) {
			if strings.HasPrefix(link, h.Base+prefix+nsso) {
				h.get(strings.TrimPrefix(link, h.Base)+"/ebox", "On-Behalf-Of-Enterprise-Number: "+mandated).want(t, 200)
			}
		}
	}
	// A provider cannot lead callers to another provider.
	body := `{"messageProviderUrl":"` + h.sim.ProviderURL("regional") + `"}`
	h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: http.StatusOK, Body: body})
	if got := h.get(box+"/messages").want(t, 200); got.body != body {
		t.Errorf("%s", got.body)
	}
}

// A proxy may show the gateway under a path of its own.
func TestLinksLeadToThePublicURL(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {listen:", "server: {publicUrl: 'https://ebox.example.be/gw/', listen:"))
	const request = "GET " + messages + "?pageSize=1 HTTP/1.1\r\nConnection: close\r\nHost: "
	for _, host := range []string{"localhost", "ebox.example.be", "ebox.example.be:8443",
		"localhost\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example"} {
		got := h.raw(request+host+"\r\n\r\n").want(t, 200)
		for _, link := range linksIn(t, got) { // nsso writes absolute URLs there,
			if !strings.HasPrefix(link, "https://ebox.example.be/gw"+messages) {
				t.Errorf("%q: %s", host, link)
			}
		}
	}
	for _, link := range linksIn(t, h.get(box).want(t, 200)) { // and absolute paths here
		if !strings.HasPrefix(link, "/gw"+box) {
			t.Errorf("%s", link)
		}
	}
}

// theirOwn adds a route /mine to an upstream that knows its callers itself.
func theirOwn(server *httptest.Server, more string) func(*testing.T, string) string {
	return add("  - name: mine\n    path: /mine\n    upstream: '" + server.URL + "'\n    scopes: []\n    enterprise: " +
		"none\n    callerCredentials: true\n" + more)
}

func TestARouteOfOnesOwnPassesCredentialsMethodsAndHints(t *testing.T) {
	t.Parallel()
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Link", "</style>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Cache-Control", "max-age=60")
		h.Set("Set-Cookie", "session=1")
		h.Set("X-Said", r.Method+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Cookie"))
		fmt.Fprint(w, count.Add(1))
	}))
	defer server.Close()
	h := open(t, theirOwn(server, "    methods: [GET, M-SEARCH]\n    cache: {enabled: true}\n"))

	c := h.dial("")
	c.write("GET /mine/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic x\r\nCookie: c=1\r\n\r\n")
	hint := c.read("GET")
	if hint.status != http.StatusEarlyHints || hint.header.Get("Link") != "</mine/style>; rel=preload" {
		t.Fatalf("%d %v", hint.status, hint.header)
	}
	first := c.read("GET").want(t, 200)
	if first.header.Get("X-Said") != "GET Basic x c=1" || first.header.Get("Set-Cookie") != "session=1" ||
		first.header.Get("X-Request-Id") == "" {
		t.Errorf("%v", first.header)
	}
	if strings.Contains(first.cacheStatus(), "stored") {
		t.Errorf("what is one caller's is stored: %s", first.cacheStatus())
	}
	h.get("/mine/a").want(t, 200)
	again := h.get("/mine/a", "Authorization: Basic y").want(t, 200)
	if !strings.Contains(again.cacheStatus(), "hit") || again.body != "2" ||
		again.header.Get("Set-Cookie") != "session=1" {
		t.Errorf("%q %s", again.body, again.cacheStatus())
	}
	if got := h.send("M-SEARCH", "/mine/a", nil).want(t, 200); !strings.HasPrefix(got.header.Get("X-Said"), "M-SEARCH") {
		t.Errorf("%v", got.header)
	}
	if after := h.get("/mine/a").want(t, 200); after.body != "4" {
		t.Errorf("after a method that is not known to be safe: %q %s", after.body, after.cacheStatus())
	}
	if refused := h.send("SEARCH", "/mine/a", nil).want(t, 405); refused.header.Get("Allow") !=
		"GET, M-SEARCH, HEAD, OPTIONS" {
		t.Errorf("%v", refused.header)
	}
}

const large = messages + "/" + simulator.LargeMessage + "/attachments/"

// attachmentDigest is the SHA-256 that the provider itself gives for an attachment.
func (h *house) attachmentDigest(path string) string {
	h.t.Helper()
	meta := h.get(path).want(h.t, 200).body
	_, rest, found := strings.Cut(meta, `"digestValue":"`)
	if !found {
		h.t.Fatalf("no digest in %s", meta)
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestDownloadOf64MegabytesArrivesWhole(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, c := range []struct {
		proto, attachment string
		size              int64
	}{{"HTTP/1.1", "5", 64 << 20}, {"HTTP/2", "4", 16 << 20}} {
		t.Run(c.proto, func(t *testing.T) {
			want := h.attachmentDigest(large + c.attachment)
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(c.proto == "HTTP/2")
			transport.Protocols.SetHTTP1(c.proto == "HTTP/1.1")
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get(h.Base + large + c.attachment + "/content")
			testkit.Must(t, err)
			defer resp.Body.Close()
			sum := sha256.New()
			n, err := io.Copy(sum, resp.Body)
			if got := base64.RawURLEncoding.EncodeToString(sum.Sum(nil)); err != nil || n != c.size || resp.ContentLength != n ||
				got != want {
				t.Errorf("%d of %d bytes, SHA-256 %s instead of %s: %v", n, resp.ContentLength, got, want, err)
			}
		})
	}
}

func TestRangesValidatorsAndHEAD(t *testing.T) {
	t.Parallel()
	h := open(t)
	const path = large + "1/content" // 1 KB
	whole := h.get(path).want(t, 200)
	tag := whole.header.Get("Etag")
	if len(whole.body) != 1024 || tag == "" || whole.header.Get("Content-Disposition") == "" {
		t.Fatalf("%v", whole.header)
	}
	for _, c := range []struct {
		name   string
		fields []string
		status int
		body   string
	}{
		{"If-Range that holds", []string{"Range: bytes=10-19", "If-Range: " + tag}, 206, whole.body[10:20]},
		{"If-Range that does not", []string{"Range: bytes=0-4", `If-Range: "other"`}, 200, whole.body},
		{"not modified", []string{"If-None-Match: " + tag}, 304, ""},
	} {
		got := h.get(path, c.fields...).want(t, c.status)
		if got.body != c.body || (c.status == 206) != (got.header.Get("Content-Range") != "") ||
			c.status == 304 && got.header.Get("Etag") != tag {
			t.Errorf("%s: %v %q", c.name, got.header, got.body)
		}
	}
	head := h.send("HEAD", path, nil).want(t, 200)
	if head.body != "" || head.header.Get("Content-Length") != "1024" || head.header.Get("Etag") != tag {
		t.Errorf("HEAD: %v %q", head.header, head.body)
	}
	list := h.get(messages+"?pageSize=1", "Range: bytes=0-10", "Accept-Encoding: gzip").want(t, 200)
	if !strings.HasSuffix(strings.TrimSpace(list.body), "}") || list.header.Get("Content-Encoding") != "" {
		t.Errorf("a list that is rewritten: %v %q", list.header, list.body)
	}
	h.get(messages+"?pageSize=1", "If-None-Match: "+list.header.Get("Etag")).want(t, 304)
}

// Other cuts, and what is told of them while it still can be, are in package proxy.
func TestACutAnswerIsNeverEndedAsIfWhole(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 100 { // with 40 attachments each their list is 1.6 MB
		if _, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Sizes: make([]int64, 40)}); err != nil {
			t.Fatal(err)
		}
	}
	const list = messages + "?pageSize=100"
	h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultTruncate, Bytes: 1300 << 10})
	for _, version := range []string{"1.1", "1.0"} { // for which an answer is held back up to 1 MB
		who := h.dial("")
		who.write("GET " + list + " HTTP/" + version + "\r\nHost: localhost\r\n\r\n")
		if got, err := who.tryRead("GET"); err == nil || got.status != 200 {
			t.Errorf("HTTP/%s: %d, %d bytes look whole: %v", version, got.status, len(got.body), err)
		}
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for _, path := range []string{list, large + "4/content"} {
		resp, err := (&http.Client{Transport: transport}).Get(h.Base + path)
		testkit.Must(t, err)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("HTTP/2 %s: %d bytes look whole", path, n)
		}
		resp.Body.Close()
	}
	eventually(t, "an access line that says so", func() bool { return strings.Contains(h.access.String(), `"cut":true`) })
}

func TestACallerThatGoesAwayEndsTheCallUpstream(t *testing.T) {
	t.Parallel()
	h := open(t)
	who := h.dial("")
	who.write("GET " + large + "5/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "the call upstream", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
	if h.last("provider:nsso").Done {
		t.Fatal("the upstream does not wait")
	}
	_ = who.conn.Close()
	eventually(t, "the end of the call upstream", func() bool { return h.last("provider:nsso").Done })
}

// A caller that announced a body, which no handler reads, and sent none was waited for without end.
func TestABodyThatNobodyReadsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {bodyIdleTimeout: 300ms}, "))
	for request, base := range map[string]string{
		"OPTIONS /ebox/providers": h.Base, "GET " + box: h.Base, "POST /configuration/confirm?hash=x": h.Admin,
	} {
		for _, body := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
			"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"} {
			t.Run(request, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
				testkit.Must(t, err)
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s", request, body)
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it is waited for without end")
				}
			})
		}
	}
}
