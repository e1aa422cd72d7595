package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"ebox-gateway/bench/process"
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
	numbers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { count(w, g) })
	over, err := process.Announce(g.Addrs()[0], numbers)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { <-over; stop() }()
	var wg sync.WaitGroup
	wg.Go(func() { g.Watch(ctx, 500*time.Millisecond, nil) })
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

// running is the gateway as seen from here.
type running struct{ *process.Process }

func start(file string) (running, error) {
	p, err := process.Start(roleVariable + "=" + file)
	return running{p}, err
}

func (r running) holdings() (h holdings, err error) {
	req, err := http.NewRequest(http.MethodGet, r.Control, nil)
	if err != nil {
		return h, err
	}
	req.Close = true // leaves no connection to be counted
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// settled gives the numbers when idle connections have been closed: when they no
// longer shrink or, with numbers to come back to, when they have. The error says
// that they did not within a minute.
func (r running) settled(ctx context.Context, before *holdings) (h holdings, err error) {
	const idle = 12 * time.Second // unused connections to upstreams are kept for ten
	if !pause(ctx, idle) {
		return h, ctx.Err()
	}
	for range 48 {
		if h, err = r.holdings(); err != nil {
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
