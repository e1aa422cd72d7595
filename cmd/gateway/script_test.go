// The tests are inside the package: a command exports nothing.

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	gateway := func() {
		// One that is installed below another root has its unit there.
		program, _ := os.Executable()
		if root, _, ok := strings.Cut(program, "/usr/local/bin/gateway"); ok {
			serviceUnit = root + serviceUnit
		}
		main()
	}
	testscript.Main(m, map[string]func(){"gateway": gateway, "gateway.new": gateway}) // as an upgrade names it
}

// TestScripts runs the commands as a person would type them, before a simulator
// whose configuration is in $WORK/lab.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Abs("testdata/script") // commands change the working directory
	testkit.Must(t, err)
	testscript.Run(t, testscript.Params{
		Dir: scripts,
		Setup: func(e *testscript.Env) error {
			dir := filepath.Join(e.WorkDir, "lab")
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			sim, err := demo.Start(dir)
			if err != nil {
				return err
			}
			e.Defer(func() {
				if err := sim.Close(); err != nil {
					t.Error(err)
				}
			})
			gate, admin := testkit.Address(t), testkit.Address(t)
			// What answers everything with 200, as a proxy or a captive portal may.
			foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				body := `{"ok": true}`
				if r.Host == "gateway.invalid:9090" { // asked as a proxy
					body = `{"status": "UP", "items": []}`
				}
				_, _ = io.WriteString(w, body)
			}))
			e.Defer(foreign.Close)
			e.Setenv("FOREIGN", foreign.URL)
			e.Setenv("GATE", gate)
			e.Setenv("ADMIN", admin)
			e.Setenv("CONTROL", sim.ControlURL())
			return os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(demo.Config(sim, gate, admin)), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": inProcess, "ready": ready, "post": post, "fetch": fetch,
		},
	})
}

var workingDirectory sync.Mutex

// inProcess is exec without a process: with the race detector, starting this program takes
// longer than most of its commands. What serves or becomes another process is left to exec.
func inProcess(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || args[0] != "gateway" {
		ts.Fatalf("usage: run gateway [ARGUMENT …]")
	}
	workingDirectory.Lock()
	defer workingDirectory.Unlock()
	ts.Check(os.Chdir(ts.MkAbs(".")))
	p := &process{ctx: context.Background(), stdout: ts.Stdout(), stderr: ts.Stderr(), patience: 2 * time.Minute,
		lookup: func(name string) (string, bool) { return ts.Getenv(name), ts.Getenv(name) != "" }}
	if code := run(p, args[1:]); (code != exitOK) != neg {
		ts.Fatalf("exit code %d", code)
	}
}

// until tries again and again, for a minute.
func until(ts *testscript.TestScript, what string, try func() error) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %v", what, err)
		}
	}
}

// ready waits until something listens on an address, and has written a file if one is named.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: ready ADDRESS [FILE]")
	}
	until(ts, strings.Join(args, ", "), func() error {
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil || len(args) == 1 {
			return err
		}
		file, err := os.Stat(ts.MkAbs(args[1]))
		if err == nil && file.Size() == 0 {
			err = errors.New("the file is empty")
		}
		return err
	})
}

// post sends a body to a URL, for the simulator's control endpoint.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: post URL BODY")
	}
	resp, err := http.Post(args[0], "application/json", strings.NewReader(args[1]))
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		ts.Fatalf("%s answers %s", args[0], resp.Status)
	}
}

// fetch gets a URL, once it can be got: the gateway may have to fetch a list first.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fetch URL")
	}
	until(ts, args[0], func() error {
		resp, err := http.Get(args[0])
		ts.Check(err)
		_, err = io.Copy(io.Discard, resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	})
}

// Whoever tries the demo as the README says has no command of that name.
func TestTheDemoSaysHowToCallItAgain(t *testing.T) {
	for name, want := range map[string]string{
		"/tmp/go-build1296/b001/exe/gateway": "go run ./cmd/gateway",
		"/usr/local/bin/gateway":             "/usr/local/bin/gateway",
	} {
		if got := calledAs(name); got != want {
			t.Errorf("%s is called as %q, want %q", name, got, want)
		}
	}
}
