package whole_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
)

// Every test of this package starts a whole gateway from the text of a
// configuration, on sockets of its own, before a simulator of its own.

// client is made once: keys are slow to make.
var client simulator.Client

var clientDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gateway-test-")
	if err == nil {
		client, err = demo.NewClient(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clientDir = dir
	code := testkit.Run(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// house is a gateway with everything around it.
type house struct {
	t    *testing.T
	sim  *simulator.Simulator
	gw   *gateway.Gateway
	base string // of the internal endpoint
	adm  string // of the admin listener
	log  *lockedBuffer
	// access holds the access lines.
	access *lockedBuffer
	// disk is where the evidence is written.
	disk disk
	http *http.Client
	stop func() error
	// cut is the second signal; stopped says that the test looked at the end itself.
	cut     func()
	stopped bool
}

// lockedBuffer is a log that a test can read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startSimulator(t *testing.T, o simulator.Options) *simulator.Simulator {
	t.Helper()
	o.Listen, o.ListenRegional = "127.0.0.1:0", "127.0.0.1:0"
	if o.Clients == nil {
		o.Clients = []simulator.Client{client}
	}
	sim, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
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
	h.waitForProviders()
	return h
}

// build is open without waiting for the list of providers.
func build(t *testing.T, edits ...func(*testing.T, string) string) *house {
	t.Helper()
	return buildBefore(t, startSimulator(t, simulator.Options{}), clientDir, nil, edits...)
}

// buildBefore is build before a simulator that is there, as that of another replica, with the files of
// another directory, and a way to read the configuration anew.
func buildBefore(t *testing.T, sim *simulator.Simulator, dir string, load func() (*config.Config, error),
	edits ...func(*testing.T, string) string) *house {
	t.Helper()
	text := demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0")
	for _, e := range edits {
		text = e(t, text)
	}
	if load == nil {
		load = func() (*config.Config, error) { return parse(text, dir) }
	}
	cfg, err := load()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	h := &house{t: t, sim: sim, log: new(lockedBuffer), access: new(lockedBuffer)}
	access := telemetry.NewAccessLog(h.access, "json", slog.LevelInfo)
	h.gw, err = gateway.New(cfg, gateway.Options{
		Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test", Load: load,
		OpenFile: h.disk.open,
		Done:     access.Done,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.gw.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cut, cancelCut := context.WithCancel(context.Background())
	t.Cleanup(cancelCut)
	h.cut = cancelCut
	ended := make(chan error, 1)
	go func() { ended <- h.gw.Run(ctx, cut) }()
	h.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	h.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := h.stop(); err != nil && !h.stopped {
			t.Errorf("the gateway did not stop well: %v", err)
		}
	})
	h.base, h.adm = "http://"+h.gw.Addrs()[0].String(), "http://"+h.gw.AdminAddrs()[0].String()
	return h
}

// parse reads the text of a configuration, whose files are in dir.
func parse(text, dir string) (*config.Config, error) {
	cfg, err := config.Parse("test.yaml", []byte(text), dir, func(string) (string, bool) { return "", false })
	if err == nil {
		patient(cfg)
	}
	return cfg, err
}

// patient lengthens every time-out that the configuration has by default, or from the demo: a machine that does much
// else, or stands still for a while, may take longer than they allow. Those that a test sets are what it judges.
func patient(cfg *config.Config) {
	lengthen := func(d *time.Duration, from time.Duration) {
		if *d == from {
			*d = patience
		}
	}
	limits := &cfg.Server.Limits
	lengthen(&limits.ReadHeaderTimeout, 10*time.Second)
	lengthen(&limits.BodyIdleTimeout, time.Minute)
	limits.MinBodyRate = 0
	lengthen(&cfg.Server.Drain.Timeout, 5*time.Second)
	lengthen(&cfg.OAuth.Timeout, 10*time.Second)
	lengthen(&cfg.Inbox.Timeout, 10*time.Second)
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		lengthen(&r.Timeouts.Connect, 3*time.Second)
		lengthen(&r.Timeouts.Header, 30*time.Second)
		lengthen(&r.Concurrency.Wait, time.Second)
	}
}

// waitForProviders waits for the first list of the registry.
func (h *house) waitForProviders() {
	h.t.Helper()
	eventually(h.t, "the list of Document Providers", func() bool {
		return strings.Contains(h.get("/ebox/providers").body, `"nsso"`)
	})
}

// patience bounds every wait of these tests; none is expected to need it, on a machine that does much else either.
const patience = 2 * time.Minute

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	// A condition costs a call or two: what takes seconds is asked for less and less often.
	for pause := 2 * time.Millisecond; !holds(); pause = min(pause*3/2, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(pause)
	}
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes one request. fields are header lines, "Name: value".
func (h *house) send(method, path string, body io.Reader, fields ...string) answer {
	h.t.Helper()
	return h.ask(method, h.base+path, body, fields...)
}

func (h *house) ask(method, url string, body io.Reader, fields ...string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: reading the answer: %v", method, url, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (h *house) get(path string, fields ...string) answer {
	h.t.Helper()
	return h.send("GET", path, nil, fields...)
}

// operate asks the admin listener.
func (h *house) operate(method, path string, fields ...string) answer {
	h.t.Helper()
	return h.ask(method, h.adm+path, nil, fields...)
}

// status is what the admin listener shows.
func (h *house) status() (s status.Status) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.operate("GET", "/status").want(h.t, 200).body), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// fault lays a fault, which must be one.
func (h *house) fault(f simulator.Fault) int {
	h.t.Helper()
	id, err := h.sim.Fault(f)
	if err != nil {
		h.t.Fatal(err)
	}
	return id
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
