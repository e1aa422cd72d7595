package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"ebox-gateway/internal/gateway"
)

func serveCommand() command {
	return command{
		name: "serve", usage: "serve [--config config.yaml]", summary: "run the gateway",
		about: `
SIGTERM or SIGINT stops it in order: not ready at once, everything served for
server.drain.delay, then server.drain.timeout for what is under way. A second
signal ends it at once.`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			path := configFlag(flags)
			if err := parseNone(flags, args); err != nil {
				return err
			}
			cfg, err := loadConfig(p, *path)
			if err != nil {
				return err
			}
			log, access, err := newLogs(p, cfg)
			if err != nil {
				return err
			}
			g, err := gateway.New(cfg, gateway.Options{Log: log, Done: access.Done, Version: version()})
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
			return serve(p.ctx, g, log)
		},
	}
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
				end()
			case <-done:
				return
			}
		}
	}()
	return g.Run(stop, cut)
}
