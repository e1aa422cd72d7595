package whole_test

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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

const (
	messagePart = "Content-Disposition: form-data; name=\"messageToPublish\"\r\nContent-Type: application/json\r\n\r\n"
	filePart    = "Content-Disposition: form-data; name=\"upload1\"; filename=\"a.pdf\"\r\n" +
		"Content-Type: application/pdf\r\n\r\n"
)

// parted is a body of parts, each with its header, behind the boundary x.
func parted(parts ...string) string {
	body := ""
	for _, p := range parts {
		body += "--x\r\n" + p + "\r\n"
	}
	return body + "--x--\r\n"
}

// from is a message to another enterprise in the name of a sender, in the words of version 3.
func from(sender string) string {
	return messagePart + `{"sender":{"eboxType":"enterprise","enterpriseNumber":"` + sender +
		`"},"recipient":{"eboxType":"enterprise","enterpriseNumber":"` + another +
		`"},"subject":{"nl":"x"},"isBodyMainContent":true,"bodyContent":{"nl":"x"},"isReplyAuthorized":false}`
}

// The other bodies that two readers might read differently are in package multiparts.
func TestNobodyPublishesInAnothersName(t *testing.T) {
	t.Parallel()
	h := open(t, add(limited))
	forA := "/enterprises/" + mandated + nsso
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB: what precedes goes on before the message comes
	for i, c := range []struct {
		name, from, path, body string
		status                 int
	}{
		{"another customer", "127.0.0.2", forA + "/ebox/messages", parted(from(another)), 403},
		{"another customer, by somebody who might", "127.0.0.3", forA + "/ebox/messages", parted(from(another)), 400},
		{"behind a large file", "127.0.0.2", forA + "/ebox/messages", parted(filePart+large, from(another)), 403},
		{"a message larger than JSON may be", "127.0.0.2", forA + "/ebox/messages",
			parted(messagePart + `"` + strings.Repeat("x", 5<<20) + `"`), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The provider may notice a cut one only after the next has begun.
			query := "case=" + strconv.Itoa(i)
			h.sendAs(c.from, "POST", c.path+"?"+query, c.body, mixed).want(t, c.status).problem(t)
			sent := slices.DeleteFunc(h.sim.RequestsTo("provider:nsso"),
				func(r simulator.Recorded) bool { return !strings.HasSuffix(r.Target, "?"+query) })
			for _, r := range sent {
				if r.BodyBytes >= int64(len(c.body)) || r.Status == 201 {
					t.Errorf("it was sent: %d bytes, status %d", r.BodyBytes, r.Status)
				}
			}
			if large := strings.Contains(c.name, "large") || strings.Contains(c.name, "behind"); !large && len(sent) > 0 {
				t.Error("the provider was asked before the message was checked")
			}
		})
	}
	for field, status := range map[string]int{
		`Content-Type: multipart/form-data; boundary=y; boundary=x`: 400,
		mixed + "\r\nContent-Encoding: gzip":                        400,
		`Content-Type: multipart/form-data; boundary="x"`:           201,
	} {
		if got := h.sendAs("127.0.0.2", "POST", forA+"/ebox/messages", parted(from(mandated)), field); got.status != status {
			t.Errorf("%q: %d, want %d: %s", field, got.status, status, got.body)
		}
	}
}

func TestPublicationsGoOnAsTheyCameAndTheEvidenceNamesWhoTheySay(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "4h", add(limited))
	const messages = nsso + "/ebox/messages"
	for _, c := range []struct{ path, body string }{
		{"/enterprises/" + mandated + messages, parted(from(mandated))},
		{"/enterprises/own" + messages, parted(from(office))},
	} {
		h.sendAs("127.0.0.3", "POST", c.path, c.body, mixed).want(t, 201)
		if sent := h.last("provider:nsso"); sent.BodySHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(c.body))) {
			t.Errorf("upstream got another body of %d bytes", sent.BodyBytes)
		}
	}
	// What stands behind a file is in the record of the outcome, that of a refusal too.
	late := parted(filePart+strings.Repeat("x", 1<<20), from(mandated))
	if got := h.sendAs("127.0.0.3", "POST", "/enterprises/"+mandated+messages, late, mixed); got.status == 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if sent := h.last("provider:nsso"); sent.BodySHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(late))) {
		t.Errorf("upstream got another body of %d bytes", sent.BodyBytes)
	}
	h.sendAs("127.0.0.2", "POST", "/enterprises/"+mandated+messages,
		parted(filePart+strings.Repeat("x", 1<<20), from(unlisted)), mixed).want(t, 403)
	all := h.evidence(dir)
	if len(all) != 4 {
		t.Fatalf("%d records", len(all))
	}
	for i, named := range [][]string{{mandated, another}, {office, another}, {mandated, another}, {unlisted, another}} {
		if !slices.Equal(all[i].Named, named) {
			t.Errorf("record %d names %q, want %q", i, all[i].Named, named)
		}
	}
}
