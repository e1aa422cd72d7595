package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/redistest"
)

// Three gateways as processes of their own, with a real Redis between them and a simulator
// behind them: callers do not notice what becomes of one of them. That they share tokens,
// answers, rates and the list is shown in one process, in test/whole.
func TestThreeProcessesActAsOne(t *testing.T) {
	f := newFleet(t, 3)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *fleet)
	}{
		{"a rolling change of the configuration loses no request", rollingChange},
		{"a rolling restart loses no request", rollingRestart},
		{"one is killed and one freezes", killedAndFrozen},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			f.t = t
			step.run(t, f)
		}) {
			return
		}
	}
}

// patience is how long a busy machine may take for anything.
const patience = time.Minute

const ebox = "/enterprises/0206731645/ebox/providers/nsso/ebox"

func rollingChange(t *testing.T, f *fleet) {
	stop := f.load(false)
	for _, r := range f.replicas {
		before := f.status(r).Configuration.Hash
		f.edit(r, "name: With a mandate as well", "name: With another name")
		r.signal(syscall.SIGHUP)
		f.eventually("the new configuration", func() bool { return f.status(r).Configuration.Hash != before })
	}
	stop()
}

func rollingRestart(t *testing.T, f *fleet) {
	stop := f.load(false)
	for _, r := range f.replicas {
		r.signal(syscall.SIGTERM)
		// It serves until the second signal, which comes once the balancer sends it nothing more.
		f.eventually("the balancer to see that it stops", func() bool { return !r.healthy.Load() })
		f.eventually("the end of its calls", func() bool { return r.calls.Load() == 0 })
		r.signal(syscall.SIGTERM)
		if err := r.wait(); err != nil {
			t.Errorf("the stop: %v\n%s", err, r.readLog())
		}
		f.start(r)
		f.eventually("the balancer to see it", func() bool { return r.healthy.Load() })
	}
	stop()
}

func killedAndFrozen(t *testing.T, f *fleet) {
	killed, frozen := f.replicas[0], f.replicas[1]
	stop := f.load(true)
	killed.signal(syscall.SIGKILL)
	_ = killed.wait()
	f.eventually("the balancer to see that it is gone", func() bool { return !killed.healthy.Load() })
	frozen.signal(syscall.SIGSTOP)
	f.eventually("the balancer to see that it is frozen", func() bool { return !frozen.healthy.Load() })
	frozen.signal(syscall.SIGCONT)
	f.eventually("the frozen one to be back", func() bool { return frozen.healthy.Load() })
	f.start(killed)
	f.eventually("the killed one to be back", func() bool { return killed.healthy.Load() })
	stop()
}

// fleet is replicas, what is behind them, and a balancer in front.
type fleet struct {
	t        *testing.T
	replicas []*replica
	http     *http.Client
	turn     atomic.Uint64
}

// replica is one gateway process.
type replica struct {
	config  string
	process *exec.Cmd
	ended   chan struct{}
	err     error  // valid once ended is closed
	log     string // a file
	// base and admin are where it listens, healthy whether the balancer sends it calls, and calls
	// those that it was picked for and that are not over.
	base, admin atomic.Pointer[string]
	healthy     atomic.Bool
	calls       atomic.Int64
}

func (r *replica) readLog() string {
	text, _ := os.ReadFile(r.log) // empty before it is started
	return string(text)
}

// newFleet starts n of the program, which TestMain put into PATH.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	server := redistest.Start(t)
	dir := t.TempDir()
	f := &fleet{t: t}
	sim, err := demo.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	var key [32]byte
	_, _ = rand.Read(key[:])
	if err := os.WriteFile(filepath.Join(dir, "k1.key"), []byte(base64.StdEncoding.EncodeToString(key[:])),
		0o600); err != nil {
		t.Fatal(err)
	}
	text := demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0")
	const old = "drain: {delay: 0s, timeout: 5s}"
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in\n%s", old, text)
	}
	text = strings.Replace(text, old, "drain: {delay: 1h, timeout: 1m}", 1)
	// The machine may be busy, which is none of Redis's doing.
	text += "redis: {url: \"redis://" + server.Addr + "/0\", timeout: 1s, encryptionKeys: [{id: k1, file: k1.key}]}\n"
	transport := &http.Transport{MaxIdleConnsPerHost: 20}
	t.Cleanup(transport.CloseIdleConnections)
	f.http = &http.Client{Transport: transport}
	for i := range n {
		r := &replica{config: filepath.Join(dir, fmt.Sprintf("config-%d.yaml", i)),
			log: filepath.Join(dir, fmt.Sprintf("log-%d", i))}
		if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.replicas = append(f.replicas, r)
	}
	t.Cleanup(func() {
		for _, r := range f.replicas {
			if r.process != nil {
				_ = r.process.Process.Kill()
				_ = r.wait()
			}
		}
		if t.Failed() {
			for i, r := range f.replicas {
				t.Logf("replica %d:\n%s", i, r.readLog())
			}
		}
	})
	var starting sync.WaitGroup
	for _, r := range f.replicas { // at once, as a rollout of nothing before would
		starting.Go(func() { f.start(r) })
	}
	starting.Wait()
	for _, r := range f.replicas {
		f.eventually("the list of providers", func() bool {
			got, err := f.call(t.Context(), *r.base.Load()+"/ebox/providers")
			return err == nil && strings.Contains(got.body, `"nsso"`)
		})
		f.eventually("Redis", func() bool { s := f.status(r).Redis; return s.State == "up" && s.Subscribed })
	}
	return f
}

var listening = regexp.MustCompile(`msg=listening address=(\S+) for=(\w+)`)

// start starts a replica, which listens where there is room.
func (f *fleet) start(r *replica) {
	f.t.Helper()
	log, err := os.Create(r.log)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command("gateway", "serve", "--config", r.config)
	cmd.Stderr = log
	ended := make(chan struct{})
	r.process, r.ended = cmd, ended
	if err := cmd.Start(); err != nil {
		f.t.Error(err)
		return
	}
	go func() {
		r.err = cmd.Wait()
		close(ended)
	}()
	f.eventually("the listeners", func() bool {
		all := listening.FindAllStringSubmatch(r.readLog(), -1)
		for _, m := range all {
			at := "http://" + m[1]
			if m[2] == "callers" {
				r.base.Store(&at)
			} else {
				r.admin.Store(&at)
			}
		}
		return len(all) == 2
	})
}

func (r *replica) signal(s syscall.Signal) { _ = r.process.Process.Signal(s) }

// wait waits for the end of the process.
func (r *replica) wait() error {
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

// edit changes a replica's configuration.
func (f *fleet) edit(r *replica, old, new string) {
	f.t.Helper()
	text, err := os.ReadFile(r.config)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		f.t.Fatalf("%q: %v", old, err)
	}
	if err := os.WriteFile(r.config, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// reply is an answer, read to its end.
type reply struct {
	status int
	body   string
}

func (f *fleet) call(ctx context.Context, url string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reply{}, err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(text)}, err
}

// fleetStatus is what the tests read of a replica's status.
type fleetStatus struct {
	Configuration struct {
		Hash string `json:"hash"`
	} `json:"configuration"`
	Redis struct {
		State      string `json:"state"`
		Subscribed bool   `json:"subscribed"`
	} `json:"redis"`
}

func (f *fleet) status(r *replica) (s fleetStatus) {
	f.t.Helper()
	got, err := f.call(f.t.Context(), *r.admin.Load()+"/status")
	if err == nil {
		err = json.Unmarshal([]byte(got.body), &s)
	}
	if err != nil {
		f.t.Fatalf("%v: %s", err, got.body)
	}
	return s
}

// load has callers at work behind a balancer, until stop is called. Any answer but 200 is an
// error. A caller that cannot connect has sent nothing and asks another replica, as any client
// does. Those that repeat do so as well after a second without an answer, and after a 5xx.
func (f *fleet) load(repeat bool) (stop func()) {
	t := f.t
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, r := range f.replicas {
		r.healthy.Store(true)
		running.Go(func() { f.probe(ctx, r) })
	}
	limit := patience
	if repeat {
		limit = time.Second
	}
	var served, repeated atomic.Int64
	for range 6 {
		running.Go(func() {
			for ctx.Err() == nil {
				r := f.pick(ctx, nil)
				got, err := f.try(r, limit)
				for begun := time.Now(); time.Since(begun) < patience; got, err = f.try(r, limit) {
					var dial *net.OpError
					unsent := errors.As(err, &dial) && dial.Op == "dial"
					if !unsent && (!repeat || err == nil && got.status < 500) {
						break
					}
					repeated.Add(1)
					r = f.pick(ctx, r)
				}
				if err != nil || got.status != http.StatusOK {
					t.Errorf("a caller saw %d %s %v", got.status, got.body, err)
					return
				}
				served.Add(1)
				time.Sleep(20 * time.Millisecond) // the processors are for the gateways
			}
		})
	}
	f.eventually("callers at work", func() bool { return served.Load() > 50 })
	return func() {
		t.Helper()
		before := served.Load()
		f.eventually("callers to go on", func() bool { return served.Load() > before+50 || t.Failed() })
		cancel()
		running.Wait()
		t.Logf("%d calls served, %d repeated", served.Load(), repeated.Load())
	}
}

// try makes one call of a caller, to a replica that was picked for it. Its time is bounded but
// not by the test's end, so that none is cut that the gateway would have served.
func (f *fleet) try(r *replica, limit time.Duration) (reply, error) {
	defer r.calls.Add(-1)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return f.call(ctx, *r.base.Load()+ebox)
}

// pick gives the replicas in turn, of those that are healthy, and not the one that has
// just failed. It is released when the call is over.
func (f *fleet) pick(ctx context.Context, failed *replica) *replica {
	for ctx.Err() == nil {
		for range f.replicas {
			r := f.replicas[f.turn.Add(1)%uint64(len(f.replicas))]
			r.calls.Add(1) // before the look: who sees no call of one that is not healthy knows that none comes
			if r != failed && r.healthy.Load() {
				return r
			}
			r.calls.Add(-1)
		}
		time.Sleep(time.Millisecond)
	}
	f.replicas[0].calls.Add(1) // the load ends, and this is its last call
	return f.replicas[0]
}

// probe asks a replica for its readiness, as a balancer does.
func (f *fleet) probe(ctx context.Context, r *replica) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		got, err := f.call(limited, *r.admin.Load()+"/readyz")
		cancel()
		r.healthy.Store(err == nil && got.status == http.StatusOK)
	}
}

func (f *fleet) eventually(what string, holds func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Errorf("waited in vain for %s", what)
			return
		}
	}
}
