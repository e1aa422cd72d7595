package whole_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/operate/explain"
	"ebox-gateway/internal/simulator"
)

func TestInboxLinksLeadBackInTheFormTheCallerUsed(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		name, prefix string
		fields       []string
	}{
		{"path", "/enterprises/0206731645", nil},
		{"header", "", []string{"On-Behalf-Of-Enterprise-Number: 0206731645"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := make(map[string]bool)
			for queue := []string{c.prefix + "/ebox", c.prefix + "/ebox/messages?pageSize=20&page=2"}; len(queue) > 0 &&
				len(seen) < 60; queue = queue[1:] {
				if seen[queue[0]] {
					continue
				}
				seen[queue[0]] = true
				got := h.get(queue[0], c.fields...)
				if got.status != 200 {
					t.Errorf("%s leads to %d %s", queue[0], got.status, got.body)
					continue
				}
				for _, link := range linksIn(t, got) {
					if strings.HasPrefix(link, "https://www.belgif.be/") { // about a problem
						continue
					}
					path := strings.TrimPrefix(link, h.base)
					if !strings.HasPrefix(path, c.prefix+"/ebox") {
						t.Errorf("%s holds %s", queue[0], link)
						continue
					}
					if !strings.HasSuffix(path, "/content") { // these are for opening
						queue = append(queue, path)
					}
				}
			}
			if len(seen) < 60 {
				t.Errorf("only %d links were followed", len(seen))
			}
		})
	}
}

func TestInboxMethods(t *testing.T) {
	h := open(t)
	whole := h.get(inboxPath+"?pageSize=5").want(t, 200)
	head := h.send("HEAD", inboxPath+"?pageSize=5", nil).want(t, 200)
	if head.body != "" || head.header.Get("Content-Length") != whole.header.Get("Content-Length") ||
		head.header.Get("X-EBox-Incomplete") == "" {
		t.Errorf("HEAD: %v %q", head.header, head.body)
	}
	for path, allow := range map[string]string{inboxPath: "GET, HEAD, PATCH, OPTIONS",
		"/enterprises/0206731645/ebox": "GET, HEAD, OPTIONS"} {
		if got := h.send("OPTIONS", path, nil).want(t, 204).header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow: %s", path, got)
		}
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if got := h.send(method, path, nil).want(t, 405).header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow: %s", method, path, got)
			}
		}
	}
	h.send("PATCH", "/enterprises/0206731645/ebox", strings.NewReader("{}"), mergePatch).want(t, 405)
	for path, instead := range map[string]string{
		inboxPath + "/1000001":                 "/ebox/providers/{providerId}",
		inboxPath + "/1/attachments/1/content": "/ebox/providers/{providerId}",
		inboxPath + "/":                        "use " + inboxPath + ".",
	} {
		if doc := h.get(path).want(t, 404).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]), instead) {
			t.Errorf("%s: %v", path, doc)
		}
	}
	h.get("/ebox/messages").want(t, 400)                            // for nobody
	h.get("/enterprises/0474028804/ebox/messages").want(t, 400)     // a wrong check digit
	h.get("/enterprises/0800002352/ebox/messages").want(t, 403)     // not listed
	h.get(inboxPath+"?page=2&pageSize=501").want(t, 400)            // too deep, and too many
	h.get(inboxPath, "Origin: https://evil.example").want(t, 403)   // a page in a browser
	h.get(inboxPath+"?partial=false&partial=false").want(t, 400)    // said twice
	h.get("/enterprises/own/ebox/messages?pageSize=1").want(t, 200) // the office's own
}

func TestInboxIsOnlyForThoseWhoMayUseTheProviders(t *testing.T) {
	h := build(t, edit("routes:", "callers:\n  - {name: mandates, networks: [127.0.0.0/8], routes: [grant-citizen]}\n  "+
		"- {name: ebox, networks: [127.0.0.2/32], routes: [ebox], enterprises: ['0206731645']}\nroutes:"))
	h.get(inboxPath).want(t, 403)
	c := h.dial("127.0.0.2")
	eventually(t, "the list of Document Providers", func() bool {
		c.write("GET " + inboxPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		got := c.read("GET")
		if got.status != 200 && got.status != 503 { // before there is a list
			t.Fatalf("%d %s", got.status, got.body)
		}
		return got.status == 200
	})
	c.write("GET /enterprises/0212148896/ebox/messages HTTP/1.1\r\nHost: localhost\r\n\r\n")
	c.read("GET").want(t, 403)
}

func TestInboxOfOneEnterpriseIsNeverAnothers(t *testing.T) {
	h := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		number := []string{"0206731645", "0212148896"}[i%2]
		wg.Go(func() {
			for range 10 {
				resp, err := h.http.Get(h.base + "/enterprises/" + number + "/ebox/messages?pageSize=10")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || strings.Count(string(body), "onderneming "+number) != 10 ||
					strings.Count(string(body), "onderneming ") != 10 {
					t.Errorf("%s: %d %s", number, resp.StatusCode, body)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestInboxPollThatFindsNothingNewCostsAProviderNoBody(t *testing.T) {
	h := open(t)
	first := h.list(t, inboxPath)
	h.sim.ResetRequests()
	second := h.list(t, inboxPath)
	if fmt.Sprint(first.keys()) != fmt.Sprint(second.keys()) {
		t.Errorf("%v, then %v", first.keys(), second.keys())
	}
	for _, id := range []string{"nsso", "regional"} {
		if r := h.sim.RequestsTo(simulator.ProviderUpstream(id)); len(r) != 1 || r[0].Status != http.StatusNotModified {
			t.Errorf("%s answered %+v", id, r)
		}
	}
}

func TestInboxRecordsEachCallBesideTheCallersOwn(t *testing.T) {
	h := open(t)
	a := h.get(inboxPath, "X-Actor: clerk").want(t, 200)
	id := a.header.Get("X-Request-Id")
	eventually(t, "the caller's line", func() bool { return strings.Contains(h.access.String(), `"requestId":"`+id+`"`) })
	log := h.access.String()
	if n := strings.Count(log, `"parent":"`+id+`"`); n != 2 {
		t.Errorf("%d calls have the request as parent, want 2:\n%s", n, log)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"parent":"`+id+`"`) && (!strings.Contains(line, `"actor":"clerk"`) ||
			!strings.Contains(line, `"tokenHash":"`) || !strings.Contains(line, `"enterprise":"0206731645"`)) {
			t.Errorf("%s", line)
		}
	}
}

func TestInboxTakesTheSameMemoryForALargeMailbox(t *testing.T) {
	const large = 100_000
	// One provider has pages, the other gives all that it has, whatever it is asked for.
	paged, careless := &registryOfMail{id: "nsso", counts: true}, &registryOfMail{id: "b"}
	h := open(t, startRegistries(t, paged, careless))
	paged.put(some(2000))
	filler := strings.Repeat("x", 600)
	wrote := make(chan int, 16) // how many messages of its mailbox the provider was rid of, for each call
	careless.breakDown(func(w http.ResponseWriter, _ *http.Request) bool {
		written := 0
		defer func() { wrote <- written }()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[`)
		at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		for written = range large {
			if written > 0 {
				_, _ = io.WriteString(w, ",")
			}
			if _, err := fmt.Fprintf(w, `{"messageId":"%d","receiptDate":"%s","subject":{"nl":"%s"}}`, written,
				at.Add(-time.Duration(written)*time.Second).Format(time.RFC3339), filler); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, `]}`)
		return true
	})
	read := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l := h.list(t, inboxPath+"?pageSize=100&page=10")
		if len(l.Items) != 100 || l.missing() != "" {
			t.Fatalf("%d messages, missing %q", len(l.Items), l.missing())
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	read()
	// All that is allocated, the writing of both providers included, is a fraction of the
	// seventy megabytes that the mailbox has.
	if got := read(); got > 24<<20 {
		t.Errorf("%d MB were allocated", got>>20)
	}
	for range 2 {
		if <-wrote == large-1 {
			t.Errorf("the whole mailbox was read")
		}
	}
}

func TestInboxIsExplained(t *testing.T) {
	h := open(t)
	x, err := explain.Explain(t.Context(), h.gw.View(), explain.Request{Method: "GET", Target: inboxPath,
		From: netip.MustParseAddr("127.0.0.1")})
	if err != nil || x.Route != "ebox-inbox" || x.Inbox != "nsso, regional; not asked: utilities (maintenance)" ||
		x.Enterprise != "0206731645" {
		t.Errorf("%+v %v", x, err)
	}
	if n := len(h.sim.RequestsTo("provider:nsso")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
