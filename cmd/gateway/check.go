package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/operate/remote"
	"ebox-gateway/internal/operate/status"
)

func checkCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "check the configuration, with --online also everything it leads to",
		Long: `Without --online nothing leaves the machine: the file, the files it names and the
keys are read, and an empty folder is made and removed where evidence and logs are to
be written. Run it as the gateway's user. With --online a token is asked for every client and set of scopes,
the registry for its list, and each upstream whether it answers, without a token
and without touching an e-Box: DNS, TCP, TLS and the clock on the way, the egress
proxy, Redis, and each provider that the registry names. Each row has the reason of
its failure and, after an arrow, what to do. The exit code is 1 if a row failed.`,
	}
	flags := c.Flags()
	path := configFlag(flags)
	online := flags.Bool("online", false, "also try keys, tokens, registry and upstreams")
	asJSON := flags.Bool("json", false, "print one JSON object for programs instead")
	c.RunE = func(_ *cobra.Command, _ []string) error {
		cfg, g, err := buildGateway(p, *path)
		var mistakes config.Errors
		if *asJSON && errors.As(err, &mistakes) {
			return reportChecks(p, mistaken(mistakes), "", true)
		}
		if err != nil && cfg == nil {
			return err
		}
		checks := preflight.Offline(cfg, time.Now(), runningAt(p, *path))
		if err != nil && !slices.ContainsFunc(checks, func(c preflight.Check) bool {
			return c.Result == preflight.Failed && strings.HasSuffix(err.Error(), c.Detail)
		}) {
			checks = append(checks, preflight.Check{
				Part: "start", Detail: err.Error(),
				Advice: "the gateway does not start like this",
			})
		}
		checks = append(checks, preflight.ClosedToService(cfg, serviceUnit)...)
		if *online && err == nil {
			ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
			defer cancel()
			checks = append(checks, preflight.Online(ctx, g.View(), preflight.Patience)...)
		}
		title := fmt.Sprintf("%s: well-formed (environment %s, %s, %s, %s)",
			*path, cfg.Environment, counted(len(cfg.Routes), "route"), counted(len(cfg.Tenancy.Enterprises), "enterprise"),
			counted(len(cfg.Callers), "caller"))
		return reportChecks(p, checks, title, *asJSON)
	}
	return c
}

// reportChecks writes a table below its title, or {"failed": 0, "checks": […]}. It fails if a
// check did.
func reportChecks(p *process, checks []preflight.Check, title string, asJSON bool) error {
	failed := 0
	for _, c := range checks {
		if c.Result == preflight.Failed {
			failed++
		}
	}
	if asJSON {
		out := newJSON(p.stdout)
		out.SetIndent("", "  ")
		if err := out.Encode(map[string]any{"failed": failed, "checks": checks}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.stdout, "%s\n\n", title)
		printChecks(p.stdout, checks)
	}
	switch {
	case failed == 0:
		return nil
	case !asJSON:
		fmt.Fprintf(p.stdout, "\n%d of %d failed\n", failed, len(checks))
	}
	return errReported
}

// mistaken has a check for each mistake of a configuration.
func mistaken(list config.Errors) (checks []preflight.Check) {
	for _, m := range list {
		c := preflight.Check{Part: "configuration", Where: m.File, Detail: m.Message}
		if m.Line > 0 {
			c.Where = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
		}
		if m.Path != "" {
			c.Detail = m.Path + ": " + m.Message
		}
		checks = append(checks, c)
	}
	return checks
}

// runningAt reports whether the gateway that runs with this configuration has a listener:
// its admin listener is asked once, when it first matters.
func runningAt(p *process, path string) func(config.Listener) bool {
	ports := sync.OnceValue(func() map[string]bool {
		open := make(map[string]bool)
		gateways, err := remote.Find(remote.Options{Config: path, Lookup: p.lookup, Patience: p.patience})
		var s status.Status
		if err != nil || gateways[0].Ask(p.ctx, http.MethodGet, "/status", &s) != nil {
			return open
		}
		for _, address := range slices.Concat(s.Listeners.Internal, s.Listeners.Admin) {
			_, port, _ := net.SplitHostPort(address)
			open[port] = true
		}
		return open
	})
	return func(l config.Listener) bool {
		_, port, _ := net.SplitHostPort(l.Address)
		return ports()[port]
	}
}

// printChecks writes the table, and what to do below each row that needs it.
func printChecks(w io.Writer, checks []preflight.Check) {
	table := newTable(w)
	fmt.Fprintln(table, "RESULT\tWHAT\tWHERE\tTIME\tDETAIL")
	for _, c := range checks {
		word := c.Result.String()
		if c.Result == preflight.Failed {
			word = "FAILED"
		}
		took := ""
		if c.Took > 0 {
			took = c.Took.Round(100 * time.Microsecond).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", word, c.Part, c.Where, took, c.Detail)
		if c.Advice != "" {
			fmt.Fprintf(table, "\t\t\t\t→ %s\n", c.Advice)
		}
	}
	_ = table.Flush() // what standard output does not take is lost either way
}
