package whole_test

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// Whatever happens to an opening, upstream sees it once. Retries are for the others.
func TestAnOpeningIsSentOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	h := open(t, edit("path: /ebox/providers/{providerId}\n", "path: /ebox/providers/{providerId}\n    timeouts: "+
		"{header: 300ms}\n    breaker: {enabled: false}\n"))
	const (
		content = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
		body    = box + "/messages/" + simulator.BodyMessage + "/body"
		list    = box + "/messages?pageSize=1"
	)
	h.get(box).want(t, 200) // a connection is there that a retry could use
	for _, f := range []struct {
		name   string
		fault  simulator.Fault
		status int
	}{
		{"reset", simulator.Fault{Kind: simulator.FaultReset}, 502},
		{"closed without an answer", simulator.Fault{Kind: simulator.FaultClose}, 502},
		{"no HTTP", simulator.Fault{Kind: simulator.FaultMalformed}, 502},
		{"too slow", simulator.Fault{Kind: simulator.FaultLatency, Delay: 2 * time.Second}, 504},
		{"503 with Retry-After", simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "0"}, 503},
		{"502", simulator.Fault{Kind: simulator.FaultStatus, Status: 502}, 502},
		{"401", simulator.Fault{Kind: simulator.FaultUnauthorized}, 401},
	} {
		for _, c := range []struct{ name, method, path string }{
			{"an attachment", "GET", content}, {"HEAD", "HEAD", content}, {"a body", "GET", body}, {
				"part of it", "GET", content + "?x=1"},
			{"in capitals", "GET", strings.ToUpper(content[len(box):])},
		} {
			t.Run(f.name+", "+c.name, func(t *testing.T) {
				path := c.path
				if !strings.HasPrefix(path, box) {
					path = box + path
				}
				h.sim.ClearFaults()
				f.fault.Upstream = "provider:nsso"
				h.fault(f.fault)
				h.sim.ResetRequests()
				got := h.send(c.method, path, nil).want(t, f.status)
				if n := h.sim.RequestCount("provider:nsso"); n != 1 {
					t.Errorf("it was sent %d times", n)
				}
				if ours := strings.Contains(got.header.Get("Proxy-Status"), "error="); ours && c.method == "GET" &&
					!strings.Contains(got.body, "marked as read") {
					t.Errorf("no word of what may have happened: %s", got.body)
				}
			})
		}
	}
	t.Run("a list is sent again", func(t *testing.T) {
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultReset, Count: 1})
		h.sim.ResetRequests()
		h.get(list).want(t, 200)
		if n := h.sim.RequestCount("provider:nsso"); n != 2 {
			t.Errorf("it was sent %d times", n)
		}
	})
	t.Run("a write is not", func(t *testing.T) {
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultReset, Count: 1})
		h.sim.ResetRequests()
		got := h.send("PATCH", box+"/messages", strings.NewReader(`{"items":[]}`),
			"Content-Type: application/merge-patch+json", "Idempotency-Key: 1").want(t, 502)
		if n := h.sim.RequestCount("provider:nsso"); n != 1 || got.problem(t)["requestSent"] != true {
			t.Errorf("%d times: %s", n, got.body)
		}
	})
}

// A document is opened by the call for it and by nothing else.
func TestOnlyTheCallForADocumentMarksItRead(t *testing.T) {
	h := open(t)
	unread := func() bool {
		return strings.Contains(h.get(box+"/messages/"+simulator.FirstMessage).want(t, 200).body, `"readStatus":false`)
	}
	if !unread() {
		t.Fatal("it was read before")
	}
	for _, path := range []string{"", "/messages", "/messages/" + simulator.FirstMessage,
		"/messages/" + simulator.FirstMessage + "/attachments", "/messages/" + simulator.FirstMessage + "/attachments/1"} {
		h.get(box+path).want(t, 200)
		h.send("HEAD", box+path, nil).want(t, 200)
		h.send("OPTIONS", box+path, nil).want(t, 204)
	}
	h.send("OPTIONS", box+"/messages/"+simulator.FirstMessage+"/attachments/1/content", nil).want(t, 204)
	h.get(box+"/messages/"+simulator.FirstMessage+"/attachments/1/content", "Origin: https://evil.example").want(t, 403)
	// somebody else's
	h.get("/enterprises/"+another+nsso+"/ebox/messages/"+simulator.FirstMessage+"/attachments/1/content").want(t, 200)
	if !unread() {
		t.Error("something else marked it read")
	}
	h.get(box+"/messages/"+simulator.FirstMessage+"/attachments/1/content").want(t, 200)
	if unread() {
		t.Error("the call for it did not")
	}
}
