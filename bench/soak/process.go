package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
)

// roleVariable holds the configuration's file in the process that is the gateway.
const roleVariable = "SOAK_GATEWAY"

// holdings are what the gateway's process has.
type holdings struct {
	Goroutines int
	// Sockets are the open ones, listeners included.
	Sockets int
	// Heap is what is in use after a collection, Resident what the kernel counts, in
	// bytes.
	Heap, Resident uint64
	// Upstreams are the stacks that are kept.
	Upstreams int
}

func (h holdings) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets, %.1f MB of heap, %.1f MB resident, %d upstreams",
		h.Goroutines, h.Sockets, float64(h.Heap)/(1<<20), float64(h.Resident)/(1<<20), h.Upstreams)
}

// within reports whether nothing has grown. A few goroutines and sockets may be those
// of the very call that asks; the heap has what the runtime and maps keep.
func (h holdings) within(before holdings) bool {
	return h.Goroutines <= before.Goroutines+2 && h.Sockets <= before.Sockets+2 &&
		h.Heap <= before.Heap+before.Heap/4+(4<<20) && h.Upstreams <= before.Upstreams
}

// play is the gateway: it prints its address and that of its numbers, and ends with
// its standard input.
func play(file string) error {
	load := func() (*config.Config, error) { return config.Load(file, os.LookupEnv) }
	cfg, err := load()
	if err != nil {
		return err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Load: load, Version: "soak"})
	if err != nil {
		return err
	}
	if err := g.Start(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Watch(ctx, 500*time.Millisecond, nil) })
	numbers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { count(w, g) }),
		ReadHeaderTimeout: time.Minute,
	}
	go func() { _ = server.Serve(numbers) }()
	fmt.Println(g.Addrs()[0], numbers.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	err = g.Run(ctx, context.Background())
	wg.Wait()
	return err
}

func count(w http.ResponseWriter, g *gateway.Gateway) {
	debug.FreeOSMemory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	h := holdings{Goroutines: runtime.NumGoroutine(), Heap: mem.HeapAlloc, Upstreams: len(g.View().Upstreams())}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, fd := range open {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
				h.Sockets++
			}
		}
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		if _, err := fmt.Sscan(string(text), &size, &pages); err == nil {
			h.Resident = pages * uint64(os.Getpagesize())
		}
	}
	_ = json.NewEncoder(w).Encode(h)
}

// process is the gateway as seen from here.
type process struct {
	url, numbers string
	cmd          *exec.Cmd
	stdin        io.Closer
}

func start(file string) (*process, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+file)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin}
	var serving, numbers string
	if _, err := fmt.Fscan(stdout, &serving, &numbers); err != nil {
		p.stop()
		return nil, fmt.Errorf("starting the gateway: %w", err)
	}
	p.url, p.numbers = "http://"+serving, "http://"+numbers
	return p, nil
}

func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

func (p *process) holdings(client *http.Client) (h holdings, err error) {
	req, err := http.NewRequest(http.MethodGet, p.numbers, nil)
	if err != nil {
		return h, err
	}
	req.Close = true // leaves no connection to be counted
	resp, err := client.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// settled gives the numbers when idle connections have been closed: when they no
// longer shrink or, with numbers to come back to, when they have. The error says
// that they did not within a minute.
func (p *process) settled(ctx context.Context, before *holdings) (h holdings, err error) {
	const idle = 12 * time.Second // unused connections to upstreams are kept for ten
	if !pause(ctx, idle) {
		return h, ctx.Err()
	}
	for range 48 {
		if h, err = p.holdings(http.DefaultClient); err != nil {
			return h, err
		}
		if before == nil || h.within(*before) {
			return h, nil
		}
		if !pause(ctx, time.Second) {
			return h, ctx.Err()
		}
	}
	return h, errors.New("the gateway holds more than at the start")
}
