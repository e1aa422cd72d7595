// Command soak runs a gateway for as long as it is told under mixed load, while its
// upstreams break down one after the other, its configuration is replaced and its
// tokens are revoked, and ends by comparing what the gateway then holds with what it
// held at the start: goroutines, connections and memory. Nothing may have grown.
//
//	go -C bench/soak run . -for 30m
//
// The gateway is a process of its own, this binary again, so that its numbers are
// those of nothing else; simulator and callers are here. What the callers got is
// counted by status; an internal error of the gateway's fails the soak, as does a
// call that never ends. The exit code is 1 if something has grown or failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/simulator"
)

func main() {
	length := flag.Duration("for", 30*time.Minute, "how long the load lasts")
	workers := flag.Int("callers", 24, "how many call at once")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what happens when, to repeat a run")
	flag.Parse()
	if file := os.Getenv(roleVariable); file != "" {
		exitOn(play(file))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(soak(ctx, *length, *workers, *seed))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// quick makes everything happen often enough to be met in minutes: time-outs,
// circuits, and lists and tokens that run out.
var quick = strings.NewReplacer(
	"oauth:\n", "oauth:\n  timeout: 2s\n",
	"registry:\n", "registry:\n  refresh: 2s\n",
	"name: ebox-providers\n", "name: ebox-providers\n    timeouts: {connect: 1s, header: 2s, idle: 2s}\n    breaker: "+
		"{open: 1s}\n    concurrency: {max: 16, queue: 16, wait: 500ms}\n",
	"name: grant-citizen,", "name: grant-citizen, timeouts: {connect: 1s, header: 2s, idle: 2s}, breaker: {open: 1s},",
	"name: ebox-registry,", "name: ebox-registry, timeouts: {connect: 1s, header: 2s, idle: 2s}, breaker: {open: 1s},",
)

func soak(ctx context.Context, length time.Duration, workers int, seed uint64) error {
	dir, err := os.MkdirTemp("", "gateway-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	client, err := demo.NewClient(dir)
	if err != nil {
		return err
	}
	sim, err := simulator.Start(simulator.Options{ListenRegional: "127.0.0.1:0", Clients: []simulator.Client{client},
		TokenLifetime: 20 * time.Second})
	if err != nil {
		return err
	}
	defer sim.Close()
	file := filepath.Join(dir, "config.yaml")
	text := quick.Replace(demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	g, err := start(file)
	if err != nil {
		return err
	}
	defer g.Stop()

	l := newLoad(g.URL)
	if err := l.everythingOnce(ctx); err != nil {
		return err
	}
	fmt.Printf("seed %d\n", seed)
	before, err := g.settled(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Printf("before:           %s\n", before)

	loaded, end := context.WithTimeout(ctx, length)
	defer end()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { l.run(loaded, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	random := rand.New(rand.NewPCG(seed, 1<<32))
	wg.Go(func() { breakThings(loaded, sim, random) })
	wg.Go(func() { replace(loaded, file, text) })
	wg.Go(func() { report(loaded, g) })
	wg.Wait()
	sim.ClearFaults()
	l.close()

	if err := l.everythingOnce(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("after the faults: %w", err)
	}
	after, err := g.settled(context.WithoutCancel(ctx), &before)
	fmt.Printf("after:            %s\n", after)
	l.print()
	if err != nil {
		return err
	}
	return l.verdict()
}

// kinds are the ways in which upstreams break down.
var kinds = []simulator.Fault{
	{Kind: simulator.FaultReset}, {Kind: simulator.FaultClose}, {Kind: simulator.FaultFreeze},
	{Kind: simulator.FaultMalformed},
	{Kind: simulator.FaultSurplus}, {Kind: simulator.FaultSurplus, Delay: 10 * time.Millisecond},
	{Kind: simulator.FaultMalformedJSON}, {Kind: simulator.FaultTruncate, Bytes: 20}, {Kind: simulator.FaultUnauthorized},
	{Kind: simulator.FaultStatus, Status: 500}, {Kind: simulator.FaultStatus, Status: 503, RetryAfter: "2"},
	{Kind: simulator.FaultLatency, Delay: 300 * time.Millisecond}, {Kind: simulator.FaultLatency, Delay: time.Minute},
	{Kind: simulator.FaultSlowBody, Bytes: 32 << 10, Delay: 100 * time.Millisecond},
}

// breakThings breaks one upstream at a time, mends it and lets it rest, and now and
// then revokes every token or says that grant/citizen is down.
func breakThings(ctx context.Context, sim *simulator.Simulator, r *rand.Rand) {
	upstreams := []string{
		simulator.UpstreamToken, simulator.UpstreamRegistry, simulator.UpstreamGrant,
		simulator.ProviderUpstream("nsso"), simulator.ProviderUpstream("regional"), "*",
	}
	for ctx.Err() == nil {
		f := kinds[r.IntN(len(kinds))]
		f.Upstream = upstreams[r.IntN(len(upstreams))]
		if _, err := sim.Fault(f); err != nil {
			panic(err) // a kind that does not exist
		}
		pause(ctx, time.Duration(500+r.IntN(2500))*time.Millisecond)
		sim.ClearFaults()
		switch r.IntN(8) {
		case 0:
			sim.RevokeTokens()
		case 1:
			sim.SetGrantHealth(false)
		default:
			sim.SetGrantHealth(true)
		}
		pause(ctx, time.Duration(500+r.IntN(1500))*time.Millisecond)
	}
	sim.SetGrantHealth(true)
}

// replace changes the configuration every few seconds: what is in it comes and goes.
func replace(ctx context.Context, file, text string) {
	variants := []string{
		text,
		strings.Replace(text, "name: With a mandate}", "name: Renamed}", 1),
		strings.Replace(text, "breaker: {open: 1s}", "breaker: {open: 2s}", 1),
		strings.Replace(text, "oauth:\n  timeout: 2s", "oauth:\n  timeout: 3s", 1),
		strings.Replace(text, "routes:", "routing:", 1), // is refused
		strings.Replace(text, "refresh: 2s", "refresh: 3s", 1),
	}
	for i := 1; pause(ctx, 7*time.Second); i++ {
		write(file, variants[i%len(variants)])
	}
	write(file, text)
}

// write replaces the file in one step.
func write(file, text string) {
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err == nil {
		_ = os.Rename(file+".new", file)
	}
}

// report prints how the gateway stands, every minute.
func report(ctx context.Context, g running) {
	began := time.Now()
	for pause(ctx, time.Minute) {
		if now, err := g.holdings(); err == nil {
			fmt.Printf("after %10s: %s\n", time.Since(began).Round(time.Second), now)
		}
	}
}

// pause reports whether ctx is still going on after d.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
