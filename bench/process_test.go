package bench_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/bench/process"
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
		serving, err = process.Serve(upstreamHandler())
	case "reverseproxy":
		serving, err = process.Serve(reverseProxy(upstream))
	case "gateway", "gateway-quiet":
		serving, err = serveGateway(upstream, role == "gateway", "cache: {enabled: false}")
	case roleGatewayPolled:
		serving, err = servePolls(upstream)
	case "gateway-cache":
		serving, err = serveGateway(upstream, false, caching)
	case roleReplica:
		serving, err = serveReplica(upstream, "")
	case roleReplicaRate:
		serving, err = serveReplica(upstream, ", rate: {perSecond: 1000000, burst: 1000000, scope: cluster}")
	case roleProviders:
		serving, err = process.Serve(providersHandler())
	case roleGatewayInbox:
		serving, err = serveGatewayInbox(upstream)
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		return err
	}
	over, err := process.Announce(serving, controls())
	if err != nil {
		return err
	}
	<-over
	return nil
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
type child struct{ *process.Process }

// start starts a process in a role. environment is what the role wants to know besides
// its upstream, each NAME=value.
func start(tb testing.TB, role, upstream string, environment ...string) child {
	tb.Helper()
	p, err := process.Start(append(environment, roleVariable+"="+role, upstreamVariable+"="+upstream, "GOMAXPROCS=1")...)
	testkit.Must(tb, err)
	tb.Cleanup(p.Stop)
	tb.Logf("%s: profiles at %s/debug/pprof/", role, p.Control)
	return child{p}
}

func (c child) spent(tb testing.TB) (s spent) {
	tb.Helper()
	read(tb, c.Control, &s)
	return s
}

// percentile is in microseconds.
func percentile(times []time.Duration, n int) float64 {
	slices.Sort(times)
	return float64(times[len(times)*n/100].Nanoseconds()) / 1000
}

// read gets JSON.
func read(tb testing.TB, url string, v any) {
	tb.Helper()
	resp, err := http.Get(url)
	testkit.Must(tb, err)
	defer resp.Body.Close()
	testkit.Must(tb, json.NewDecoder(resp.Body).Decode(v))
}
