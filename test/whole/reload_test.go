package whole_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
)

// files is a house whose configuration is in files that the test changes.
type files struct {
	*house
	dir string
	hup chan os.Signal
}

// watched opens a house that follows its files.
func watched(t *testing.T, edits ...func(*testing.T, string) string) *files {
	t.Helper()
	f := &files{dir: t.TempDir(), hup: make(chan os.Signal, 1)}
	key, err := os.ReadFile(filepath.Join(clientDir, "client.p12"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "client.p12", string(key))
	f.write(t, "stop.txt", "# nobody yet\n")
	keep := func(t *testing.T, text string) string {
		f.write(t, "config.yaml", text)
		return text
	}
	load := func() (*config.Config, error) {
		return config.Load(filepath.Join(f.dir, "config.yaml"), func(string) (string, bool) { return "", false })
	}
	f.house = buildIn(t, f.dir, load, append(edits, keep)...)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.gw.Watch(ctx, 10*time.Millisecond, f.hup) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	f.waitForProviders()
	return f
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// write replaces a file in one step, as an editor does.
func (f *files) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(f.path(name+".new"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path(name+".new"), f.path(name)); err != nil {
		t.Fatal(err)
	}
}

// change edits config.yaml.
func (f *files) change(t *testing.T, old, new string) {
	t.Helper()
	text, err := os.ReadFile(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "config.yaml", edit(old, new)(t, string(text)))
}

func (h *house) statusOf(path string) int { return h.get(path).status }

const ofUnlisted = "/enterprises/" + unlisted + nsso + "/ebox"

func TestANewEnterpriseIsServedWithoutARestart(t *testing.T) {
	f := watched(t)
	if got := f.statusOf(ofUnlisted); got != 403 {
		t.Fatalf("before: %d", got)
	}
	tokens := f.sim.TokensIssued()
	f.change(t, "    - {number: 0206.731.645,", "    - {number: 0800.002.352}\n    - {number: 0206.731.645,")
	eventually(t, "the new enterprise", func() bool {
		return f.statusOf("/enterprises/"+unlisted+"/ebox/providers") == 200
	})
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	if n := f.sim.TokensIssued() - tokens; n > 1 { // the first call to this provider needs one
		t.Errorf("the reload cost %d tokens", n)
	}
}

// Whoever reads the log finds what runs, and what a reload made of it.
func TestTheLogSaysWhatWasStartedAndWhatAReloadChanged(t *testing.T) {
	f := watched(t)
	for _, want := range []string{`"msg":"started","version":"test","environment":"custom","hash":"` +
		f.status().Configuration.Hash, `"clients":["`, `"listeners":["127.0.0.1:`, `"admin":["127.0.0.1:`} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the start line lacks %s", want)
		}
	}
	before := f.status().Configuration.Hash
	f.change(t, "registry:", "inbox: {timeout: 7s}\nregistry:")
	eventually(t, "the reload", func() bool { return f.status().Configuration.Hash != before })
	eventually(t, "its line", func() bool {
		return strings.Contains(f.log.String(), `"before":"`+before+`","changed":["inbox.timeout"]`)
	})
}

func TestABadFileLeavesTheOldInForceAndSaysSo(t *testing.T) {
	f := watched(t)
	before := f.status().Configuration.Hash
	f.change(t, "tenancy:", "tenancies:")
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	s := f.status()
	if s.Configuration.Hash != before || s.Health != "DEGRADED" ||
		!strings.Contains(strings.Join(s.Configuration.Rejected.Errors, "\n"), "tenancies") {
		t.Errorf("%+v", s)
	}
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	f.change(t, "tenancies:", "tenancy:")
	eventually(t, "the recovery", func() bool {
		s := f.status()
		return s.Configuration.Rejected == nil && s.Health == "UP"
	})
}

func TestASuspendedNumberStopsWhileAnotherFileIsBad(t *testing.T) {
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	f.change(t, "registry:", "registries:")
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	f.write(t, "stop.txt", "# asked by phone\n0206.731.645\nthis line is a slip\n")
	eventually(t, "the suspension", func() bool { return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 403 })
	f.get("/enterprises/"+another+nsso+"/ebox").want(t, 200)
}

func TestDroppingManyEnterprisesWaitsForConfirmation(t *testing.T) {
	for _, by := range []string{"signal", "admin call"} {
		t.Run(by, func(t *testing.T) {
			f := watched(t)
			f.change(t, "    - {number: 0206.731.645, name: With a mandate}\n", "")
			eventually(t, "the refusal", func() bool { return f.status().Configuration.Rejected != nil })
			if e := f.status().Configuration.Rejected.Errors[0]; !strings.Contains(e, "drops 1 of 3 enterprises") {
				t.Errorf("%s", e)
			}
			f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
			if by == "signal" {
				f.hup <- syscall.SIGHUP
			} else {
				text := f.status().Configuration.Rejected.Errors[0]
				_, hash, _ := strings.Cut(text, "hash=")
				hash, _, _ = strings.Cut(hash, " ")
				resp, err := f.http.Post(f.adm+"/configuration/confirm?hash="+hash, "", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Fatalf("confirming: %s", resp.Status)
				}
			}
			eventually(t, "the drop", func() bool { return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 403 })
		})
	}
}

func TestListenersMoveWithTheConfiguration(t *testing.T) {
	f := watched(t)
	l, err := net.Listen("tcp", "127.9.8.7:0") // where no other test gets a port of its own
	if err != nil {
		t.Fatal(err)
	}
	moved := l.Addr().String()
	l.Close()
	f.change(t, `server: {listen: "127.0.0.1:0"`, `server: {listen: ["127.0.0.1:0", "`+moved+`"]`)
	eventually(t, "the new address", func() bool {
		resp, err := f.http.Get("http://" + moved + "/ebox/providers")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	f.get("/ebox/providers").want(t, 200)
	f.change(t, `server: {listen: ["127.0.0.1:0", "`+moved+`"]`, `server: {listen: "127.0.0.1:0"`)
	eventually(t, "the end of the new address", func() bool {
		conn, err := net.Dial("tcp", moved)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	f.get("/ebox/providers").want(t, 200)
}

func TestAnAddressThatIsTakenLeavesEverythingAsItWas(t *testing.T) {
	f := watched(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f.change(t, `server: {listen: "127.0.0.1:0"`, `server: {listen: ["127.0.0.1:0", "`+l.Addr().String()+`"]`)
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
}

// Callers keep asking while the configuration changes in every way it can.
func TestNoRequestIsLostOverManyReloads(t *testing.T) {
	f := watched(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var asked atomic.Int64
	for i := range 8 {
		method, body := "GET", ""
		path := "/enterprises/" + mandated + nsso + "/ebox"
		if i%2 == 1 { // a lost write would not be repeated by anybody
			method, body = "POST",
				`{"mandatorSsin":"79072300048","scopes":["precontractualDataFlexiJob"],"representedEnterpriseNumber":"0206731645"}`
			path = "/enterprises/" + mandated + "/grant/citizen/mandates"
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequest(method, f.base+path, strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.GetBody = nil // nor may this client repeat it
				resp, err := f.http.Do(req)
				if err != nil {
					t.Errorf("%s: %v", method, err)
					return
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode >= 300 {
					t.Errorf("%s: %s %v %s", method, resp.Status, err, text)
					return
				}
				asked.Add(1)
			}
		})
	}
	limits := []string{"idleTimeout: 61s", "idleTimeout: 62s, maxStreams: 100", "maxConnections: 500",
		"maxHeaderBytes: 32KiB"}
	reloads := 200
	if testing.Short() {
		reloads = 20
	}
	text, err := os.ReadFile(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range reloads {
		next := string(text)
		switch i % 4 {
		case 0:
			next = strings.Replace(next, "server: {", "server: {limits: {"+limits[i/4%4]+"}, ", 1)
		case 1:
			next = strings.Replace(next, "registry:\n", fmt.Sprintf("registry:\n  refresh: %dm\n", i+1), 1)
		case 2:
			next = strings.Replace(next, "oauth:\n", fmt.Sprintf("oauth:\n  timeout: %ds\n", i+5), 1)
		case 3:
			next = strings.Replace(next, "tenancy:\n",
				fmt.Sprintf("callers: [{name: c%d, networks: [127.0.0.0/8], own: true}]\ntenancy:\n", i), 1)
		}
		cfg, err := config.Parse("config.yaml", []byte(next), f.dir, os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.gw.Replace(cfg, ""); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	if n := asked.Load(); n < int64(reloads) {
		t.Errorf("only %d requests over %d reloads", n, reloads)
	}
}

func TestDrainServesThenRefusesThenEnds(t *testing.T) {
	t.Parallel()
	h := open(t, edit("drain: {delay: 0s, timeout: 5s}", "drain: {delay: 400ms, timeout: 20s}"))
	if _, err := h.sim.Fault(slow(nsso, 900*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	h.get("/ebox/providers").want(t, 200) // leaves an idle connection
	under := make(chan answer, 1)
	go func() { under <- h.get("/enterprises/" + mandated + nsso + "/ebox") }()
	eventually(t, "the request under way", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
	ended := make(chan error, 1)
	go func() { ended <- h.stop() }()
	eventually(t, "not ready", func() bool {
		resp, err := h.http.Get(h.adm + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == 503
	})
	resp, err := h.http.Get(h.base + "/ebox/providers") // on the idle connection
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || !resp.Close {
		t.Errorf("%s, closing %v", resp.Status, resp.Close)
	}
	refused := false
	eventually(t, "the refusal of new requests", func() bool {
		resp, err := h.http.Get(h.base + "/ebox/providers")
		if err != nil {
			return refused // the end
		}
		resp.Body.Close()
		refused = refused || resp.StatusCode == 503
		return refused
	})
	if got := <-under; got.status != 200 {
		t.Errorf("the request under way got %d %s", got.status, got.body)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestASecondSignalCutsWhatIsUnderWay(t *testing.T) {
	h := open(t, edit("drain: {delay: 0s, timeout: 5s}", "drain: {delay: 1h, timeout: 1h}"))
	if _, err := h.sim.Fault(frozen(nsso)); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Get(h.base + "/enterprises/" + mandated + nsso + "/ebox")
		if err == nil {
			resp.Body.Close()
			err = fmt.Errorf("answered %s", resp.Status)
			if resp.StatusCode >= 500 {
				err = io.ErrUnexpectedEOF
			}
		}
		cut <- err
	}()
	eventually(t, "the request under way", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
	h.cut()
	if err := h.stop(); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("the end says nothing of what was cut: %v", err)
	}
	h.stopped = true
	if err := <-cut; err == nil || strings.Contains(err.Error(), "answered") {
		t.Errorf("the cut is not visible: %v", err)
	}
}

// A file may change, or a SIGHUP come, while the gateway ends: what it would start ran on.
func TestNothingStartsForAConfigurationThatComesAfterTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	h := open(t)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	text := demo.Config(h.sim, "127.0.0.1:0", "127.0.0.1:0") + "tracing: {endpoint: \"http://127.0.0.1:1\"}\n"
	text = strings.Replace(text, "log: {format: text}", "log: {format: text, security: "+path+"}", 1)
	cfg, err := config.Parse("test.yaml", []byte(text), clientDir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := h.gw.Replace(cfg, ""); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("it is taken: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("its log of refusals was opened: %v", err)
	}
}

// A full disk, or a program that truncates before it writes, empties a file for good or
// for a moment.
func TestAnEmptiedStopFileLiftsNoSuspension(t *testing.T) {
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.write(t, "stop.txt", "0206.731.645\n")
	eventually(t, "the suspension", func() bool { return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 403 })
	eventually(t, "the configuration with it", func() bool {
		return strings.Contains(f.log.String(), "the configuration was replaced")
	})
	f.write(t, "stop.txt", "")
	eventually(t, "the refusal", func() bool { return f.status().Configuration.Rejected != nil })
	if e := f.status().Configuration.Rejected.Errors[0]; !strings.Contains(e,
		"lifts the suspension of 1 of 1 enterprises") {
		t.Errorf("%s", e)
	}
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 403)
	f.hup <- syscall.SIGHUP
	eventually(t, "the end of the suspension", func() bool {
		return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 200
	})
}

func TestASuspensionThatWasAMistakeIsTakenBackByTheSameSteps(t *testing.T) {
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.change(t, "registry:", "registries:") // nothing else can be taken meanwhile
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	f.write(t, "stop.txt", "0206.731.645\n")
	eventually(t, "the suspension", func() bool { return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 403 })
	f.write(t, "stop.txt", "# nobody yet\n")
	f.change(t, "registries:", "registry:") // all files are what they were at the start
	eventually(t, "the refusal to lift it", func() bool {
		r := f.status().Configuration.Rejected
		return r != nil && strings.Contains(r.Errors[0], "lifts the suspension of 1 of 1")
	})
	f.hup <- syscall.SIGHUP
	eventually(t, "the end of the suspension", func() bool {
		return f.statusOf("/enterprises/"+mandated+nsso+"/ebox") == 200
	})
}

// Nobody writes to the FIFO. Reading it, or waiting for a writer, would last for ever.
func TestAFIFOInPlaceOfAWatchedFileStopsNeitherReloadNorExit(t *testing.T) {
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	for _, name := range []string{"stop.txt", "client.p12"} {
		if err := os.Remove(f.path(name)); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(f.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	if e := f.status().Configuration.Rejected.Errors[0]; !strings.Contains(e, "not a regular file") {
		t.Errorf("%s", e)
	}
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	f.hup <- syscall.SIGHUP
	if err := os.Remove(f.path("stop.txt")); err != nil {
		t.Fatal(err)
	}
	f.write(t, "stop.txt", "# nobody yet\n")
	f.change(t, "  suspendedFiles", "  # now\n  suspendedFiles")
	eventually(t, "the next configuration", func() bool { return f.status().Configuration.Rejected == nil })
} // the cleanup fails if the gateway does not stop
