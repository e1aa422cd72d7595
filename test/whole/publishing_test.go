package whole_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

const mixed = "Content-Type: multipart/form-data; boundary=x"

// publication is the body of POST /ebox/messages for the v3 registry.
func publication() string {
	return parted(messagePart + `{"recipient":{"eboxType":"enterprise","enterpriseNumber":"` + mandated +
		`"},"subject":{"nl":"x"},"isBodyMainContent":true,"bodyContent":{"nl":"x"},"isReplyAuthorized":false}`)
}

// publish publishes through a path prefix.
func (h *house) publish(prefix string, fields ...string) answer {
	h.t.Helper()
	return h.send("POST", prefix+nsso+"/ebox/messages", strings.NewReader(publication()), append(fields, mixed)...)
}

var quotedUUID = regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`)

func TestAPublicationThatWasLostCanBeSentAgainWithItsKey(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "0s")
	const prefix = "/enterprises/" + mandated
	lost := h.fault(simulator.Fault{Upstream: "provider:nsso", Method: "POST", Kind: simulator.FaultLost, Count: 1})
	if lost == 0 {
		t.Fatal("no fault")
	}
	failed := h.publish(prefix).want(t, 502)
	p := failed.problem(t)
	key, _ := p["idempotencyKey"].(string)
	if detail, _ := p["detail"].(string); !quotedUUID.MatchString(key) ||
		!strings.Contains(detail, "Idempotency-Key: "+key) || p["requestSent"] != true {
		t.Fatalf("%s", failed.body)
	}
	if got := h.last("provider:nsso").Header["Idempotency-Key"]; !slices.Equal(got, []string{key}) {
		t.Errorf("upstream saw %q", got)
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	h.publish(prefix, "Idempotency-Key: "+key).want(t, 409)
	h.fault(simulator.Fault{Upstream: "provider:nsso", Method: "POST", Kind: simulator.FaultReset, Count: 1})
	reply := h.send("POST", messages+"/"+simulator.FirstMessage+"/replies", strings.NewReader(publication()), mixed)
	if id, _ := reply.want(t, 502).problem(t)["idempotencyKey"].(string); !quotedUUID.MatchString(id) {
		t.Errorf("a lost reply: %s", reply.body)
	}
	// An answer of the upstream's own stays as it is, and its header names the key.
	const theirs = `{"type":"about:blank","status":502}`
	h.fault(simulator.Fault{Upstream: "provider:nsso", Method: "POST", Kind: simulator.FaultStatus, Status: 502,
		Body: theirs, ContentType: "application/problem+json", Count: 1})
	got := h.publish("/enterprises/own").want(t, 502)
	if sent := h.last("provider:nsso").Header.Get("Idempotency-Key"); got.body != theirs ||
		!quotedUUID.MatchString(sent) || got.header.Get("Idempotency-Key") != sent {
		t.Errorf("%q was sent: %v %s", sent, got.header, got.body)
	}
	h.sim.ResetRequests()

	// Every publication gets a key of its own, and a caller's passes as it is.
	first := h.publish(prefix).want(t, 201)
	own := h.last("provider:nsso").Header.Get("Idempotency-Key")
	if !quotedUUID.MatchString(own) || own == key {
		t.Errorf("%q after %q", own, key)
	}
	h.publish(prefix, `Idempotency-Key: "mine 1"`).want(t, 201)
	if got := h.last("provider:nsso").Header["Idempotency-Key"]; !slices.Equal(got, []string{`"mine 1"`}) {
		t.Errorf("upstream saw %q", got)
	}
	h.publish(prefix, `Idempotency-Key: "mine 1"`).want(t, 409)

	h.get(messages+"?pageSize=1").want(t, 200)
	hideMessage(h).want(t, 200)
	if got := h.last("provider:nsso").Header["Idempotency-Key"]; got != nil {
		t.Errorf("another write has %q", got)
	}
	keys := map[string]int{}
	for _, r := range h.evidence(dir) {
		if r.Method == "POST" {
			keys[r.IdempotencyKey]++
		} else if r.IdempotencyKey != "" {
			t.Errorf("a key in the record of %s", r.Method)
		}
	}
	if keys[key] != 2 || keys[own] != 1 || keys[`"mine 1"`] != 2 || len(keys) != 5 {
		t.Errorf("the evidence holds %v; the first was %s", keys, first.header.Get("X-Request-Id"))
	}
}
