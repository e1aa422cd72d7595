// Package browser_test looks at the page of the admin listener in a real browser. It is a
// module of its own because the browser's driver is no part of the product.
package browser_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/simulator"
)

const (
	mandated = "0206731645" // has a mandate in the simulator
	nsso     = "/ebox/providers/nsso"
	box      = "/enterprises/" + mandated + nsso + "/ebox"

	adminToken = "a-token-of-the-platform-team-0123456789"
)

// instance is a gateway before a simulator, both in this process and on sockets of their own.
type instance struct {
	t          *testing.T
	sim        *simulator.Simulator
	client     simulator.Client            // which the simulator knows
	base       string                      // of the callers' listener
	admin      string                      // of the admin listener
	replace    func(edits ...string) error // reloads, with edits
	shutdown   func() error
	disconnect func() // cuts what still runs, as a second signal does
}

// start runs the demo's configuration, in which edits, pairs of old and new text, are made.
func start(t *testing.T, edits ...string) *instance {
	t.Helper()
	dir := t.TempDir()
	client, err := demo.NewClient(dir)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.Start(simulator.Options{Listen: "127.0.0.1:0", ListenRegional: "127.0.0.1:0",
		Clients: []simulator.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "admin.token"), []byte(adminToken), 0o600); err != nil {
		t.Fatal(err)
	}
	configuration := func(more ...string) *config.Config {
		text := strings.NewReplacer(slices.Concat(edits, more, []string{"admin: {", "admin: {tokenFile: admin.token, ",
			"oauth:\n", "oauth:\n  timeout: 2m\n"})...).
			Replace(demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0"))
		cfg, err := config.Parse("test.yaml", []byte(text), dir, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	gw, err := gateway.New(configuration(), gateway.Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cut, disconnect := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx, cut) }()
	g := &instance{
		t: t, sim: sim, client: client,
		base: "http://" + gw.Addrs()[0].String(), admin: "http://" + gw.AdminAddrs()[0].String(),
		replace:  func(edits ...string) error { return gw.Replace(configuration(edits...), "") },
		shutdown: sync.OnceValue(func() error { stop(); return <-ended }), disconnect: disconnect,
	}
	t.Cleanup(func() {
		disconnect()
		_ = g.shutdown() // cut on purpose, so it says that connections were left
	})
	eventually(t, "the list of Document Providers", func() bool {
		return strings.Contains(g.get("/ebox/providers").body, `"nsso"`)
	})
	return g
}

// patience bounds every wait: a machine that does much else may take long.
const patience = 3 * time.Minute

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// want checks the status, and shows the answer if it is another.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// get calls the gateway. fields are header lines, "Name: value".
func (g *instance) get(path string, fields ...string) answer {
	g.t.Helper()
	return g.send("GET", g.base+path, fields...)
}

// operate asks the admin listener for a change.
func (g *instance) operate(path string) answer {
	g.t.Helper()
	return g.send("POST", g.admin+path)
}

func (g *instance) send(method, url string, fields ...string) answer {
	g.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatalf("%s %s: reading the answer: %v", method, url, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// fault adds a fault to the simulator.
func (g *instance) fault(f simulator.Fault) {
	g.t.Helper()
	if _, err := g.sim.Fault(f); err != nil {
		g.t.Fatal(err)
	}
}
