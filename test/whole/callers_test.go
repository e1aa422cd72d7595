package whole_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// callerOf is the caller that the access log names for an answer.
func (h *house) callerOf(a answer) (name string) {
	h.t.Helper()
	eventually(h.t, "the access line", func() bool {
		for text := range strings.Lines(h.access.String()) {
			var line struct{ RequestID, Caller string }
			if json.Unmarshal([]byte(text), &line) == nil && line.RequestID == a.header.Get("X-Request-Id") {
				name = line.Caller
				return true
			}
		}
		return false
	})
	return name
}

const (
	box      = "/enterprises/" + mandated + nsso + "/ebox"
	messages = box + "/messages"
	document = messages + "/" + simulator.FirstMessage + "/attachments/1/content"
)

func TestTheMostSpecificRuleRecognisesTheCaller(t *testing.T) {
	t.Parallel()
	serverCert, serverKey := certificate(t, "server").Files(t, t.TempDir())
	payroll, other := certificate(t, "payroll"), certificate(t, "other")
	stranger := certificate(t, "payroll") // the right name from an authority we do not know
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	one, _ := payroll.PEM()
	two, _ := other.PEM()
	testkit.Write(t, authorities, append(one, two...))
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, `server: {trustedProxies: [127.0.0.9], listen: [
  {address: '127.0.0.1:0', name: plain},
  {address: '127.0.0.1:0', name: tls, tls: {certFile: `+serverCert+", keyFile: "+serverKey+
		", clientCaFile: "+authorities+", clientAuth: request}}]"), add(`
callers:
  - {name: loopback, networks: [127.0.0.0/16]}
  - {name: host, networks: [127.0.0.17]}
  - {name: plain, networks: [127.0.0.18], listeners: [plain]}
  - {name: elsewhere, networks: [10.1.0.0/16, "2001:db8::/32"]}
  - {name: by-fingerprint, clientCertificates: [{fingerprint: "`+fmt.Sprintf("%x",
		sha256.Sum256(payroll.Raw))+`"}]}
  - {name: by-name, clientCertificates: [{commonName: other}]}
`))
	for _, c := range []struct{ from, forwarded, caller string }{
		{"127.0.0.1", "", "loopback"},
		{"127.0.0.17", "", "host"},
		{"127.0.0.18", "", "plain"},
		{"127.1.0.1", "", ""},
		{"127.0.0.1", "127.0.0.17", "loopback"}, // from nobody we trust
		{"127.0.0.9", "10.1.2.3", "elsewhere"},
		{"127.0.0.9", "192.0.2.1", ""},
		{"127.0.0.9", "unknown", "loopback"}, // the proxy itself, which passed it on
	} {
		got := h.as(c.from, "GET", box, "X-Forwarded-For: "+c.forwarded)
		if name := h.callerOf(got); name != c.caller || (got.status == 200) != (c.caller != "") {
			t.Errorf("%s for %q: %d, taken for %q", c.from, c.forwarded, got.status, name)
		}
		if c.caller == "" && got.want(t, 403).problem(t)["type"] != "urn:problem-type:belgif:missingPermission" {
			t.Errorf("%s", got.body)
		}
	}
	// Which providers there are is for callers to know.
	for _, path := range []string{"/ebox", "/ebox/messages/1", "/ebox/providers", "/nothing"} {
		if got := h.as("127.1.0.1", "GET", path).want(t, 403); strings.Contains(got.body, "nsso") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	for _, c := range []struct {
		shown  tls.Certificate
		caller string // empty if there is no connection
	}{{tls.Certificate{}, "loopback"}, {payroll.TLS(), "by-fingerprint"}, {other.TLS(), "by-name"}, {stranger.TLS(), ""}} {
		shown := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.shown, nil }
		transport := &http.Transport{ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, GetClientCertificate: shown}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + h.Gateway.Addrs()[1].String() + messages)
		if c.caller == "" && err != nil {
			continue
		}
		testkit.Must(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.ProtoMajor != 2 || !strings.Contains(string(body), `"href":"https://127.0.0.1:`) {
			t.Errorf("%s %v %s", resp.Proto, err, body)
		}
		if name := h.callerOf(answer{resp.StatusCode, resp.Header, ""}); name != c.caller {
			t.Errorf("%s is taken for %q", c.caller, name)
		}
	}
}

func TestWhatACallerMay(t *testing.T) {
	t.Parallel()
	h := open(t, add(`
callers:
  - {name: everything, networks: [127.0.0.1], own: true}
  - {name: lists, networks: [127.0.0.2], may: [list]}
  - {name: one, networks: [127.0.0.5], enterprises: ["`+mandated+`"], defaultEnterprise: "`+mandated+`"}
  - {name: ebox, networks: [127.0.0.8], routes: [ebox]}
`))
	for _, c := range []struct {
		name, from, path string
		status           int
	}{
		{"list", "127.0.0.2", box + "/messages", 200},
		{"open without being allowed", "127.0.0.2", document, 403},
		{"default enterprise", "127.0.0.5", nsso + "/ebox", 200},
		{"an enterprise of others", "127.0.0.5", "/enterprises/" + another + nsso + "/ebox", 403},
		{"own", "127.0.0.1", "/enterprises/own" + nsso + "/ebox", 200},
		{"own without being allowed", "127.0.0.5", "/enterprises/own" + nsso + "/ebox", 403},
		{"a route of others", "127.0.0.8", mandates, 403},
		{"a whole group", "127.0.0.8", "/ebox/registry/messageRegistries", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			h.as(c.from, "GET", c.path).want(t, c.status)
			calls := len(h.sim.Requests()) - int(h.sim.RequestCount(simulator.UpstreamToken))
			if sent := calls > 0; sent != (c.status == 200) {
				t.Errorf("upstreams saw %d requests", calls)
			}
		})
	}
	h.as("127.0.0.5", "GET", nsso+"/ebox/messages?pageSize=1").want(t, 200)
	if r := h.last("provider:nsso"); r.Enterprise != mandated {
		t.Errorf("the default became %q", r.Enterprise)
	}
}

func TestEnterprisesThatAreNotServedNow(t *testing.T) {
	t.Parallel()
	stop := filepath.Join(t.TempDir(), "stop.txt")
	testkit.Write(t, stop, "# by order of the office\n0212.148.896\n")
	h := open(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: ["+stop+"]\n"),
		edit("{number: 0474.028.805", "{number: 0800.002.352, until: 2001-01-01}\n    - {number: "+
			demo.Office.String()+", suspended: true}\n    - {number: 0474.028.805, from: 2999-01-01"))
	for _, number := range []string{ended, unlisted, office, another} { // the file's word goes before all others
		h.get("/enterprises/"+number+nsso+"/ebox").want(t, 403).problem(t)
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
	h.get(box).want(t, 200)
}

func TestAnEnterpriseWithAClientOfItsOwn(t *testing.T) {
	t.Parallel()
	key, err := simulator.SelfSigned("Second office", time.Now())
	testkit.Must(t, err)
	p12, err := key.PKCS12("second")
	testkit.Must(t, err)
	file, broken := filepath.Join(t.TempDir(), "second.p12"), filepath.Join(t.TempDir(), "broken.p12")
	testkit.Write(t, file, p12)
	testkit.Write(t, broken, "no key store")
	second := simulator.Client{ID: "second-office", Certificate: key.Certificate, Enterprise: demo.Office}
	// Both are registered before the gateway starts, which asks a token for each and
	// leaves a client that is refused alone for a while.
	sim := lab.Simulator(t, simulator.Options{Clients: []simulator.Client{lab.Client(t), second}})
	h := before(t, sim, edit("    demo: {", "    second: {clientId: second-office, keystore: {file: "+file+
		", password: second}}\n    broken: {clientId: broken, keystore: {file: "+broken+", password: "+rotatedPassword+
		"}}\n    demo: {"),
		edit("tenancy:\n", "tenancy:\n  defaultClient: demo\n"),
		edit("{number: 0212.148.896", "{number: 0212.148.896, client: second"),
		edit("{number: 0474.028.805", "{number: 0474.028.805, client: broken"))
	h.AwaitProviders()
	for number, id := range map[string]string{mandated: lab.Client(t).ID, another: second.ID} {
		for _, path := range []string{"/enterprises/" + number + nsso + "/ebox",
			grant + "/mandates?representedEnterpriseNumber=" + number} {
			h.sim.ResetRequests()
			h.get(path).want(t, 200)
			for _, r := range h.sim.Requests() {
				if r.Client != id {
					t.Errorf("%s: %s saw client %q instead of %q", path, r.Upstream, r.Client, id)
				}
			}
		}
	}
	// One that has no key, or is refused, must not take the others with it.
	p := h.get("/enterprises/"+ended+nsso+"/ebox").want(t, 503)
	if detail := p.problem(t)["detail"].(string); !strings.Contains(detail, "broken") || strings.Contains(detail, broken) {
		t.Errorf("%s", p.body)
	}
	h.sim.UnregisterClient(second.ID)
	h.get(anothersBox).want(t, 401) // upstream's own, which the renewal that it led to could not mend
	h.get(anothersBox).want(t, 502).problem(t)
	h.get(box).want(t, 200)
	h.keepsSecrets(rotatedPassword)
}

const (
	nsso     = "/ebox/providers/nsso"
	regional = "/ebox/providers/regional"
	mandated = "0206731645" // has a mandate in the simulator
	another  = "0212148896" // so has this one
	ended    = "0474028805" // its mandate has ended
	unlisted = "0800002352" // a valid number that the configuration does not list

	mergePatch = "Content-Type: application/merge-patch+json"
)

func TestEveryFormOfTheNumberReachesUpstreamAsTenDigits(t *testing.T) {
	t.Parallel()
	h := open(t)
	for path, field := range map[string]string{
		"/enterprises/BE%200206.731.645" + nsso + "/ebox/messages": "Accept: */*",
		nsso + "/ebox/messages": "on-behalf-of-enterprise-number: BE 0206.731.645",
	} {
		if got := h.get(path, field).want(t, 200); !strings.Contains(got.body, mandated) {
			t.Errorf("not the messages of %s: %s", mandated, got.body)
		}
		if v := h.last("provider:nsso").Header["On-Behalf-Of-Enterprise-Number"]; !slices.Equal(v, []string{mandated}) {
			t.Errorf("upstream saw %q", v)
		}
	}
	h.get("/enterprises/own"+nsso+"/ebox").want(t, 200)
	if v, there := h.last("provider:nsso").Header["On-Behalf-Of-Enterprise-Number"]; there {
		t.Errorf("for the office's own e-Box upstream saw %q", v)
	}
}

func TestNumbersThatAreRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get("/enterprises/0800002352"+nsso+"/ebox").want(t, 403).problem(t)
	for _, fields := range [][]string{ // none, which is not the office's own e-Box, and a header with its alias
		nil, {"On-Behalf-Of-Enterprise-Number: 0206731645", "On_Behalf_Of_Enterprise_Number: 0212148896"},
	} {
		p := h.get(nsso+"/ebox", fields...).want(t, 400).problem(t)
		if p["type"] != "urn:problem-type:belgif:badRequest" || p["issues"] == nil {
			t.Errorf("%v", p)
		}
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
}

// Many callers at once, each for an enterprise of its own: nobody may ever see the
// other's messages, and every link must lead back to the same enterprise.
func TestNoAnswerReachesAnotherEnterprise(t *testing.T) {
	t.Parallel()
	h := open(t)
	var wg sync.WaitGroup
	for i := range 60 { // each way to say for whom, with each provider
		mine, other := mandated, another
		if i%2 == 1 {
			mine, other = another, mandated
		}
		provider := nsso
		if i%3 == 0 {
			provider = regional
		}
		wg.Go(func() {
			path, field := "/enterprises/"+mine+provider+"/ebox/messages?pageSize=10", "Accept: application/json"
			switch {
			case i%5 == 0:
				path = "/enterprises/" + mine + "/ebox/messages?pageSize=10"
			case i%4 < 2:
				path, field = provider+"/ebox/messages?pageSize=10", "On-Behalf-Of-Enterprise-Number: "+mine
			}
			got := h.get(path, field)
			if got.status != 200 || !strings.Contains(got.body, mine) || strings.Contains(got.body, other) {
				t.Errorf("%s for %s: %d %s", path, mine, got.status, got.body)
			}
		})
	}
	wg.Wait()
}

var office = demo.Office.String()

// limited is a caller at 127.0.0.2 that may represent mandated alone; 127.0.0.3 may do
// all, the office's own e-Box included.
const limited = `callers:
  - {name: a, networks: [127.0.0.2/32], enterprises: ["` + mandated + `"], may: [list, change, publish]}
  - {name: all, networks: [127.0.0.3/32], own: true}
  - {name: rest, networks: [127.0.0.0/8]}
`

func searching(numbers ...string) string {
	return `{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":["` +
		strings.Join(numbers, `", "`) + `"]}`
}

func preferences(number string) string {
	return `{"eboxId":{"eboxType":"ENTERPRISE","eboxIdValue":"` + number + `"},"exclusivelyEbox":true}`
}

// The other ways to name an enterprise are in package tenancy.
func TestACallerAsksAboutItsOwnEnterprisesAlone(t *testing.T) {
	t.Parallel()
	h := open(t, add(limited))
	const limitedOne, anyOne, accept = "127.0.0.2", "127.0.0.3", "Accept: */*"
	const search, changes = "/ebox/federation/eboxPreferences/search", "/ebox/federation/eboxPreferences"
	forA, forB := "/enterprises/"+mandated, "/enterprises/"+another
	h.sim.ResetRequests()
	for _, c := range []struct {
		name, from, method, path, body, media string
		status                                int
	}{
		{"the office's own, by a rule for all enterprises", "127.0.0.4", "POST", forA + search, searching(office), asJSON,
			403},
		{"endless", anyOne, "POST", forA + search, `"` + strings.Repeat("x", 5<<20) + `"`, asJSON, 413},
		{"another's preferences changed", limitedOne, "PATCH", forA + changes, preferences(another), mergePatch, 403},
		{"another marked in all providers' list", limitedOne, "PATCH", inboxPath,
			`{"items":[{"providerId":"nsso","messageId":"1","eboxId":"` + another + `"}]}`, mergePatch, 403},
		{"another's partitions", limitedOne, "GET", "/ebox/partition/ebox/" + another + "/routingRules", "", accept, 403},
		{"another's partitions than the path's", anyOne, "GET", forA + "/ebox/partition/ebox/" + another, "", accept, 400},
	} {
		if got := h.sendAs(c.from, c.method, c.path, c.body, c.media); got.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, got.status, c.status, got.body)
		}
	}
	for _, upstream := range []string{simulator.UpstreamFederation, simulator.UpstreamPartition, "provider:nsso"} {
		if n := h.sim.RequestCount(upstream); n != 0 {
			t.Errorf("%s saw %d requests", upstream, n)
		}
	}

	// Whoever asks for what is theirs gets it, and the body goes out unchanged.
	body := " " + searching(mandated) + "\n"
	h.sendAs(limitedOne, "POST", forA+search, body, asJSON).want(t, 200)
	if sent := h.last(simulator.UpstreamFederation); sent.BodySHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(body))) {
		t.Errorf("upstream got another body of %d bytes", sent.BodyBytes)
	}
	h.sendAs(anyOne, "POST", forB+search, searching(mandated, another, office), asJSON).want(t, 200)
	h.sendAs(limitedOne, "PATCH", forA+changes, preferences(mandated), mergePatch).want(t, 200)
	if got := h.sendAs(anyOne, "PATCH", "/enterprises/own"+changes, preferences(office), mergePatch); strings.Contains(
		got.header.Get("Proxy-Status"), "http_request_denied") {
		t.Errorf("the office's own preferences: %d %s", got.status, got.body)
	}
}

func TestTheNumberInThePartitionPathStandsForPathAndHeader(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "4h", add(limited))
	h.sendAs("127.0.0.2", "GET", "/ebox/partition/ebox/"+mandated+"/routingRules", "").want(t, 200)
	if v := h.last(simulator.UpstreamPartition).Header["On-Behalf-Of-Enterprise-Number"]; !slices.Equal(v,
		[]string{mandated}) {
		t.Errorf("upstream saw %q", v)
	}
	h.sendAs("127.0.0.2", "GET", "/ebox/partition/ebox/"+mandated+
		"/hasMandate?operation=publish&mandataryEnterpriseNumber="+mandated, "").want(t, 200)
	h.sendAs("127.0.0.3", "POST", "/enterprises/"+mandated+"/ebox/federation/eboxPreferences/search",
		searching(another, mandated), asJSON).want(t, 200)
	all := h.evidence(dir)
	if len(all) != 3 {
		t.Fatalf("%d records", len(all))
	}
	// Whoever asks who looked for an enterprise finds the call that only named it.
	for number, want := range map[string]int{mandated: 3, another: 1, office: 0} {
		if found := inChain(t, dir, audit.Query{Enterprise: number}); len(found) != want {
			t.Errorf("of %s there are %d: %+v", number, len(found), found)
		}
	}
	for i, named := range [][]string{{mandated}, {mandated}, {another, mandated}} {
		if all[i].Enterprise != mandated || !slices.Equal(all[i].Named, named) {
			t.Errorf("record %d: for %s, names %q", i, all[i].Enterprise, all[i].Named)
		}
	}
}
