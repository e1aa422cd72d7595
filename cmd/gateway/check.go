package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"ebox-gateway/internal/gateway"
)

func checkCommand() command {
	return command{
		name: "check", usage: "check [--config config.yaml] [--online]", summary: "check the configuration, with --online also everything it leads to",
		about: `
Without --online nothing leaves the machine: the file, the files it names and the
keys are read. With --online a token is asked for every client and set of scopes,
the registry for its list, and each upstream whether it answers, without a token
and without touching an e-Box.`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			path := configFlag(flags)
			online := flags.Bool("online", false, "also try keys, tokens, registry and upstreams")
			if err := parseNone(flags, args); err != nil {
				return err
			}
			cfg, g, err := buildGateway(p, *path)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s: well-formed (environment %s, %d routes, %d enterprises, %d callers)\n\n",
				*path, cfg.Environment, len(cfg.Routes), len(cfg.Tenancy.Enterprises), len(cfg.Callers))
			checks := gateway.CheckKeys(cfg, time.Now())
			if *online {
				ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
				defer cancel()
				checks = g.CheckOnline(ctx)
			}
			if failed := printChecks(p.stdout, checks); failed > 0 {
				fmt.Fprintf(p.stdout, "\n%d of %d failed\n", failed, len(checks))
				return errReported
			}
			return nil
		},
	}
}

// printChecks writes the table and counts what failed.
func printChecks(w io.Writer, checks []gateway.Check) (failed int) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		word := "ok"
		switch {
		case !c.OK:
			word = "FAILED"
			failed++
		case c.Warning:
			word = "warning"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", word, c.Part, c.Detail)
	}
	_ = table.Flush() // what standard output does not take is lost either way
	return failed
}
