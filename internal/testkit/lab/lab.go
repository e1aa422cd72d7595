// Package lab puts a whole gateway before a simulator, both in the test's process and on sockets of their own.
package lab

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// office makes the demo's client and its key store once in a process: keys are slow to make.
var office = sync.OnceValue(func() (made struct {
	client   simulator.Client
	keystore []byte
	err      error
}) {
	dir, err := os.MkdirTemp("", "lab-")
	if err == nil {
		made.client, err = demo.NewClient(dir)
	}
	if err == nil {
		made.keystore, err = os.ReadFile(filepath.Join(dir, "client.p12"))
	}
	made.err = errors.Join(err, os.RemoveAll(dir))
	return made
})

// Client is the client of the demo's configuration.
func Client(t testing.TB) simulator.Client {
	t.Helper()
	testkit.Must(t, office().err)
	return office().client
}

// Dir makes a directory of the test's own that holds the key store of that client.
func Dir(t testing.TB) string {
	t.Helper()
	testkit.Must(t, office().err)
	dir := t.TempDir()
	testkit.Write(t, filepath.Join(dir, "client.p12"), office().keystore)
	return dir
}

// Simulator starts a simulator that knows that client, unless o names others. It ends with the test.
func Simulator(t testing.TB, o simulator.Options) *simulator.Simulator {
	t.Helper()
	o.Listen, o.ListenRegional = "127.0.0.1:0", "127.0.0.1:0"
	if o.Clients == nil {
		o.Clients = []simulator.Client{Client(t)}
	}
	sim, err := simulator.Start(o)
	testkit.Must(t, err)
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// Fault lays a fault, which must be one, and gives its number.
func Fault(t testing.TB, sim *simulator.Simulator, f simulator.Fault) int {
	t.Helper()
	id, err := sim.Fault(f)
	testkit.Must(t, err)
	return id
}

// Config is the demo's configuration before a simulator. In its text each old of pairs, which must be there, is
// replaced once by the new that follows it.
func Config(t testing.TB, sim *simulator.Simulator, pairs ...string) string {
	t.Helper()
	text := demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0")
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the configuration does not hold %q:\n%s", pair[0], text)
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return text
}

// Read reads a configuration whose files are in dir.
func Read(text, dir string) (*config.Config, error) {
	cfg, err := config.Parse("test.yaml", []byte(text), dir, func(string) (string, bool) { return "", false })
	if err == nil {
		Patient(cfg)
	}
	return cfg, err
}

// Patient lengthens every time-out that the configuration has by default, or from the demo: a machine that does much
// else, or stands still for a while, may take longer than they allow. Those that a test sets are what it judges.
func Patient(cfg *config.Config) {
	lengthen := func(d *time.Duration, from time.Duration) {
		if *d == from {
			*d = testkit.Patience
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

// New makes a gateway, and starts nothing, of a configuration whose files are in dir.
func New(t testing.TB, text, dir string) (*config.Config, *gateway.Gateway) {
	t.Helper()
	cfg, err := Read(text, dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	gw, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)})
	testkit.Must(t, err)
	return cfg, gw
}

// Running is a gateway that runs until the test ends.
type Running struct {
	*gateway.Gateway
	Base  string // the URL of the callers' first listener
	Admin string // that of the admin listener
	// Stop ends it as the first signal does, and gives how it ended. One that no test has stopped must end well.
	Stop func() error
	// Cut is the second signal.
	Cut func()
	// HTTP follows no redirect and undoes no coding.
	HTTP *http.Client

	t testing.TB
}

// Run runs a gateway.
func Run(t testing.TB, cfg *config.Config, o gateway.Options) *Running {
	t.Helper()
	gw, err := gateway.New(cfg, o)
	testkit.Must(t, err)
	testkit.Must(t, gw.Start())
	ctx, stop := context.WithCancel(context.Background())
	uncut, cut := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx, uncut) }()
	end := sync.OnceValue(func() error { stop(); return <-ended })
	var byTest atomic.Bool
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := end(); err != nil && !byTest.Load() {
			t.Errorf("the gateway did not stop well: %v", err)
		}
		cut()
	})
	return &Running{
		Gateway: gw, t: t,
		Base: "http://" + gw.Addrs()[0].String(), Admin: "http://" + gw.AdminAddrs()[0].String(),
		Stop: func() error { byTest.Store(true); return end() }, Cut: cut,
		HTTP: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
}

// CutAtTheEnd has the gateway not wait for what still runs when the test ends.
func (r *Running) CutAtTheEnd() {
	r.t.Cleanup(func() {
		r.Cut()
		_ = r.Stop() // it says that connections were left
	})
}

// AwaitProviders waits for the first list of the registry.
func (r *Running) AwaitProviders() {
	r.t.Helper()
	testkit.Eventually(r.t, "the list of Document Providers", func() bool {
		return !status.Of(r.View()).Directory.LastSuccess.IsZero()
	})
}

// Ask makes one request, which must be answered, and reads the answer to its end. fields are header lines,
// "Name: value", whose names are sent as they are written.
func (r *Running) Ask(method, url string, body io.Reader, fields ...string) (answer *http.Response, text string) {
	r.t.Helper()
	req, err := http.NewRequest(method, url, body)
	testkit.Must(r.t, err)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	answer, err = r.HTTP.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatalf("%s %s: reading the answer: %v", method, url, err)
	}
	return answer, string(content)
}
