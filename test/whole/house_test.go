package whole_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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

// certificate makes a self-signed certificate, for 127.0.0.1 and the names of hosts.
func certificate(t *testing.T, name string, hosts ...string) *testkit.Certificate {
	t.Helper()
	return testkit.NewCertificate(t, func(c *x509.Certificate) {
		c.Subject.CommonName = name
		c.DNSNames = hosts
		c.NotAfter = time.Now().Add(24 * time.Hour)
	})
}

// frozen is a fault of the provider behind a path prefix.
func frozen(prefix string) simulator.Fault {
	return simulator.Fault{Upstream: upstreamOf(prefix), Kind: simulator.FaultFreeze}
}

func upstreamOf(prefix string) string {
	return simulator.ProviderUpstream(prefix[strings.LastIndexByte(prefix, '/')+1:])
}

// caller is a connection of somebody who writes HTTP by hand.
type caller struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects to the internal endpoint, from an address if it is not empty.
func (h *house) dial(from string) *caller {
	h.t.Helper()
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", strings.TrimPrefix(h.Base, "http://"))
	testkit.Must(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &caller{h.t, conn, bufio.NewReader(conn)}
}

// raw sends bytes as they are and reads the answer.
func (h *house) raw(request string) answer {
	h.t.Helper()
	c := h.dial("")
	defer c.conn.Close()
	c.write(request)
	method, _, _ := strings.Cut(request, " ")
	return c.read(method)
}

// sendAs makes a request from an address.
func (h *house) sendAs(from, method, path, body string, fields ...string) answer {
	h.t.Helper()
	c := h.dial(from)
	defer c.conn.Close()
	lines := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for _, f := range fields {
		lines += f + "\r\n"
	}
	c.write(lines + "\r\n" + body)
	return c.read(method)
}

// as is sendAs without a body.
func (h *house) as(from, method, path string, fields ...string) answer {
	h.t.Helper()
	return h.sendAs(from, method, path, "", fields...)
}

// write sends bytes.
func (c *caller) write(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.60q: %v", text, err)
	}
}

// read reads one answer, an informational one included, to the end of its body.
func (c *caller) read(method string) answer {
	c.t.Helper()
	a, err := c.tryRead(method)
	if err != nil {
		c.t.Fatalf("reading the answer %v: %v", a, err)
	}
	return a
}

// tryRead is read for an answer that may end early: it gives as much as came.
func (c *caller) tryRead(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// closed reports whether the gateway closed the connection, and says nothing more.
func (c *caller) closed() bool {
	_, err := c.r.ReadByte()
	var timeout net.Error
	return err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}

// files is a house whose configuration is in files that the test changes.
type files struct {
	*house
	dir string
	hup chan os.Signal
	// instead is loaded once in place of the files, unless nil.
	instead atomic.Pointer[func() *config.Config]
}

// watched opens a house that follows its files.
func watched(t *testing.T, edits ...func(*testing.T, string) string) *files {
	t.Helper()
	f := &files{dir: lab.Dir(t), hup: make(chan os.Signal, 1)}
	f.write(t, "stop.txt", "# nobody yet\n")
	keep := func(t *testing.T, text string) string {
		f.write(t, "config.yaml", text)
		return text
	}
	load := func() (*config.Config, error) {
		if instead := f.instead.Swap(nil); instead != nil {
			return (*instead)(), nil
		}
		cfg, err := config.Load(filepath.Join(f.dir, "config.yaml"), func(string) (string, bool) { return "", false })
		if err == nil {
			lab.Patient(cfg)
		}
		return cfg, err
	}
	f.house = buildIn(t, lab.Simulator(t, simulator.Options{}), f.dir, load, append(edits, keep)...)
	testkit.Running(t, func(ctx context.Context) { f.Gateway.Watch(ctx, 10*time.Millisecond, f.hup) })
	f.AwaitProviders()
	return f
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// write replaces a file in one step, as an editor does.
func (f *files) write(t *testing.T, name, content string) {
	t.Helper()
	testkit.Write(t, f.path(name+".new"), content)
	testkit.Must(t, os.Rename(f.path(name+".new"), f.path(name)))
}

// change writes config.yaml with edits, pairs of old and new text.
func (f *files) change(t *testing.T, pairs ...string) {
	t.Helper()
	text := testkit.Read(t, f.path("config.yaml"))
	for pair := range slices.Chunk(pairs, 2) {
		text = edit(pair[0], pair[1])(t, text)
	}
	f.write(t, "config.yaml", text)
}

// reload is change, and waits until that is in force.
func (f *files) reload(t *testing.T, pairs ...string) {
	t.Helper()
	before := f.status().Configuration.Hash
	f.change(t, pairs...)
	eventually(t, "the new configuration", func() bool { return f.status().Configuration.Hash != before })
}

// refusal waits until the files are refused, and gives the first reason.
func (f *files) refusal(t *testing.T) string {
	t.Helper()
	eventually(t, "the refusal", func() bool { return f.status().Configuration.Rejected != nil })
	return f.status().Configuration.Rejected.Errors[0]
}
