package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

const (
	roleVariable     = "BENCH_ROLE"
	upstreamVariable = "BENCH_UPSTREAM"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Getenv(upstreamVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play runs one role until standard input ends, which it does with the parent.
func play(role, upstream string) error {
	var serving net.Addr
	var err error
	switch role {
	case "upstream":
		serving, err = serve(upstreamHandler())
	case "reverseproxy":
		serving, err = serve(reverseProxy(upstream))
	case "gateway", "gateway-quiet":
		serving, err = serveGateway(upstream, role == "gateway", "{enabled: false}")
	case roleGatewayPolled:
		serving, err = servePolls(upstream)
	case "gateway-cache":
		serving, err = serveGateway(upstream, false, "{enabled: true, rules: [{paths: [/kept/**], defaultTtl: 1h}]}")
	case roleReplica:
		serving, err = serveReplica(upstream, "")
	case roleReplicaRate:
		serving, err = serveReplica(upstream, ", rate: {perSecond: 1000000, burst: 1000000, scope: cluster}")
	case roleProviders:
		serving, err = serve(providersHandler())
	case roleGatewayInbox:
		serving, err = serveGatewayInbox(upstream)
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		return err
	}
	control, err := serve(controls())
	if err != nil {
		return err
	}
	fmt.Println(serving, control)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

func serve(h http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = (&http.Server{Handler: h}).Serve(l) }()
	return l.Addr(), nil
}

// spent is what a process has used since its start.
type spent struct {
	CPU     time.Duration
	Mallocs uint64
	Bytes   uint64
	RSS     int64 // bytes, the most so far
}

// controls tell the parent what was spent, and a profiler where: pass its address,
// which -v prints, to go tool pprof.
func controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", usage)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}

func usage(w http.ResponseWriter, _ *http.Request) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	cpu, rss := used()
	_ = json.NewEncoder(w).Encode(spent{CPU: cpu, Mallocs: mem.Mallocs, Bytes: mem.TotalAlloc, RSS: rss})
}

// used is the CPU time that this process has used, and the most memory that it had, in
// bytes. What others on the machine do shows in CPU time less than in that on the clock.
func used() (cpu time.Duration, rss int64) {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), ru.Maxrss * 1024
}

// child is another process of this binary.
type child struct {
	url     string
	control string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// start starts a process in a role. environment is what the role wants to know besides
// its upstream, each NAME=value.
func start(tb testing.TB, role, upstream string, environment ...string) *child {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, upstreamVariable+"="+upstream, "GOMAXPROCS=1")
	cmd.Env = append(cmd.Env, environment...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	testkit.Must(tb, err)
	stdout, err := cmd.StdoutPipe()
	testkit.Must(tb, err)
	testkit.Must(tb, cmd.Start())
	c := &child{cmd: cmd, stdin: stdin}
	tb.Cleanup(func() {
		_ = c.stdin.Close()
		_ = c.cmd.Wait()
	})
	var serving, control string
	if _, err := fmt.Fscan(stdout, &serving, &control); err != nil {
		tb.Fatalf("starting %s: %v", role, err)
	}
	c.url, c.control = "http://"+serving, "http://"+control
	tb.Logf("%s: profiles at %s/debug/pprof/", role, c.control)
	return c
}

func (c *child) spent(tb testing.TB) (s spent) {
	tb.Helper()
	read(tb, c.control, &s)
	return s
}

// read gets JSON.
func read(tb testing.TB, url string, v any) {
	tb.Helper()
	resp, err := http.Get(url)
	testkit.Must(tb, err)
	defer resp.Body.Close()
	testkit.Must(tb, json.NewDecoder(resp.Body).Decode(v))
}
