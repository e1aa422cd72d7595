package whole_test

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// Every test of this package starts a whole gateway from the text of a
// configuration, on sockets of its own, before a simulator of its own.

func TestMain(m *testing.M) { testkit.Main(m) }

// house is a gateway with everything around it.
type house struct {
	*lab.Running
	t   *testing.T
	sim *simulator.Simulator
	dir string // of the configuration's files
	log *testkit.Log
	// access holds the access lines.
	access *testkit.Log
	// disk is where the evidence is written.
	disk disk
}

// edit changes the text of the configuration: replace old by new, which must be there.
func edit(old, new string) func(*testing.T, string) string {
	return func(t *testing.T, text string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the configuration does not hold %q:\n%s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
}

// add appends lines to the configuration.
func add(lines string) func(*testing.T, string) string {
	return func(_ *testing.T, text string) string { return text + lines }
}

// open starts a house, with edits of the demo's configuration.
func open(t *testing.T, edits ...func(*testing.T, string) string) *house {
	t.Helper()
	h := build(t, edits...)
	h.AwaitProviders()
	return h
}

// build is open without waiting for the list of providers.
func build(t *testing.T, edits ...func(*testing.T, string) string) *house {
	t.Helper()
	return before(t, lab.Simulator(t, simulator.Options{}), edits...)
}

// before is build before a simulator that is there, as that of another replica.
func before(t *testing.T, sim *simulator.Simulator, edits ...func(*testing.T, string) string) *house {
	t.Helper()
	return buildIn(t, sim, lab.Dir(t), nil, edits...)
}

// buildIn is before with the files of a directory, and a way to read the configuration unless it is nil.
func buildIn(t *testing.T, sim *simulator.Simulator, dir string, load func() (*config.Config, error),
	edits ...func(*testing.T, string) string) *house {
	t.Helper()
	text := lab.Config(t, sim)
	for _, e := range edits {
		text = e(t, text)
	}
	if load == nil {
		load = func() (*config.Config, error) { return lab.Read(text, dir) }
	}
	cfg, err := load()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	h := &house{t: t, sim: sim, dir: dir, log: new(testkit.Log), access: new(testkit.Log)}
	h.Running = lab.Run(t, cfg, gateway.Options{
		Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test", Load: load,
		OpenFile: h.disk.open,
		Done:     telemetry.NewAccessLog(h.access, "json", slog.LevelInfo).Done,
	})
	return h
}

const patience = testkit.Patience

var eventually = testkit.Eventually

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes one request. fields are header lines, "Name: value".
func (h *house) send(method, path string, body io.Reader, fields ...string) answer {
	h.t.Helper()
	return h.ask(method, h.Base+path, body, fields...)
}

func (h *house) ask(method, url string, body io.Reader, fields ...string) answer {
	h.t.Helper()
	resp, text := h.Ask(method, url, body, fields...)
	return answer{resp.StatusCode, resp.Header, text}
}

func (h *house) get(path string, fields ...string) answer {
	h.t.Helper()
	return h.send("GET", path, nil, fields...)
}

// operate asks the admin listener.
func (h *house) operate(method, path string, fields ...string) answer {
	h.t.Helper()
	return h.ask(method, h.Admin+path, nil, fields...)
}

// status is what the admin listener shows.
func (h *house) status() (s status.Status) {
	h.t.Helper()
	testkit.Must(h.t, json.Unmarshal([]byte(h.operate("GET", "/status").want(h.t, 200).body), &s))
	return s
}

// fault lays a fault, which must be one.
func (h *house) fault(f simulator.Fault) int {
	h.t.Helper()
	return lab.Fault(h.t, h.sim, f)
}

// problem reads the answer as a problem document.
func (a answer) problem(t *testing.T) map[string]any {
	t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("status %d, %s instead of a problem: %s", a.status, ct, a.body)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return doc
}

// want checks the status, and shows the answer if it is another.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %v %s", a.status, status, a.header, a.body)
	}
	return a
}

// last is the request that an upstream received last.
func (h *house) last(upstream string) simulator.Recorded {
	h.t.Helper()
	all := h.sim.RequestsTo(upstream)
	if len(all) == 0 {
		h.t.Fatalf("%s received nothing", upstream)
	}
	return all[len(all)-1]
}

// certificate makes a key and a self-signed certificate, for 127.0.0.1 and the names of
// hosts, as files.
func certificate(t *testing.T, name string, hosts ...string) (certFile, keyFile string) {
	t.Helper()
	return testkit.NewCertificate(t, func(c *x509.Certificate) {
		c.Subject.CommonName = name
		c.DNSNames = hosts
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}).Files(t, t.TempDir())
}

// frozen is a fault of the provider behind a path prefix.
func frozen(prefix string) simulator.Fault {
	return simulator.Fault{Upstream: upstreamOf(prefix), Kind: simulator.FaultFreeze}
}

func upstreamOf(prefix string) string {
	return simulator.ProviderUpstream(prefix[strings.LastIndexByte(prefix, '/')+1:])
}
