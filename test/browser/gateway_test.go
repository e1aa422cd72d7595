// Package browser_test looks at the page of the admin listener in a real browser. It is a
// module of its own because the browser's driver is no part of the product.
package browser_test

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

const (
	mandated = "0206731645" // has a mandate in the simulator
	nsso     = "/ebox/providers/nsso"
	box      = "/enterprises/" + mandated + nsso + "/ebox"

	adminToken = "a-token-of-the-platform-team-0123456789"
)

// instance is a gateway before a simulator, both in this process and on sockets of their own.
type instance struct {
	*lab.Running
	t    *testing.T
	sim  *simulator.Simulator
	read func(edits ...string) *config.Config // the configuration, with further edits
}

// start runs the demo's configuration, in which edits, pairs of old and new text, are made.
func start(t *testing.T, edits ...string) *instance {
	t.Helper()
	dir := lab.Dir(t)
	testkit.Write(t, filepath.Join(dir, "admin.token"), adminToken)
	g := &instance{t: t, sim: lab.Simulator(t, simulator.Options{})}
	g.read = func(more ...string) *config.Config {
		cfg, err := lab.Read(lab.Config(t, g.sim, slices.Concat(edits, more,
			[]string{"admin: {", "admin: {tokenFile: admin.token, "})...), dir)
		testkit.Must(t, err)
		return cfg
	}
	g.Running = lab.Run(t, g.read(), gateway.Options{Log: slog.New(slog.DiscardHandler), Version: "test"})
	g.CutAtTheEnd()
	g.AwaitProviders()
	return g
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
	return g.send("GET", g.Base+path, fields...)
}

// operate asks the admin listener for a change.
func (g *instance) operate(path string) answer {
	g.t.Helper()
	return g.send("POST", g.Admin+path)
}

func (g *instance) send(method, url string, fields ...string) answer {
	g.t.Helper()
	resp, text := g.Ask(method, url, nil, fields...)
	return answer{resp.StatusCode, resp.Header, text}
}
