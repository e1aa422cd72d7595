package whole_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

// changed is the answer to a PATCH, read.
type changed struct {
	Providers []struct {
		Provider string         `json:"providerId"`
		Status   int            `json:"status"`
		Items    int            `json:"items"`
		Problem  map[string]any `json:"problem"`
	} `json:"providers"`
}

func (h *house) change(body string, fields ...string) (answer, string) {
	h.t.Helper()
	a := h.send("PATCH", inboxPath, strings.NewReader(body), append(fields, mergePatch)...)
	var c changed
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		h.t.Fatalf("%d %v: %s", a.status, err, a.body)
	}
	var out []string
	for _, p := range c.Providers {
		out = append(out, fmt.Sprintf("%s %d×%d", p.Provider, p.Items, p.Status))
		if p.Problem != nil && p.Problem["status"] != float64(p.Status) {
			h.t.Errorf("%s: the problem is %v", p.Provider, p.Problem)
		}
		if (p.Status >= 300) != (p.Problem != nil) {
			h.t.Errorf("%s: status %d, problem %v", p.Provider, p.Status, p.Problem)
		}
	}
	return a, strings.Join(out, ", ")
}

func TestInboxChangesGoToTheirProviders(t *testing.T) {
	t.Parallel()
	a, b, c := &registryOfMail{id: "nsso"}, &registryOfMail{id: "b", v2: true}, &registryOfMail{id: "c"}
	h := open(t, startRegistries(t, a, b, c))
	status := func(p *registryOfMail, code int) {
		p.breakDown(func(w http.ResponseWriter, _ *http.Request) bool {
			if code >= 300 {
				p.fail(w, code, "no")
				return true
			}
			w.WriteHeader(code)
			return true
		})
	}
	const body = `{"totalItems": 3, "items": [{"messageId": "1", "providerId": "b", "visible": false},
		{"providerId":"nsso","messageId":"1","visible":true,"partitionId":null},
		{"messageId":"2","visible":false,"providerId":"b"}], "reason": {"x": 1}}`
	status(a, 200)
	status(b, 204)
	got, outcome := h.change(body)
	if got.status != 200 || outcome != "b 2×204, nsso 1×200" {
		t.Errorf("%d %s", got.status, outcome)
	}
	for p, want := range map[*registryOfMail]string{
		a: `{"items":[{"messageId":"1","visible":true,"partitionId":null}],"totalItems":1,"reason": {"x": 1}}`,
		b: `{"items":[{"messageId": "1","visible": false},{"messageId":"2","visible":false}],"totalItems":2,` +
			`"reason": {"x": 1}}`,
	} {
		r := p.seen()
		if len(r) != 1 || r[0].method != "PATCH" || r[0].path != "/base/ebox/messages" || r[0].body != want ||
			r[0].contentType != "application/merge-patch+json" || r[0].enterprise != "0206731645" {
			t.Errorf("%s got %+v", p.id, r)
		}
	}
	if n := len(c.seen()); n != 0 {
		t.Errorf("a provider without changes was asked %d times", n)
	}
	for _, m := range []struct {
		nsso, b int
		status  int
		outcome string
	}{
		{200, 200, 200, "b 2×200, nsso 1×200"},
		{404, 200, 207, "b 2×200, nsso 1×404"},
		{200, 403, 207, "b 2×403, nsso 1×200"},
		{503, 400, 502, "b 2×400, nsso 1×503"},
		{403, 404, 400, "b 2×404, nsso 1×403"},
		{404, 404, 404, "b 2×404, nsso 1×404"},
		{503, 503, 503, "b 2×503, nsso 1×503"},
	} {
		status(a, m.nsso)
		status(b, m.b)
		if got, outcome := h.change(body); got.status != m.status || outcome != m.outcome {
			t.Errorf("%d and %d: %d %s", m.nsso, m.b, got.status, outcome)
		}
	}
	a.breakDown(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	status(b, 200)
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
	if records != 9 {
		t.Errorf("%d changes at nsso in the log, want 9", records)
	}
}

// The bodies that cannot be shared out are in package inbox.
func TestInboxChangesThatCannotBeSharedOutAreNotSent(t *testing.T) {
	t.Parallel()
	a := &registryOfMail{id: "nsso"}
	h := open(t, startRegistries(t, a))
	const good = `{"items":[{"providerId":"nsso","messageId":"1","visible":false}]}`
	for _, c := range []struct {
		name, body string
		fields     []string
		status     int
		says       string
	}{
		{"no provider", `{"items":[{"messageId":"1"}]}`, []string{mergePatch}, 400, "/items/0/providerId"},
		{"no body", "", []string{mergePatch}, 400, "issues"},
		{"a coding", good, []string{mergePatch, "Content-Encoding: gzip"}, 400, "Content-Encoding"},
		{"a condition", good, []string{mergePatch, `If-Match: "1"`}, 400, "If-Match"},
		{"no merge patch", good, []string{"Content-Type: text/plain"}, 400, ""},
		{"too large", good + strings.Repeat(" ", 1e6), []string{mergePatch}, 413, ""},
	} {
		got := h.send("PATCH", inboxPath, strings.NewReader(c.body), c.fields...).want(t, c.status)
		if got.problem(t); !strings.Contains(got.body, c.says) {
			t.Errorf("%s: no word of %s: %s", c.name, c.says, got.body)
		}
	}
	if n := len(a.seen()); n != 0 {
		t.Errorf("%d changes were sent", n)
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

// A provider that checks the digest of another body would refuse its own.
func TestInboxChangesCarryNoDigestOfTheWhole(t *testing.T) {
	t.Parallel()
	a := &registryOfMail{id: "nsso"}
	h := open(t, startRegistries(t, a))
	a.breakDown(func(w http.ResponseWriter, _ *http.Request) bool { return true })
	h.change(`{"items":[{"providerId":"nsso","messageId":"1"}]}`, "Digest: SHA-256=x", "Repr-Digest: sha-256=:x:",
		"Content-Digest: sha-256=:x:", "Content-Md5: x", "X-Other: x")
	r := a.seen()
	if len(r) != 1 || r[0].header.Get("X-Other") != "x" {
		t.Fatalf("%+v", r)
	}
	for _, name := range []string{"Digest", "Repr-Digest", "Content-Digest", "Content-Md5"} {
		if v := r[0].header.Get(name); v != "" {
			t.Errorf("%s: %s passes", name, v)
		}
	}
}
