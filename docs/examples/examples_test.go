// Package examples runs the programs of this folder against a gateway and a simulator,
// those whose runtime is on the machine.
package examples_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// start runs the demo and returns the gateway's URL.
func start(t *testing.T) (string, *simulator.Simulator) {
	t.Helper()
	sim := lab.Simulator(t, simulator.Options{})
	cfg, err := lab.Read(lab.Config(t, sim), lab.Dir(t))
	testkit.Must(t, err)
	g := lab.Run(t, cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)})
	g.CutAtTheEnd()
	g.AwaitProviders()
	return g.Base, sim
}

// run runs a program before a gateway and returns what it printed and its exit code.
func run(t *testing.T, base string, command ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(quickJava(), "GATEWAY="+base)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out), c.ProcessState.ExitCode()
}

// quickJava is an environment in which Java does not prepare for a long run: half the
// processor's time for programs as short as these.
func quickJava() []string {
	return append(os.Environ(), "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
}

// packages have the programs that run the examples.
var packages = map[string]string{"sh": "dash", "bash": "bash", "python3": "python3",
	"java": "default-jdk-headless", "php": "php-cli"}

const (
	mandated = "0206731645"
	another  = "0212148896" // with a mandate as well
	ended    = "0474028805" // whose mandate has ended
)

// example is a program that reads one e-Box. Those of services tell errors apart and ask again;
// legacy ones say what came.
type example struct {
	command     string
	fine, ended []string // what it says with a mandate, and with one that has ended
}

var (
	read    = []string{"message 1000001", "document of "}
	refused = []string{"status 403, said by the upstream; request ", "mandate for this enterprise has ended"}
	list    = []example{
		{"sh services/ebox.sh", read, refused},
		{"python3 services/ebox.py", read, refused},
		{"java services/Ebox.java", read, refused},
		{"php services/ebox.php", read, refused},
		{"bash legacy/http10.sh", []string{"HTTP/1.0 200 OK", `"messageId":"1000001"`},
			[]string{"HTTP/1.0 403", "mandate for this enterprise has ended"}},
		{"python3 legacy/http10.py", []string{"status 200", "document of "},
			[]string{"status 403", "mandate for this enterprise has ended"}},
		{"java legacy/Legacy.java", []string{"status 200", "document of "},
			[]string{"status 403", "mandate for this enterprise has ended"}},
		{"php legacy/legacy.php", []string{"200 OK", "document of "}, []string{"403 Forbidden"}},
	}
)

// Each example before a gateway of its own, and before what may go wrong.
func TestExamplesReadAnEBoxAndSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	classes := t.TempDir()
	// compiled is the folder of the Java programs' classes. Without them each run would compile.
	compiled := sync.OnceValue(func() string {
		c := exec.Command("javac", "-d", classes, "services/Ebox.java", "legacy/Legacy.java")
		c.Env = quickJava()
		if out, err := c.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v: %s", err, out))
		}
		return classes
	})
	for _, e := range list {
		t.Run(e.command, func(t *testing.T) {
			command := strings.Fields(e.command)
			needs.Program(t, packages[command[0]], command[0])
			t.Parallel()
			e.reads(t, command, compiled)
		})
	}
}

func (e example) reads(t *testing.T, command []string, compiled func() string) {
	base, sim := start(t)
	call := func(number string) (string, int) {
		t.Helper()
		return run(t, base, append(command, number)...)
	}
	hasAll := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
	}
	out, code := call(mandated) // as the program itself says that it is called
	hasAll(out, e.fine...)
	if whole := sizeOfDocument(t, base); strings.Contains(out, "document of ") && !strings.Contains(out, whole) {
		t.Errorf("not a %s:\n%s", whole, out)
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if command[0] == "java" { // the others need not compile it anew
		command = []string{"java", "-cp", compiled(), strings.TrimSuffix(filepath.Base(command[1]), ".java")}
	}
	out, code = call(ended)
	hasAll(out, e.ended...)
	if code == 0 {
		t.Error("a refusal is no failure")
	}
	service := strings.Contains(e.command, "services/")
	if service {
		if out, code := call("0206731646"); code != 1 || !strings.Contains(out, "status 400, said by the gateway") {
			t.Errorf("a mistyped number: exit code %d\n%s", code, out)
		}
	}

	// broken calls while the provider has a fault, and checks that the provider was asked.
	broken := func(f simulator.Fault) (string, int) {
		t.Helper()
		f.Upstream = simulator.ProviderUpstream("nsso")
		lab.Fault(t, sim, f)
		sim.ResetRequests()
		out, code := call(another) // of which the gateway has kept nothing that is whole
		if len(sim.RequestsTo(f.Upstream)) == 0 {
			t.Errorf("the provider was not asked:\n%s", out)
		}
		sim.ClearFaults()
		return out, code
	}
	for _, cut := range []string{"/ebox/messages", "/ebox/messages/" + simulator.FirstMessage + "/attachments"} {
		if e.command == "bash legacy/http10.sh" && cut != "/ebox/messages" {
			continue // it reads the list alone
		}
		out, code := broken(simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 300, Path: cut})
		if code == 0 || strings.Contains(out, "document of") {
			t.Errorf("what is cut at %s is taken for whole: exit code %d\n%s", cut, code, out)
		}
	}
	busy := simulator.Fault{Kind: simulator.FaultStatus, Status: 429, RetryAfter: "1", Path: "/ebox/messages"}
	if service {
		busy.Count = 1
	}
	out, code = broken(busy)
	switch fine := code == 0 && strings.Contains(out, "document of "); {
	case service && !fine:
		t.Errorf("it did not ask again after a 429: exit code %d\n%s", code, out)
	case !service && (code == 0 || !strings.Contains(out, "429")):
		t.Errorf("a 429 is taken for an answer: exit code %d\n%s", code, out)
	}
}

// sizeOfDocument is what the examples say of the first document.
func sizeOfDocument(t *testing.T, base string) string {
	t.Helper()
	resp, err := http.Get(base + "/enterprises/" + mandated + "/ebox/providers/nsso/ebox/messages/" +
		simulator.FirstMessage + "/attachments/1/content")
	testkit.Must(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return fmt.Sprintf("document of %d bytes", len(content))
}

// The night's poll goes on where an outage stopped it, and asks nobody twice.
func TestTheNightlyPollResumes(t *testing.T) {
	needs.Program(t, packages["python3"], "python3")
	t.Parallel()
	base, sim := start(t)
	dir := t.TempDir()
	list := filepath.Join(dir, "customers.csv")
	testkit.Write(t, list, "\xef\xbb\xbfnumber;name\n206731645;First\n0212.148.896;Second\n")
	poll := func(wantCode int, want string, more ...string) {
		t.Helper()
		out, code := run(t, base, append([]string{"python3", "nightly_poll.py", "--gateway", base, "--enterprises", list,
			"--database", filepath.Join(dir, "boxes.sqlite")}, more...)...)
		if code != wantCode || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %d and %q in\n%s", code, wantCode, want, out)
		}
	}
	asked := func(provider string) int { return len(sim.RequestsTo(simulator.ProviderUpstream(provider))) }

	lab.Fault(t, sim, simulator.Fault{Upstream: simulator.ProviderUpstream("regional"), Kind: simulator.FaultStatus,
		Status: 503, RetryAfter: "1"})
	poll(75, "2 done, 80 new, 0 refused, 2 left")
	sim.ClearFaults()
	// Nor is a list that is cut short one that was read.
	lab.Fault(t, sim, simulator.Fault{Upstream: simulator.ProviderUpstream("regional"), Kind: simulator.FaultTruncate,
		Bytes: 200})
	poll(75, "0 done, 0 new, 0 refused, 2 left")
	sim.ClearFaults()
	before := asked("nsso")
	poll(0, "2 done, 24 new, 0 refused, 0 left")
	if again := asked("nsso") - before; again != 0 {
		t.Errorf("the provider that had answered was asked %d times again", again)
	}
	poll(0, "0 boxes to ask")

	// A row that nobody could serve does not keep the others from being asked.
	testkit.Write(t, list, "number;name\n206731645;First\n0212.148.897;Mistyped\n0212.148.896;Second\n")
	poll(0, "0212.148.897 is no enterprise number: it is left out")

	// The next night brings what is new, and nothing twice.
	_, err := sim.AddMessage("nsso", 206731645, simulator.Draft{Subject: "New"})
	testkit.Must(t, err)
	poll(0, "4 done, 1 new, 0 refused, 0 left", "--night", "tomorrow")
	for _, r := range sim.Requests() {
		if strings.HasSuffix(r.Path, "/content") {
			t.Errorf("a document was opened: %s", r.Path)
		}
	}
}
