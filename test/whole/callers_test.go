package whole_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// as makes a request from an address.
func (h *house) as(from, method, path string, fields ...string) answer {
	h.t.Helper()
	c := h.dial(from)
	defer c.conn.Close()
	c.write(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n")
	for _, f := range fields {
		c.write(f + "\r\n")
	}
	c.write("\r\n")
	return c.read(method)
}

// callerOf is the caller that the access log names for an answer.
func (h *house) callerOf(a answer) string {
	h.t.Helper()
	id := a.header.Get("X-Request-Id")
	var line string
	eventually(h.t, "the access line of "+id, func() bool {
		for l := range strings.Lines(h.access.String()) {
			if strings.Contains(l, id) {
				line = l
			}
		}
		return line != ""
	})
	_, rest, found := strings.Cut(line, `"caller":"`)
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

const box = "/enterprises/" + mandated + nsso + "/ebox"

func TestTheMostSpecificRuleRecognisesTheCaller(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {trustedProxies: [127.0.0.9], listen:"), add(`
callers:
  - {name: loopback, networks: [127.0.0.0/16]}
  - {name: subnet, networks: [127.0.0.16/28]}
  - {name: host, networks: [127.0.0.17]}
  - {name: elsewhere, networks: [10.1.0.0/16, "2001:db8::/32"]}
  - {name: mapped, networks: ["::ffff:127.0.3.0/120"]}
`))
	for _, c := range []struct{ name, from, forwarded, caller string }{
		{"the widest", "127.0.0.1", "", "loopback"},
		{"a narrower one", "127.0.0.18", "", "subnet"},
		{"the narrowest", "127.0.0.17", "", "host"},
		{"none", "127.1.0.1", "", ""},
		{"v4-mapped network", "127.0.3.7", "", "mapped"},
		{"X-Forwarded-For from nobody we trust", "127.0.0.1", "127.0.0.17", "loopback"},
		{"X-Forwarded-For from a trusted proxy", "127.0.0.9", "10.1.2.3", "elsewhere"},
		{"of IPv6", "127.0.0.9", "2001:db8::1", "elsewhere"},
		{"invented on the left", "127.0.0.9", "10.1.2.3, 127.0.0.17", "host"},
		{"behind two trusted ones", "127.0.0.9", "127.0.0.18, 127.0.0.9", "subnet"},
		{"that nobody has a rule for", "127.0.0.9", "192.0.2.1", ""},
		{"trusted proxy without the field", "127.0.0.9", "", "loopback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fields []string
			if c.forwarded != "" {
				fields = append(fields, "X-Forwarded-For: "+c.forwarded)
			}
			status := 200
			if c.caller == "" {
				status = 403
			}
			got := h.as(c.from, "GET", box, fields...).want(t, status)
			if status == 403 && got.problem(t)["type"] != "urn:problem-type:belgif:missingPermission" {
				t.Errorf("%s", got.body)
			}
			if name := h.callerOf(got); name != c.caller {
				t.Errorf("taken for %q", name)
			}
		})
	}
	h.as("127.1.0.1", "GET", "/ebox/providers").want(t, 403)
	// What cannot be read as an address must not fall back to a wider rule's rights.
	if got := h.as("127.0.0.9", "GET", box, "X-Forwarded-For: unknown"); got.status != 403 &&
		h.callerOf(got) != "loopback" {
		t.Errorf("%d, taken for %q", got.status, h.callerOf(got))
	}
}

func TestWhatACallerMay(t *testing.T) {
	h := open(t, add(`
callers:
  - {name: everything, networks: [127.0.0.1], own: true}
  - {name: lists, networks: [127.0.0.2], may: [list]}
  - {name: opens, networks: [127.0.0.3], may: [list, open]}
  - {name: changes, networks: [127.0.0.4], may: [change]}
  - {name: one, networks: [127.0.0.5], enterprises: ["`+mandated+`"], defaultEnterprise: "`+mandated+`"}
  - {name: mandates, networks: [127.0.0.6], routes: [grant-citizen]}
  - {name: registry, networks: [127.0.0.7], routes: [ebox-registry]}
  - {name: ebox, networks: [127.0.0.8], routes: [ebox]}
`))
	const content = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
	for _, c := range []struct {
		name, from, method, path string
		status                   int
	}{
		{"list", "127.0.0.2", "GET", box + "/messages", 200},
		{"open", "127.0.0.3", "GET", content, 200},
		{"open with HEAD", "127.0.0.3", "HEAD", content, 200},
		{"open without being allowed", "127.0.0.2", "GET", content, 403},
		{"HEAD counts as opening", "127.0.0.2", "HEAD", content, 403},
		{"spelt in capitals", "127.0.0.2", "GET", strings.Replace(content, "content", "CONTENT", 1), 403},
		{"spelt with an escape", "127.0.0.2", "GET", strings.Replace(content, "content", "c%6Fntent", 1), 403},
		{"with a slash behind", "127.0.0.2", "GET", content + "/", 403},
		{"with two slashes", "127.0.0.2", "GET", strings.Replace(content, "/attachments", "//attachments", 1), 403},
		{"with a matrix parameter", "127.0.0.2", "GET", content + ";v=1", 403},
		{"with a suffix", "127.0.0.2", "GET", content + ".pdf", 403},
		{"a body", "127.0.0.2", "GET", box + "/messages/" + simulator.BodyMessage + "/body", 403},
		{"change without being allowed", "127.0.0.3", "PATCH", box + "/messages", 403},
		{"list without being allowed", "127.0.0.4", "GET", box + "/messages", 403},
		{"reply without being allowed", "127.0.0.4", "POST", box + "/messages/" + simulator.FirstMessage + "/replies", 403},
		{"publish without being allowed", "127.0.0.4", "POST", box + "/messages", 403},
		{"mandates without being allowed", "127.0.0.4", "GET", grant + "/mandates?representedEnterpriseNumber=" + mandated,
			403},
		{"default enterprise", "127.0.0.5", "GET", nsso + "/ebox", 200},
		{"an enterprise of others", "127.0.0.5", "GET", "/enterprises/" + another + nsso + "/ebox", 403},
		{"own", "127.0.0.1", "GET", "/enterprises/own" + nsso + "/ebox", 200},
		{"own without being allowed", "127.0.0.5", "GET", "/enterprises/own" + nsso + "/ebox", 403},
		{"no number, no default", "127.0.0.2", "GET", nsso + "/ebox", 400},
		{"a route of its own", "127.0.0.6", "GET", grant + "/mandates?representedEnterpriseNumber=" + mandated, 200},
		{"a route of others", "127.0.0.6", "GET", box, 403},
		{"the list of providers without a route of e-Box", "127.0.0.6", "GET", "/ebox/providers", 403},
		{"one route of a group", "127.0.0.7", "GET", "/ebox/registry/messageRegistries", 200},
		{"the others of the group", "127.0.0.7", "GET", box, 403},
		{"a whole group", "127.0.0.8", "GET", "/ebox/registry/messageRegistries", 200},
		{"outside the group", "127.0.0.8", "GET", grant + "/mandates?representedEnterpriseNumber=" + mandated, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			h.as(c.from, c.method, c.path).want(t, c.status)
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

func TestCallersByListenerAndCertificate(t *testing.T) {
	serverCert, serverKey := certificate(t, "server")
	payroll, payrollKey := certificate(t, "payroll")
	other, otherKey := certificate(t, "other")
	stranger, strangerKey := certificate(t, "payroll") // the right name from an authority we do not know
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	var known []byte
	for _, file := range []string{payroll, other} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, text...)
	}
	if err := os.WriteFile(authorities, known, 0o600); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(known)
	fingerprint := sha256.Sum256(block.Bytes)
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, "server: {listen: [{address: '127.0.0.1:0', name: plain}, "+
		"{address: '127.0.0.1:0', name: tls, tls: {certFile: "+
		serverCert+", keyFile: "+serverKey+", clientCaFile: "+authorities+", clientAuth: request}}]"), add(`
callers:
  - {name: by-network, networks: [127.0.0.0/8]}
  - {name: by-plain-listener, networks: [127.0.0.1], listeners: [plain]}
  - {name: by-fingerprint, clientCertificates: [{fingerprint: "`+hex.EncodeToString(fingerprint[:])+`"}]}
  - {name: by-name, clientCertificates: [{commonName: other}]}
`))
	if got := h.get(box); h.callerOf(got) != "by-plain-listener" {
		t.Errorf("by listener: taken for %q", h.callerOf(got))
	}
	for _, c := range []struct{ name, cert, key, caller string }{
		{"no certificate", "", "", "by-network"},
		{"by fingerprint", payroll, payrollKey, "by-fingerprint"},
		{"by common name", other, otherKey, "by-name"},
		{"of an unknown authority", stranger, strangerKey, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &tls.Config{InsecureSkipVerify: true}
			if c.cert != "" {
				pair, err := tls.LoadX509KeyPair(c.cert, c.key)
				if err != nil {
					t.Fatal(err)
				}
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			transport := &http.Transport{TLSClientConfig: cfg}
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get("https://" + h.gw.Addrs()[1].String() + box)
			if err != nil {
				if c.caller != "refused" {
					t.Fatal(err)
				}
				return
			}
			defer resp.Body.Close()
			if name := h.callerOf(answer{resp.StatusCode, resp.Header, ""}); name != c.caller {
				t.Errorf("taken for %q", name)
			}
		})
	}
}

// brussels gives the day, some days from now, as people there count it.
func brussels(t *testing.T, days int) string {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Brussels")
	if err != nil {
		t.Fatal(err)
	}
	return time.Now().In(zone).AddDate(0, 0, days).Format(time.DateOnly)
}

func TestEnterprisesThatAreNotServedNow(t *testing.T) {
	stop := filepath.Join(t.TempDir(), "stop.txt")
	if err := os.WriteFile(stop, []byte("# by order of the office\n0212.148.896\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const row = "{number: 0206.731.645"
	for _, c := range []struct {
		name, row string
		status    int
	}{
		{"suspended", row + ", suspended: true", 403},
		{"until yesterday", row + ", until: " + brussels(t, -1), 403},
		{"until today, which counts", row + ", until: " + brussels(t, 0), 200},
		{"from today, which counts", row + ", from: " + brussels(t, 0), 200},
		{"from tomorrow", row + ", from: " + brussels(t, 1), 403},
		{"for other routes", row + ", routes: [grant-citizen]", 403},
		{"for this route", row + ", routes: [ebox]", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, edit(row, c.row), edit("tenancy:\n", "tenancy:\n  suspendedFiles: ["+stop+"]\n"))
			h.get(box).want(t, c.status)
			h.get("/enterprises/"+another+nsso+"/ebox").want(t, 403) // the file's word goes before all others
			if n := h.sim.RequestCount("provider:nsso"); (n == 1) != (c.status == 200) {
				t.Errorf("upstream saw %d requests", n)
			}
		})
	}
}

func TestModeAnyServesEveryValidNumber(t *testing.T) {
	stop := filepath.Join(t.TempDir(), "stop.txt")
	if err := os.WriteFile(stop, []byte(another+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, edit("tenancy:\n", "tenancy:\n  mode: any\n  suspendedFiles: ["+stop+"]\n"))
	refused := h.get("/enterprises/"+unlisted+nsso+"/ebox").want(t, 403)
	if r := h.last("provider:nsso"); r.Enterprise != unlisted ||
		strings.Contains(refused.header.Get("Proxy-Status"), "error=") {
		t.Errorf("not upstream's refusal: %v %s", refused.header, refused.body)
	}
	h.get("/enterprises/0800002353"+nsso+"/ebox").want(t, 400).problem(t)
	h.get("/enterprises/"+another+nsso+"/ebox").want(t, 403).problem(t)
	h.get(nsso+"/ebox").want(t, 400).problem(t)
	if n := h.sim.RequestCount("provider:nsso"); n != 1 {
		t.Errorf("upstream saw %d requests", n)
	}
}

// secondClient makes another registered client with a key of its own, as a file
// beside the configuration.
func secondClient(t *testing.T) (simulator.Client, string) {
	t.Helper()
	identity, err := simulator.SelfSigned("Second office", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p12, err := identity.PKCS12("second")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "second.p12")
	if err := os.WriteFile(file, p12, 0o600); err != nil {
		t.Fatal(err)
	}
	return simulator.Client{ID: "second-office", Certificate: identity.Certificate, Enterprise: client.Enterprise}, file
}

func TestAnEnterpriseWithAClientOfItsOwn(t *testing.T) {
	second, file := secondClient(t)
	// Both are registered before the gateway starts, which asks a token for each and
	// leaves a client that is refused alone for a while.
	sim := startSimulator(t, simulator.Options{Clients: []simulator.Client{client, second}})
	h := buildBefore(t, sim, clientDir, nil,
		edit("    demo: {", "    second: {clientId: second-office, keystore: {file: "+file+
			", password: second}}\n    demo: {"),
		edit("tenancy:\n", "tenancy:\n  defaultClient: demo\n"),
		edit("{number: 0212.148.896", "{number: 0212.148.896, client: second"))
	h.waitForProviders()
	for number, id := range map[string]string{mandated: client.ID, another: second.ID} {
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
	// One that is refused must not take the other with it.
	h.sim.UnregisterClient(second.ID)
	h.get("/enterprises/"+another+nsso+"/ebox").want(t, 401) // upstream's own, which the renewal it led to could not mend
	h.get("/enterprises/"+another+nsso+"/ebox").want(t, 502).problem(t)
	h.get(box).want(t, 200)
}

// The paths that need a provider name those there are, which is for callers to know.
func TestWhoIsNoCallerLearnsNothingFromPathsWithoutARoute(t *testing.T) {
	h := open(t, add("callers:\n  - {name: known, networks: [127.0.0.1]}\n"))
	for path, status := range map[string]int{
		"/ebox": 400, "/ebox/messages": 400, "/ebox/messages/1": 404, "/enterprises/" + mandated + "/ebox": 200,
		"/enterprises/" + mandated + "/ebox/messages/1": 404, "/nothing": 404,
	} {
		h.as("127.0.0.1", "GET", path).want(t, status)
		if got := h.as("127.0.0.2", "GET", path).want(t, 403); strings.Contains(got.body, "nsso") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}
