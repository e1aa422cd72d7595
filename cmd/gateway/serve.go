package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/operate/systemd"
	"ebox-gateway/internal/telemetry"
)

func serveCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "run the gateway",
		Long: `SIGTERM or SIGINT stops it in order: not ready at once, everything served for
server.drain.delay, then server.drain.timeout for what is under way. A second
signal ends it at once.

A change of the configuration, or of a file that it names, is noticed within
seconds, SIGHUP asks for it now. A configuration with a mistake is not taken, nor
one that drops more than 5 % of the enterprises or of the suspensions, unless SIGHUP
confirms it. SIGHUP also asks at once for tokens that were refused.`,
	}
	flags := c.Flags()
	path := configFlag(flags)
	c.RunE = func(_ *cobra.Command, _ []string) error {
		cfg, err := loadConfig(p, *path)
		if err != nil {
			return err
		}
		o, err := serving(p, cfg)
		if err != nil {
			return err
		}
		log := o.Log
		telemetry.TakeStandardLog(log)
		memory.TuneCollector(log)
		for _, c := range slices.Concat(preflight.Rights(cfg), preflight.Descriptors(cfg)) {
			log.Warn(c.Detail + ": " + c.Advice)
		}
		for _, w := range cfg.Warnings() {
			log.Warn("a value of the configuration looks like a slip", "file", w.File, "line", w.Line, "key", w.Path,
				"what", w.Message)
		}
		o.Load = func() (*config.Config, error) { return loadConfig(p, *path) }
		g, err := gateway.New(cfg, o)
		if err != nil {
			return err
		}
		if err := g.Start(); err != nil {
			return err
		}
		for _, a := range g.Addrs() {
			log.Info("listening", "address", a.String(), "for", "callers")
		}
		for _, a := range g.AdminAddrs() {
			log.Info("listening", "address", a.String(), "for", "administration")
		}
		systemd.Notify("READY=1")
		return watched(p.ctx, g, log)
	}
	return c
}

// lookInterval is the time between two looks at the files of the configuration.
const lookInterval = 2 * time.Second

// watched serves and follows the files of the configuration.
func watched(ctx context.Context, g *gateway.Gateway, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { g.Watch(watching, lookInterval, hup) })
	defer wg.Wait()
	defer stop()
	return serve(ctx, g, log)
}

// serve runs the gateway until the first signal and drains it until the second.
func serve(ctx context.Context, g *gateway.Gateway, log *slog.Logger) error {
	stop, cancelStop := context.WithCancel(ctx)
	defer cancelStop()
	cut, cancelCut := context.WithCancel(context.Background())
	defer cancelCut()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for _, end := range []context.CancelFunc{cancelStop, cancelCut} {
			select {
			case s := <-signals:
				log.Info("stopping", "signal", s.String())
				systemd.Notify("STOPPING=1")
				end()
			case <-done:
				return
			}
		}
	}()
	return g.Run(stop, cut)
}
