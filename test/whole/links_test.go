package whole_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
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
	const enough = 80
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
			if u.IsAbs() && u.Scheme+"://"+u.Host != h.base || !strings.HasPrefix(u.Path, prefix+"/") {
				t.Errorf("%s holds %s, which does not lead back to %s", path, link, h.base+prefix)
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
	h := open(t)
	for _, provider := range []string{nsso, regional} {
		for _, c := range []struct{ name, prefix, field string }{
			{"path", "/enterprises/" + mandated + provider, "Accept: application/json"},
			{"path as this caller writes it", "/enterprises/BE0206.731.645" + provider, "Accept: application/json"},
			{"header", provider, "On-Behalf-Of-Enterprise-Number: " + mandated},
			{"own", "/enterprises/own" + provider, "Accept: application/json"},
		} {
			t.Run(provider+" by "+c.name, func(t *testing.T) {
				first := c.prefix + "/ebox/messages/" + simulator.FirstMessage
				n := h.crawl(t, c.prefix, []string{
					c.prefix + "/ebox", c.prefix + "/ebox/messages?pageSize=2&readStatus=false", first, first + "/attachments",
					first + "/attachments/1",
					c.prefix + "/referenceData/senderOrganizations", c.prefix + "/referenceData/senderApplications",
				}, c.field)
				if n < 20 {
					t.Errorf("%d links are too few to say anything", n)
				}
			})
		}
	}
	for _, c := range []struct{ prefix, start string }{
		{"/ebox/registry", "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated + "/ebox/registry", "/enterprises/" + mandated + "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated + "/ebox/partition", "/enterprises/" + mandated + "/ebox/partition/ebox/" + mandated},
	} {
		got := h.get(c.start)
		for _, link := range linksIn(t, got) {
			if strings.Contains(link, "/ebox/providers/") {
				continue // TestTheRegistrysProvidersAreReachedThroughTheGateway
			}
			if !strings.HasPrefix(link, h.base+c.prefix+"/") && !strings.HasPrefix(link, c.prefix+"/") {
				t.Errorf("%s holds %s", c.start, link)
			}
		}
	}
}

// turnPages follows next as clients do that know nothing of the gateway, from the first
// page to the last and back by prev, and gives how many pages there were.
func (h *house) turnPages(t *testing.T, prefix, start string, fields ...string) (pages int) {
	t.Helper()
	first := start
	for _, relation := range []string{"next", "prev"} {
		for pages = 0; start != ""; pages++ {
			if pages == 50 {
				t.Fatal("no end of pages")
			}
			got := h.get(start, fields...).want(t, 200)
			for _, link := range linksIn(t, got) {
				if !strings.HasPrefix(link, h.base+prefix+"/") && !strings.HasPrefix(link, prefix+"/") {
					t.Fatalf("%s holds %s, which leads out of the gateway: %s", start, link, got.body)
				}
			}
			var page map[string]any
			if err := json.Unmarshal([]byte(got.body), &page); err != nil {
				t.Fatal(err)
			}
			target, _ := page[relation].(string)
			if links, ok := page["_links"].(map[string]any); ok {
				if link, ok := links[relation].(map[string]any); ok {
					target, _ = link["href"].(string)
				}
			}
			first, start = start, strings.TrimPrefix(target, h.base)
		}
		start = first // the page that was reached last
	}
	return pages
}

func TestPagingNeverLeavesTheGateway(t *testing.T) {
	h := open(t)
	for range 5 {
		h.newMandate(mandated)
	}
	for _, form := range []simulator.PageForm{simulator.PagePlain, simulator.PageHAL} {
		for _, provider := range []string{nsso, regional} {
			if err := h.sim.SetPageForm(strings.TrimPrefix(provider, "/ebox/providers/"), form); err != nil {
				t.Fatal(err)
			}
		}
		for _, start := range []string{
			nsso + "/ebox/messages?pageSize=2", regional + "/ebox/messages?pageSize=2",
			nsso + "/referenceData/senderOrganizations?pageSize=1",
			"/ebox/partition/ebox/" + mandated + "?pageSize=1", "/grant/citizen/mandates?pageSize=2",
		} {
			for _, c := range []struct{ name, prefix, field string }{
				{"path", "/enterprises/" + mandated, "Accept: application/json"},
				{"header", "", "On-Behalf-Of-Enterprise-Number: " + mandated},
			} {
				t.Run(string(form)+" "+start+" by "+c.name, func(t *testing.T) {
					path, _, _ := strings.Cut(start, "?")
					base := path[:strings.LastIndexByte(path, '/')]
					if n := h.turnPages(t, c.prefix+base, c.prefix+start, c.field); n < 2 {
						t.Errorf("%d pages show nothing", n)
					}
				})
			}
		}
	}
}

func TestAPlainRouteRewritesLinksUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	var base string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"next":"` + base + `/items?page=2","text":"` + base + `/items","embedded":{"` + base +
			`/items/1":{}}}`))
	}))
	defer server.Close()
	base = server.URL
	want := func(at string) string {
		return `{"next":"` + at + `/items?page=2","text":"` + base + `/items","embedded":{"` + at + `/items/1":{}}}`
	}
	h := open(t, theirOwn(server, ""))
	if got := h.get("/mine/items").want(t, 200); got.body != want(h.base+"/mine") {
		t.Errorf("%s", got.body)
	}
	h = open(t, theirOwn(server, "    rewriteLinks: false\n"))
	if got := h.get("/mine/items").want(t, 200); got.body != want(base) {
		t.Errorf("%s", got.body)
	}
}

func TestTheRegistrysProvidersAreReachedThroughTheGateway(t *testing.T) {
	h := open(t)
	for _, c := range []struct{ prefix, list string }{
		{"", "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated, "/ebox/registry/messageRegistries"},
		{"/enterprises/" + mandated, "/ebox/federation/messageProviders"},
	} {
		prefix := c.prefix
		got := h.get(prefix+c.list).want(t, 200)
		for _, provider := range []string{nsso, regional} {
			if want := `"messageProviderUrl":"` + h.base + prefix + provider; !strings.Contains(got.body, want) {
				t.Errorf("no %s in %s", want, got.body)
			}
		}
		for _, link := range linksIn(t, got) {
			if strings.HasPrefix(link, h.base+prefix+nsso) {
				h.get(strings.TrimPrefix(link, h.base)+"/ebox", "On-Behalf-Of-Enterprise-Number: "+mandated).want(t, 200)
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

func TestLinksLeadToThePublicURL(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {publicUrl: 'https://ebox.example.be', listen:"))
	for _, host := range []string{"localhost", "ebox.example.be", "ebox.example.be:8443"} {
		got := h.raw("GET "+box+"/messages?pageSize=1 HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n").want(t, 200)
		for _, link := range linksIn(t, got) {
			if !strings.HasPrefix(link, "https://ebox.example.be"+box+"/messages") {
				t.Errorf("%s", link)
			}
		}
	}
	// Nobody can have links led elsewhere.
	got := h.raw("GET "+box+"/messages?pageSize=1 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: "+
		"evil.example\r\nForwarded: host=evil.example\r\nConnection: close\r\n\r\n").want(t, 200)
	if strings.Contains(got.body, "evil.example") {
		t.Errorf("%s", got.body)
	}
}

// Found with a gateway that a proxy shows under a path of its own: links left it out.
func TestLinksKeepThePathOfThePublicURL(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {publicUrl: 'https://intra.example.be/gw/', listen:"))
	absolute := h.get(box+"/messages?pageSize=1").want(t, 200) // nsso writes absolute URLs there,
	path := h.get(box).want(t, 200)                            // and absolute paths here
	for _, link := range append(linksIn(t, absolute), linksIn(t, path)...) {
		if !strings.HasPrefix(strings.TrimPrefix(link, "https://intra.example.be"), "/gw"+box) {
			t.Errorf("%s", link)
		}
	}
}

func TestSlashesStayEscapedWhereTheyWere(t *testing.T) {
	h := open(t)
	got := h.get("/enterprises/"+mandated+regional+"/ebox/messages?pageSize=1").want(t, 200)
	escaped := strings.ReplaceAll(h.base+"/enterprises/"+mandated+regional+"/ebox/messages/", "/", `\/`)
	if !strings.Contains(got.body, `"href":"`+escaped) {
		t.Errorf("no %s in %s", escaped, got.body)
	}
	if strings.Contains(strings.ReplaceAll(got.body, `\/`, ""), "/") {
		t.Errorf("a slash that is not escaped in %s", got.body)
	}
}

func TestLocationAndLinkLeadBack(t *testing.T) {
	h := open(t)
	const mail = "multipart/form-data; boundary=x"
	form := func(description string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"messageToPublish\"\r\nContent-Type: application/json\r\n\r\n" +
			description + "\r\n--x--\r\n"
	}
	for _, c := range []struct{ provider, path, description string }{
		// An absolute URL, and an absolute path.
		{nsso, "/ebox/messages", `{"recipient":{"eboxType":"enterprise","enterpriseNumber":"` + mandated +
			`"},"subject":{"nl":"x"},"isBodyMainContent":true,"bodyContent":{"nl":"x"},"isReplyAuthorized":false}`},
		{regional, "/publishMessage", `{"recipient":{"eboxType":"enterprise","eboxIdValue":"` + mandated +
			`"},"subject":{"nl":"x"},"bodyMainContent":true,"bodyContent":{"nl":"x"},"replyAuthorized":false}`},
	} {
		for prefix, field := range map[string]string{"/enterprises/" + mandated: "Accept: */*",
			"": "On-Behalf-Of-Enterprise-Number: " + mandated} {
			sent := h.send("POST", prefix+c.provider+c.path, strings.NewReader(form(c.description)), "Content-Type: "+mail,
				field).want(t, 201)
			location := strings.TrimPrefix(sent.header.Get("Location"), h.base)
			if !strings.HasPrefix(location, prefix+c.provider+"/ebox/messages/") {
				t.Fatalf("Location %q", sent.header.Get("Location"))
			}
			h.get(location, field).want(t, 200)
		}
	}
	messages := "/enterprises/" + mandated + regional + "/ebox/messages?"
	list := h.get(messages+"pageSize=2").want(t, 200)
	if link := list.header.Get("Link"); !strings.HasPrefix(link, "<"+h.base+messages) ||
		!strings.HasSuffix(link, `>; rel="next"`) {
		t.Errorf("Link %q", link)
	}
}

func TestWhatMustNotBeRewritten(t *testing.T) {
	h := open(t, providers())
	base := h.sim.ProviderURL("nsso")
	body := `{"href":"` + base + `/ebox", "type" : "about:blank"}` + "\n"
	for _, c := range []struct {
		name, path, contentType string
		status                  int
	}{
		{"problem", "/messages", "application/problem+json", 404},
		{"problem with a parameter", "/messages", "application/problem+json; charset=utf-8", 400},
		{"problem in capitals", "/messages", "Application/Problem+JSON", 500},
		{"problem with status 200", "/messages", "application/problem+json", 200},
		{"no JSON", "/messages", "text/plain", 200},
		{"a document that is JSON", "/messages/1/attachments/1/content", "application/json", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ClearFaults()
			h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: c.status, Body: body,
				ContentType: c.contentType})
			got := h.get(box+c.path).want(t, c.status)
			if got.body != body || got.header.Get("Content-Type") != c.contentType {
				t.Errorf("%s %s", got.header.Get("Content-Type"), got.body)
			}
		})
	}
}

func TestWhatIsALinkOfTheUpstream(t *testing.T) {
	h := open(t)
	base := h.sim.ProviderURL("nsso")
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	ours := h.base + "/enterprises/" + mandated + nsso
	for _, c := range []struct{ name, in, out string }{
		{"absolute URL", `{"href":"` + base + `/ebox"}`, `{"href":"` + ours + `/ebox"}`},
		{"absolute path", `{"href":"` + u.Path + `/ebox"}`, `{"href":"/enterprises/` + mandated + nsso + `/ebox"}`},
		{"the base itself", `{"href":"` + base + `"}`, `{"href":"` + ours + `"}`},
		{"with a query", `{"href":"` + base + `?a=1"}`, `{"href":"` + ours + `?a=1"}`},
		{"contentHref and documentUrl", `{"contentHref":"` + base + `/a","documentUrl" : "` + base + `/b"}`,
			`{"contentHref":"` + ours + `/a","documentUrl" : "` + ours + `/b"}`},
		{"host in capitals", `{"href":"HTTP://` + strings.ToUpper(u.Host) + u.Path + `/a"}`, `{"href":"` + ours + `/a"}`},
		{"slashes as \\u002f", `{"href":"http:\u002f\u002f` + u.Host + strings.ReplaceAll(u.Path, "/",
			`\u002f`) + `\u002fa"}`, ""},
		{"not at a path boundary", `{"href":"` + base + `x/ebox"}`, `{"href":"` + base + `x/ebox"}`},
		{"another host", `{"href":"http://elsewhere.example` + u.Path + `/ebox"}`, `{"href":"http://elsewhere.example` +
			u.Path + `/ebox"}`},
		{"a host that begins alike", `{"href":"http://` + u.Host + `9` + u.Path + `/ebox"}`, `{"href":"http://` + u.Host +
			`9` + u.Path + `/ebox"}`},
		{"out of the base", `{"href":"` + base + `/../../x"}`, `{"href":"` + base + `/../../x"}`},
		{"another member", `{"subject":"` + base + `/ebox"}`, `{"subject":"` + base + `/ebox"}`},
		{"text that only looks like a member", `{"subject":"\"href\":\"` + base + `/ebox\""}`, `{"subject":"\"href\":\"` +
			base + `/ebox\""}`},
		{"not whole", `{"href":"` + base + `/ebox`, `{"href":"` + base + `/ebox`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ClearFaults()
			h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: http.StatusOK, Body: c.in})
			got := h.get(box+"/messages").want(t, 200)
			if c.out == "" { // any spelling of the right link will do
				if links := linksIn(t, got); len(links) != 1 || links[0] != ours+"/a" {
					t.Errorf("%s became %s", c.in, got.body)
				}
				return
			}
			if got.body != c.out {
				t.Errorf("%s became\n%s instead of\n%s", c.in, got.body, c.out)
			}
		})
	}
}
