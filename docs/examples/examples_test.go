// Package examples runs the programs of this folder against a gateway and a simulator,
// those whose runtime is on the machine.
package examples

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
)

// start runs the demo and returns the gateway's URL.
func start(t *testing.T) (string, *simulator.Simulator) {
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
	cfg, err := config.Parse("demo", []byte(demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0")), dir, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	for deadline := time.Now().Add(10 * time.Second); status.Of(g.View()).Directory.LastSuccess.IsZero(); time.Sleep(
		5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the gateway has no list of providers")
		}
	}
	return "http://" + g.Addrs()[0].String(), sim
}

// run runs a program before a gateway and returns what it printed and its exit code.
func run(t *testing.T, base string, command ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(os.Environ(), "GATEWAY="+base)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out), c.ProcessState.ExitCode()
}

// packages have the programs that run the examples.
var packages = map[string]string{"sh": "dash", "python3": "python3", "java": "default-jdk-headless", "php": "php-cli"}

func TestExamplesReadAnEBoxAndSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	base, _ := start(t)
	for _, c := range []struct {
		command string
		fine    []string // with a mandate
		wrong   []string // with one that has ended
	}{
		{"sh services/ebox.sh", []string{"message 1000001", "document of 736 bytes"},
			[]string{"status 403, said by the upstream; request ", "mandate for this enterprise has ended"}},
		{"python3 services/ebox.py", []string{"message 1000001", "document of 736 bytes"},
			[]string{"status 403, said by the upstream; request ", "mandate for this enterprise has ended"}},
		{"java services/Ebox.java", []string{"message 1000001", "document of 736 bytes"},
			[]string{"status 403, said by the upstream; request ", "mandate for this enterprise has ended"}},
		{"php services/ebox.php", []string{"message 1000001", "document of 736 bytes"},
			[]string{"status 403, said by the upstream; request ", "mandate for this enterprise has ended"}},
		{"bash legacy/http10.sh", []string{"HTTP/1.0 200 OK", `"messageId":"1000001"`},
			[]string{"HTTP/1.0 403", "mandate for this enterprise has ended"}},
		{"python3 legacy/http10.py", []string{"status 200", "document of 736 bytes"},
			[]string{"status 403", "mandate for this enterprise has ended"}},
		{"java legacy/Legacy.java", []string{"status 200", "document of 736 bytes"},
			[]string{"status 403", "mandate for this enterprise has ended"}},
		{"php legacy/legacy.php", []string{"200 OK", "document of 736 bytes"}, []string{"403 Forbidden"}},
	} {
		t.Run(c.command, func(t *testing.T) {
			words := strings.Fields(c.command)
			needs.Program(t, packages[words[0]], words[0])
			t.Parallel()
			for _, try := range []struct {
				number string
				want   []string
			}{{"0206731645", c.fine}, {"0474028805", c.wrong}} {
				out, code := run(t, base, append(words, try.number)...)
				if refused := try.number == "0474028805"; refused != (code != 0) {
					t.Errorf("for %s, exit code %d", try.number, code)
				}
				for _, want := range try.want {
					if !strings.Contains(out, want) {
						t.Errorf("for %s, no %q in\n%s", try.number, want, out)
					}
				}
			}
		})
	}
}

func TestProgramsTellTheGatewaysOwnErrors(t *testing.T) {
	t.Parallel()
	base, _ := start(t)
	for _, command := range []string{"sh services/ebox.sh", "python3 services/ebox.py", "java services/Ebox.java",
		"php services/ebox.php"} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			needs.Program(t, packages[words[0]], words[0])
			t.Parallel()
			out, code := run(t, base, append(words, "0206731646")...)
			if code != 1 || !strings.Contains(out, "status 400, said by the gateway") {
				t.Errorf("exit code %d\n%s", code, out)
			}
		})
	}
}

// each runs a test for every program, before a gateway of its own.
func each(t *testing.T, test func(t *testing.T, base string, sim *simulator.Simulator, command []string)) {
	for _, command := range []string{
		"sh services/ebox.sh", "python3 services/ebox.py", "java services/Ebox.java", "php services/ebox.php",
		"bash legacy/http10.sh", "python3 legacy/http10.py", "java legacy/Legacy.java", "php legacy/legacy.php",
	} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			needs.Program(t, packages[words[0]], words[0])
			t.Parallel()
			base, sim := start(t)
			test(t, base, sim, words)
		})
	}
}

func lay(t *testing.T, sim *simulator.Simulator, f simulator.Fault) {
	t.Helper()
	f.Upstream = simulator.ProviderUpstream("nsso")
	if _, err := sim.Fault(f); err != nil {
		t.Fatal(err)
	}
}

func TestACutDocumentIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, base string, sim *simulator.Simulator, command []string) {
		cut := simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 300, Path: "/ebox/messages/" +
			simulator.FirstMessage + "/attachments"}
		if command[1] == "legacy/http10.sh" {
			cut.Path = "/ebox/messages" // it reads the list alone
		}
		lay(t, sim, cut)
		out, code := run(t, base, command...)
		if code == 0 || strings.Contains(out, "document of") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

func TestACutListIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, base string, sim *simulator.Simulator, command []string) {
		lay(t, sim, simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 300, Path: "/ebox/messages"})
		if out, code := run(t, base, command...); code == 0 || strings.Contains(out, "document of") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

// Programs of services wait and ask again; legacy ones say what came.
func TestATooManyRequestsIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, base string, sim *simulator.Simulator, command []string) {
		service := strings.HasPrefix(command[1], "services/")
		busy := simulator.Fault{Kind: simulator.FaultStatus, Status: 429, RetryAfter: "1", Path: "/ebox/messages"}
		if service {
			busy.Count = 1
		}
		lay(t, sim, busy)
		out, code := run(t, base, command...)
		switch fine := code == 0 && strings.Contains(out, "document of 736 bytes"); {
		case service && !fine:
			t.Errorf("it did not ask again: exit code %d\n%s", code, out)
		case !service && (code == 0 || !strings.Contains(out, "429")):
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

// The night's poll goes on where an outage stopped it, and asks nobody twice.
func TestTheNightlyPollResumes(t *testing.T) {
	needs.Program(t, packages["python3"], "python3")
	t.Parallel()
	base, sim := start(t)
	dir := t.TempDir()
	list := filepath.Join(dir, "customers.csv")
	if err := os.WriteFile(list, []byte("\xef\xbb\xbfnumber;name\n206731645;First\n0212.148.896;Second\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	poll := func(wantCode int, want string, more ...string) {
		t.Helper()
		out, code := run(t, base, append([]string{"python3", "nightly_poll.py", "--gateway", base, "--enterprises", list,
			"--database", filepath.Join(dir, "boxes.sqlite")}, more...)...)
		if code != wantCode || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %d and %q in\n%s", code, wantCode, want, out)
		}
	}
	asked := func(provider string) int { return len(sim.RequestsTo(simulator.ProviderUpstream(provider))) }

	if _, err := sim.Fault(simulator.Fault{Upstream: simulator.ProviderUpstream("regional"), Kind: simulator.FaultStatus,
		Status: 503, RetryAfter: "1"}); err != nil {
		t.Fatal(err)
	}
	poll(75, "2 done, 80 new, 0 refused, 2 left")
	sim.ClearFaults()
	// Nor is a list that is cut short one that was read.
	if _, err := sim.Fault(simulator.Fault{Upstream: simulator.ProviderUpstream("regional"), Kind: simulator.FaultTruncate,
		Bytes: 200}); err != nil {
		t.Fatal(err)
	}
	poll(75, "0 done, 0 new, 0 refused, 2 left")
	sim.ClearFaults()
	before := asked("nsso")
	poll(0, "2 done, 24 new, 0 refused, 0 left")
	if again := asked("nsso") - before; again != 0 {
		t.Errorf("the provider that had answered was asked %d times again", again)
	}
	poll(0, "0 boxes to ask")

	// A row that nobody could serve does not keep the others from being asked.
	if err := os.WriteFile(list, []byte("number;name\n206731645;First\n0212.148.897;Mistyped\n0212.148.896;Second\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	poll(0, "0212.148.897 is no enterprise number: it is left out")

	// The next night brings what is new, and nothing twice.
	if _, err := sim.AddMessage("nsso", 206731645, simulator.Draft{Subject: "New"}); err != nil {
		t.Fatal(err)
	}
	poll(0, "4 done, 1 new, 0 refused, 0 left", "--night", "tomorrow")
	for _, r := range sim.Requests() {
		if strings.HasSuffix(r.Path, "/content") {
			t.Errorf("a document was opened: %s", r.Path)
		}
	}
}
