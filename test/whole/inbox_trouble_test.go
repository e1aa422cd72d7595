package whole_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

// What else a provider may answer is in package inbox.
func TestInboxNamesAProviderInTroubleAndGivesTheOthers(t *testing.T) {
	t.Parallel()
	all := []*mailbox{{id: "nsso"}, {id: "b", v2: true}, {id: "c"}}
	mailboxes := startMailboxes(t, all...)
	h := open(t, mailboxes)
	hasty := open(t, mailboxes, edit("routes:", "inbox: {timeout: 1s}\nroutes:"))
	begins := func(length int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if length > 0 {
				w.Header().Set("Content-Length", strconv.Itoa(length))
			}
			_, _ = io.WriteString(w, `{"items":[{"messageId":"1","receiptDate":"2026-11-20T12:00:00Z"},`)
			_ = http.NewResponseController(w).Flush()
		}
	}
	for i, c := range []struct {
		name   string
		answer http.HandlerFunc
		reason string
		status int // of the problem
	}{
		{"standing still in its list", func(w http.ResponseWriter, r *http.Request) {
			begins(0)(w, r)
			<-r.Context().Done()
		}, "timeout", 504},
		{"sending no header", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout", 504},
		{"cutting its list short", func(w http.ResponseWriter, r *http.Request) {
			begins(1000)(w, r)
			breaksOff(w, r)
		}, "cut-short", 502},
		{"closing the connection", breaksOff, "unreachable", 502},
		{"refusing", says(403, `{"type":"x","status":403}`), "refused", 403},
		{"answering without an end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "{\"k%d\":\"%s\",", i, strings.Repeat("x", 100_000)); err != nil {
					return
				}
			}
		}, "malformed", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := all[i%len(all)]
			broken.does(c.answer)
			defer broken.does(nil)
			var l listed
			if want := broken.id + ";reason=" + c.reason; c.status == 504 {
				eventually(t, "a list in time of those that answer", func() bool {
					l = hasty.list(t, inboxPath+"?pageSize=100")
					return l.missing() == want
				})
			} else if l = h.list(t, inboxPath+"?pageSize=100"); l.missing() != want {
				t.Fatalf("with %s in trouble: missing are %q", broken.id, l.missing())
			}
			if l.Incomplete[0].Problem["status"] != float64(c.status) {
				t.Errorf("the problem is %v, want status %d", l.Incomplete[0].Problem, c.status)
			}
			others := 0
			for _, item := range l.Items {
				if item.Provider != broken.id {
					others++
				}
			}
			if others != 60 || l.Total != nil {
				t.Errorf("%d messages of the others, want 60; totalItems %v", others, l.Total)
			}
		})
	}
	all[0].does(breaksOff)
	got := h.get(inboxPath+"?partial=false").want(t, 503)
	if doc := got.problem(t); len(doc["incomplete"].([]any)) != 1 ||
		!strings.Contains(fmt.Sprint(doc["detail"]), "nsso") ||
		got.header.Get("X-EBox-Incomplete") != "nsso;reason=unreachable" {
		t.Errorf("all or nothing: %v %v", got.header, doc)
	}
	all[0].does(nil)
	if l := h.list(t, inboxPath+"?partial=false"); len(l.Incomplete) > 0 || *l.Total != 90 {
		t.Errorf("when all is well again: %+v", l)
	}
}

func TestInboxOfNobodyIsAProblem(t *testing.T) {
	t.Parallel()
	a, b := &mailbox{id: "nsso"}, &mailbox{id: "b"}
	h := open(t, startMailboxes(t, a, b))
	for i, m := range []*mailbox{a, b} {
		m.does(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", strconv.Itoa(20+10*i))
			m.refuses(503)(w, r)
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
	h := open(t, add("callers:\n  - {name: legacy, networks: [127.0.0.2/32], partial: false}\n"+
		"  - {name: rest, networks: [127.0.0.0/8]}\n"))
	// The simulator has one in maintenance, one to come and one that is gone.
	l := h.list(t, inboxPath)
	if l.missing() != "utilities;reason=maintenance" || l.Total != nil {
		t.Fatalf("missing: %q, totalItems %v", l.missing(), l.Total)
	}
	if n := len(h.sim.RequestsTo("provider:utilities")); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	// A caller that cannot do with a part gets none, whatever it asks for.
	for _, path := range []string{inboxPath, inboxPath + "?partial=true", summaryPath} {
		if doc := h.as("127.0.0.2", "GET", path).want(t, 503).problem(t); !strings.Contains(fmt.Sprint(doc["detail"]),
			"utilities (maintenance)") {
			t.Errorf("%s: %v", path, doc)
		}
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

func TestInboxLeavesNothingRunningWhenTheCallerGoes(t *testing.T) {
	t.Parallel()
	a, b := &mailbox{id: "nsso"}, &mailbox{id: "b"}
	h := open(t, startMailboxes(t, a, b))
	arrived, left := make(chan struct{}, 2), make(chan struct{}, 2)
	for _, m := range []*mailbox{a, b} {
		m.does(func(_ http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-r.Context().Done()
			left <- struct{}{}
		})
	}
	c := h.dial("")
	c.write("GET " + inboxPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-arrived
	<-arrived
	_ = c.conn.Close()
	<-left
	<-left
	eventually(t, "the line of a caller that went away", func() bool {
		return strings.Contains(h.access.String(), `"status":499`)
	})
}

func TestInboxSummary(t *testing.T) {
	t.Parallel()
	a, b := &mailbox{id: "nsso"}, &mailbox{id: "b", v2: true}
	h := open(t, startMailboxes(t, a, b))
	a.does(says(200, `{"numberOfMessages":3,"numberOfUnreadMessages":1,"lastReceiptDate":"2026-11-20T12:00:00Z",`+
		`"eboxSize":1.5}`))
	for body, want := range map[string]string{
		`{"numberOfMessages":4,"numberOfUnreadMessages":2,"lastReceiptDate":"2026-11-20T12:30:00+01:00","eboxSize":2,` +
			`"lastConsultationDate":"2026-11-01T00:00:00Z"}`: "7 3 2026-11-20T12:00:00Z 3.5 2026-11-01T00:00:00Z",
		`{"numberOfMessages":0}`: "3 <nil> 2026-11-20T12:00:00Z <nil> <nil>", // what one of them does not say is not said
		`{"hello":1}`:            "3 1 2026-11-20T12:00:00Z 1.5 <nil>",
	} {
		b.does(says(200, body))
		got := h.get(summaryPath).want(t, 200)
		var doc map[string]any
		if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%v %v %v %v %v", doc["numberOfMessages"], doc["numberOfUnreadMessages"],
			doc["lastReceiptDate"], doc["eboxSize"], doc["lastConsultationDate"]); sum != want {
			t.Errorf("%s: %s, want %s", body, sum, want)
		}
		malformed := strings.HasPrefix(got.header.Get("X-EBox-Incomplete"), "b;reason=malformed")
		if malformed != (doc["incomplete"] != nil) || malformed != strings.Contains(body, "hello") {
			t.Errorf("%s: %v %v", body, got.header, doc)
		}
	}
	b.does(breaksOff)
	h.get("/enterprises/0206731645/ebox?partial=false").want(t, 503)
}

func TestInboxBeforeTheRegistryHasGivenAList(t *testing.T) {
	t.Parallel()
	away := edit("/messageRegistries\n", "/nowhere\n")
	h := build(t, away)
	for _, path := range []string{inboxPath, summaryPath} {
		if got := h.get(path).want(t, 503); got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", path, got.header)
		}
	}
	h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"providerId":"nsso"}]}`), mergePatch).want(t, 503)
	// One that the configuration knows is asked.
	h = build(t, away, func(t *testing.T, text string) string {
		return leadProvider(t, text, "http://"+theHost(text))
	})
	if l := h.list(t, inboxPath); len(l.Items) == 0 || l.missing() != "*;reason=registry" || l.Total != nil {
		t.Errorf("%d messages, missing %q", len(l.Items), l.missing())
	}
}
