package whole_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// some are n messages, a minute apart, the newest at noon.
func some(n int) []mail {
	list := make([]mail, n)
	for i := range list {
		list[i] = mail{id: strconv.Itoa(i), received: time.Date(2026, 11, 20, 12, 0, 0, 0,
			time.UTC).Add(-time.Duration(i) * time.Minute)}
	}
	return list
}

// What else a provider may answer is in package inbox.
func TestInboxNamesAProviderInTroubleAndGivesTheOthers(t *testing.T) {
	t.Parallel()
	all := []*registryOfMail{{id: "nsso", counts: true}, {id: "b", counts: true, v2: true}, {id: "c", counts: true}}
	registries := startRegistries(t, all...)
	h := open(t, registries)
	hasty := open(t, registries, edit("routes:", "inbox: {timeout: 1s}\nroutes:"))
	for _, p := range all {
		p.put(some(30))
	}
	write := func(w http.ResponseWriter, status int, contentType, body string) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
	const begun = `{"items":[{"messageId":"1","receiptDate":"2026-11-20T12:00:00Z"},`
	for i, c := range []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request) bool
		reason string
		status int // of the problem
	}{
		{"standing still in its list", func(w http.ResponseWriter, r *http.Request) bool {
			write(w, 200, "application/json", begun)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, "timeout", 504},
		{"cutting its list short", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "100000")
			write(w, 200, "application/json", begun+strings.Repeat(" ", 80_000))
			panic(http.ErrAbortHandler)
		}, "cut-short", 502},
		{"cutting a small list short", func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000")
			write(w, 200, "application/json", begun)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "cut-short", 502},
		{"closing the connection", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
			"unreachable", 502},
		{"refusing", func(w http.ResponseWriter, r *http.Request) bool {
			return write(w, 403, "application/problem+json", `{"type":"x","status":403}`)
		}, "refused", 403},
		{"leading elsewhere", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://example.org/login", http.StatusFound)
			return true
		}, "malformed", 502},
		{"sending a message of 50 MB", func(w http.ResponseWriter, r *http.Request) bool {
			write(w, 200, "application/json", `{"items":[{"messageId":"1","subject":"`)
			for range 50 {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
					return true
				}
			}
			return true
		}, "malformed", 502},
		{"answering without an end", func(w http.ResponseWriter, _ *http.Request) bool {
			write(w, 200, "application/json", "{")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "\"k%d\":\"%s\",", i, strings.Repeat("x", 100_000)); err != nil {
					return true
				}
			}
		}, "malformed", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := all[i%len(all)]
			broken.breakDown(c.fault)
			defer broken.breakDown(nil)
			var l listed
			if want := broken.id + ";reason=" + c.reason; c.status == 504 {
				eventually(t, "a list in time of those that answer", func() bool {
					l = hasty.list(t, inboxPath+"?pageSize=100")
					return l.missing() == want
				})
			} else if l = h.list(t, inboxPath+"?pageSize=100"); l.missing() != want {
				t.Errorf("with %s in trouble: missing are %q", broken.id, l.missing())
			}
			if len(l.Incomplete) == 1 && l.Incomplete[0].Problem["status"] != float64(c.status) {
				t.Errorf("the problem is %v, want status %d", l.Incomplete[0].Problem, c.status)
			}
			others := 0
			for _, item := range l.Items {
				if item.Provider != broken.id {
					others++
				}
			}
			if others != 60 || l.Total != nil {
				t.Errorf("with %s in trouble: %d messages of the others, want 60; totalItems %v", broken.id, others, l.Total)
			}
		})
	}
	all[0].breakDown(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	got := h.get(inboxPath+"?partial=false").want(t, 503)
	if doc := got.problem(t); len(doc["incomplete"].([]any)) != 1 ||
		!strings.Contains(fmt.Sprint(doc["detail"]), "nsso") ||
		got.header.Get("X-EBox-Incomplete") != "nsso;reason=unreachable" {
		t.Errorf("all or nothing: %v %v", got.header, doc)
	}
	all[0].breakDown(nil)
	if l := h.list(t, inboxPath+"?partial=false"); len(l.Incomplete) > 0 || *l.Total != 90 {
		t.Errorf("when all is well again: %+v", l)
	}
}

func TestInboxOfNobodyIsAProblem(t *testing.T) {
	t.Parallel()
	a, b := &registryOfMail{id: "nsso"}, &registryOfMail{id: "b"}
	h := open(t, startRegistries(t, a, b))
	for i, p := range []*registryOfMail{a, b} {
		p.breakDown(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", strconv.Itoa(20+10*i))
			p.fail(w, 503, "closed")
			return true
		})
	}
	for _, path := range []string{inboxPath, summaryPath} {
		got := h.get(path).want(t, 503)
		doc := got.problem(t)
		if doc["type"] != "urn:problem-type:belgif:serviceUnavailable" || got.header.Get("Retry-After") != "20" ||
			got.header.Get("X-EBox-Incomplete") != "b;reason=failed, nsso;reason=failed" {
			t.Errorf("%s: %v %v", path, got.header, doc)
		}
	}
}

func TestInboxNamesProvidersThatAreNotAsked(t *testing.T) {
	t.Parallel()
	h := open(t)
	// The simulator has one in maintenance, one to come and one that is gone.
	l := h.list(t, inboxPath)
	if l.missing() != "utilities;reason=maintenance" || l.Total != nil {
		t.Fatalf("missing: %q, totalItems %v", l.missing(), l.Total)
	}
	if n := len(h.sim.RequestsTo("provider:utilities")); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	// An open circuit is named too, and nobody is called.
	h.fault(simulator.Fault{Upstream: "provider:regional", Kind: simulator.FaultReset})
	eventually(t, "the circuit to open", func() bool {
		l = h.list(t, inboxPath, "Cache-Control: no-cache")
		return l.missing() == "regional;reason=circuit-open, utilities;reason=maintenance"
	})
	if l.Incomplete[0].Problem["status"] != float64(503) || len(l.Items) != 25 {
		t.Errorf("%+v", l)
	}
}

func TestInboxWithoutWholenessIsRefusedToACallerWhoNeedsIt(t *testing.T) {
	t.Parallel()
	h := open(t, edit("routes:", "callers:\n  - {name: legacy, networks: [127.0.0.0/8], partial: false}\nroutes:"))
	for _, query := range []string{"", "?partial=true"} {
		if doc := h.get(inboxPath+query).want(t, 503).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]),
			"utilities (maintenance)") {
			t.Errorf("%v", doc)
		}
	}
	h.get(summaryPath).want(t, 503)
}

func TestInboxLeavesNothingRunningWhenTheCallerGoes(t *testing.T) {
	t.Parallel()
	a, b := &registryOfMail{id: "nsso"}, &registryOfMail{id: "b"}
	h := open(t, startRegistries(t, a, b))
	arrived, left := make(chan struct{}, 2), make(chan struct{}, 2)
	for _, p := range []*registryOfMail{a, b} {
		p.breakDown(func(_ http.ResponseWriter, r *http.Request) bool {
			arrived <- struct{}{}
			<-r.Context().Done()
			left <- struct{}{}
			return true
		})
	}
	c := h.dial("")
	c.write("GET " + inboxPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-arrived
	<-arrived
	_ = c.conn.Close()
	for range 2 {
		<-left
	}
	eventually(t, "the line of a caller that went away", func() bool {
		return strings.Contains(h.access.String(), `"status":499`)
	})
}

func TestInboxSummary(t *testing.T) {
	t.Parallel()
	a, b := &registryOfMail{id: "nsso"}, &registryOfMail{id: "b", v2: true}
	h := open(t, startRegistries(t, a, b))
	say := func(p *registryOfMail, body string) {
		p.breakDown(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = io.WriteString(w, body)
			return true
		})
	}
	get := func() map[string]any {
		t.Helper()
		var doc map[string]any
		if err := json.Unmarshal([]byte(h.get(summaryPath).want(t, 200).body), &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	say(a, `{"numberOfMessages":3,"numberOfUnreadMessages":1,"lastReceiptDate":"2026-11-20T12:00:00Z","eboxSize":1.5}`)
	say(b,
		`{"numberOfMessages":4,"numberOfUnreadMessages":2,"lastReceiptDate":"2026-11-20T12:30:00+01:00","eboxSize":2,`+
			`"lastConsultationDate":"2026-11-01T00:00:00Z"}`)
	doc := get()
	if doc["numberOfMessages"] != 7.0 || doc["numberOfUnreadMessages"] != 3.0 ||
		doc["lastReceiptDate"] != "2026-11-20T12:00:00Z" || doc["eboxSize"] != 3.5 ||
		doc["lastConsultationDate"] != "2026-11-01T00:00:00Z" || len(doc["providers"].([]any)) != 2 ||
		doc["incomplete"] != nil {
		t.Errorf("%v", doc)
	}
	say(b, `{"numberOfMessages":0}`)
	doc = get()
	if _, there := doc["numberOfUnreadMessages"]; there || doc["numberOfMessages"] != 3.0 ||
		doc["lastReceiptDate"] != "2026-11-20T12:00:00Z" {
		t.Errorf("what one of them does not say is not said: %v", doc)
	}
	say(b, `{"hello":1}`)
	doc = get()
	if doc["numberOfMessages"] != 3.0 || len(doc["incomplete"].([]any)) != 1 || len(doc["providers"].([]any)) != 1 {
		t.Errorf("without one of them the others are counted, and it is named: %v", doc)
	}
	if got := h.get(summaryPath); !strings.HasPrefix(got.header.Get("X-EBox-Incomplete"),
		"b;reason=malformed") {
		t.Errorf("%v", got.header)
	}
	h.get("/enterprises/0206731645/ebox?partial=false").want(t, 503)
}

func TestInboxBeforeTheRegistryHasGivenAList(t *testing.T) {
	t.Parallel()
	away := edit("/messageRegistries\n", "/nowhere\n")
	t.Run("nobody is known", func(t *testing.T) {
		h := build(t, away)
		for _, path := range []string{inboxPath, summaryPath} {
			if got := h.get(path).want(t, 503); got.header.Get("Retry-After") == "" {
				t.Errorf("%s: %v", path, got.header)
			}
		}
		h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"providerId":"nsso"}]}`), mergePatch).want(t, 503)
	})
	t.Run("some are known by the configuration", func(t *testing.T) {
		p := &registryOfMail{id: "nsso", counts: true}
		var static string
		own := startRegistries(t, p)
		h := build(t, func(t *testing.T, text string) string {
			for line := range strings.Lines(own(t, text)) {
				if strings.HasPrefix(line, "  providers: [") {
					static = line
				}
			}
			return edit("registry:\n", "registry:\n"+static)(t, away(t, text))
		})
		p.put(some(3))
		l := h.list(t, inboxPath)
		if len(l.Items) != 3 || l.missing() != "*;reason=registry" || l.Total != nil {
			t.Errorf("%d messages, missing %q", len(l.Items), l.missing())
		}
	})
}
