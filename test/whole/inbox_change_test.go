package whole_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

// change sends changes, and gives what became of them at each provider.
func (h *house) change(body string, fields ...string) (answer, string) {
	h.t.Helper()
	a := h.send("PATCH", inboxPath, strings.NewReader(body), append(fields, mergePatch)...)
	var c struct {
		Providers []struct {
			Provider string         `json:"providerId"`
			Status   int            `json:"status"`
			Items    int            `json:"items"`
			Problem  map[string]any `json:"problem"`
		} `json:"providers"`
	}
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		h.t.Fatalf("%d %v: %s", a.status, err, a.body)
	}
	var out []string
	for _, p := range c.Providers {
		out = append(out, fmt.Sprintf("%s %d×%d", p.Provider, p.Items, p.Status))
		if (p.Status >= 300) != (p.Problem != nil) || p.Problem != nil && p.Problem["status"] != float64(p.Status) {
			h.t.Errorf("%s: status %d, problem %v", p.Provider, p.Status, p.Problem)
		}
	}
	return a, strings.Join(out, ", ")
}

func TestInboxChangesGoToTheirProviders(t *testing.T) {
	t.Parallel()
	a, b, c := &mailbox{id: "nsso"}, &mailbox{id: "b", v2: true}, &mailbox{id: "c"}
	h := open(t, startMailboxes(t, a, b, c))
	const body = `{"totalItems": 3, "items": [{"messageId": "1", "providerId": "b", "visible": false},
		{"providerId":"nsso","messageId":"1","visible":true,"partitionId":null},
		{"messageId":"2","visible":false,"providerId":"b"}], "reason": {"x": 1}}`
	a.does(says(200, ""))
	b.does(says(204, ""))
	// A provider that checks the digest of another body would refuse its own.
	got, outcome := h.change(body, "Repr-Digest: sha-256=:x:", "Content-Md5: x", "X-Other: x")
	if got.status != 200 || outcome != "b 2×204, nsso 1×200" {
		t.Errorf("%d %s", got.status, outcome)
	}
	for m, want := range map[*mailbox]string{
		a: `{"items":[{"messageId":"1","visible":true,"partitionId":null}],"totalItems":1,"reason": {"x": 1}}`,
		b: `{"items":[{"messageId": "1","visible": false},{"messageId":"2","visible":false}],"totalItems":2,` +
			`"reason": {"x": 1}}`,
	} {
		r := m.seen()
		if len(r) != 1 || r[0].Method != "PATCH" || r[0].URL.Path != "/base/ebox/messages" || r[0].body != want ||
			r[0].Header.Get("Content-Type") != "application/merge-patch+json" ||
			r[0].Header.Get("On-Behalf-Of-Enterprise-Number") != mandated || r[0].Header.Get("X-Other") != "x" ||
			r[0].Header.Get("Repr-Digest")+r[0].Header.Get("Content-Md5") != "" {
			t.Errorf("%s got %+v", m.id, r)
		}
	}
	for _, m := range []struct{ nsso, b, status int }{
		{404, 200, 207},
		{200, 403, 207},
		{503, 400, 502},
		{403, 404, 400},
		{404, 404, 404},
		{503, 503, 503},
	} {
		a.does(a.refuses(m.nsso))
		b.does(b.refuses(m.b))
		want := fmt.Sprintf("b 2×%d, nsso 1×%d", m.b, m.nsso)
		if got, outcome := h.change(body); got.status != m.status || outcome != want {
			t.Errorf("%d and %d: %d %s", m.nsso, m.b, got.status, outcome)
		}
	}
	a.does(breaksOff)
	b.does(says(200, ""))
	a.seen()
	got, outcome = h.change(body)
	if got.status != 207 || outcome != "b 2×200, nsso 1×502" || !strings.Contains(got.body, `"requestSent":true`) {
		t.Errorf("%d %s: %s", got.status, outcome, got.body)
	}
	if n := len(a.seen()); n != 1 {
		t.Errorf("a change was sent %d times", n)
	}
	records := strings.Count(h.access.String(),
		`"method":"PATCH","path":"/enterprises/0206731645/ebox/providers/nsso/ebox/messages"`)
	if records != 8 {
		t.Errorf("%d changes at nsso in the log, want 8", records)
	}
	// The other bodies that cannot be shared out are in package inbox.
	a.seen()
	for says, fields := range map[string][]string{"/items/0/providerId": {mergePatch}, "If-Match": {mergePatch,
		`If-Match: "1"`}, "Content-Encoding": {mergePatch, "Content-Encoding: gzip"}, "": {"Content-Type: text/plain"}} {
		got := h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"messageId":"1"}]}`), fields...).want(t, 400)
		if got.problem(t); !strings.Contains(got.body, says) {
			t.Errorf("no word of %s: %s", says, got.body)
		}
	}
	h.send("PATCH", inboxPath, strings.NewReader(body+strings.Repeat(" ", 1e6)), mergePatch).want(t, 413).problem(t)
	if n := len(a.seen()) + len(c.seen()); n != 0 {
		t.Errorf("%d requests were sent to providers without changes", n)
	}
}

func TestInboxShowsAChangeAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 2 { // the second is answered from what is kept, if the provider says so
		if l := h.list(t, inboxPath+"?visible=true&pageSize=2"); l.Items[0].ID != simulator.FirstMessage ||
			l.Items[0].Provider != "nsso" {
			t.Fatalf("%v", l.keys())
		}
	}
	got, outcome := h.change(
		`{"items":[{"providerId":"nsso","messageId":"1000001","visible":false},
		{"providerId":"utilities","messageId":"1000001","visible":false},
		{"providerId":"regional","messageId":"nothing","visible":false}]}`)
	if got.status != 207 || outcome != "nsso 1×200, utilities 1×503, regional 1×404" {
		t.Errorf("%d %s", got.status, outcome)
	}
	if l := h.list(t, inboxPath+"?visible=true&pageSize=2"); l.Items[0].Provider != "regional" {
		t.Errorf("the message is still there: %v", l.keys())
	}
	h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"providerId":"retired","messageId":"1"}]}`),
		mergePatch).want(t, 400)
}
