package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/preflight"
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
		Args: noArguments,
	}
	flags := c.Flags()
	path := configFlag(flags)
	online := flags.Bool("online", false, "also try keys, tokens, registry and upstreams")
	asJSON := flags.Bool("json", false, "print one JSON object for programs instead")
	c.RunE = func(_ *cobra.Command, _ []string) error {
		cfg, g, err := buildGateway(p, *path)
		var mistakes config.Errors
		if *asJSON && errors.As(err, &mistakes) {
			return printChecksJSON(p.stdout, mistaken(mistakes))
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
		checks = append(checks, closedToService(cfg)...)
		if *online && err == nil {
			ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
			defer cancel()
			checks = append(checks, preflight.Online(ctx, g.View())...)
		}
		if *asJSON {
			return printChecksJSON(p.stdout, checks)
		}
		fmt.Fprintf(p.stdout, "%s: well-formed (environment %s, %s, %s, %s)\n\n",
			*path, cfg.Environment, counted(len(cfg.Routes), "route"), counted(len(cfg.Tenancy.Enterprises), "enterprise"),
			counted(len(cfg.Callers), "caller"))
		if failed := printChecks(p.stdout, checks); failed > 0 {
			fmt.Fprintf(p.stdout, "\n%d of %d failed\n", failed, len(checks))
			return errReported
		}
		return nil
	}
	return c
}

// closedToService has a check for each file that root, who runs this, can read and the
// user of the service cannot: after its next start the service would be without it.
func closedToService(cfg *config.Config) (checks []preflight.Check) {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := readUnit(serviceUnit)
	if err != nil {
		return nil // there is no service here
	}
	uid, _, groups, err := u.ids()
	if err != nil || uid == 0 {
		return nil
	}
	for _, file := range cfg.Files() {
		if closed := closedTo(file, uid, groups); closed != "" {
			checks = append(checks, preflight.Check{
				Part: "rights", Where: file, Detail: "root can read it, and the service's user " + u.user +
					" cannot, because of " + closed,
				Advice: "chgrp " + u.group + " it and chmod g+r (g+rx for a folder); \"gateway as-service check\" " +
					"sees what the service sees",
			})
		}
	}
	return checks
}

// closedTo is the file, or the folder above it, that keeps a user from reading; empty if
// none does. Files that are not there are no matter of rights.
func closedTo(file string, uid int, groups []int) string {
	need := uint32(4) // read; of a folder, search
	for {
		info, err := os.Stat(file)
		if err != nil {
			return ""
		}
		mode, owner := uint32(info.Mode().Perm()), info.Sys().(*syscall.Stat_t)
		switch {
		case int(owner.Uid) == uid:
			mode >>= 6
		case slices.Contains(groups, int(owner.Gid)):
			mode >>= 3
		}
		if mode&need == 0 {
			return file
		}
		parent := filepath.Dir(file)
		if parent == file {
			return ""
		}
		file, need = parent, 1
	}
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

// runningAt tells whether the gateway that runs with this configuration has a listener:
// its admin listener is asked once, when it first matters.
func runningAt(p *process, path string) func(config.Listener) bool {
	ports := sync.OnceValue(func() map[string]bool {
		open := make(map[string]bool)
		none := ""
		quiet := *p
		quiet.stdout, quiet.stderr = io.Discard, io.Discard
		gateways, err := adminFlags{&path, &none, &none}.connect(&quiet)
		var s status.Status
		if err != nil || gateways[0].ask(p.ctx, http.MethodGet, "/status", &s) != nil {
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

// printChecks writes the table, what to do below each row that needs it, and counts
// what failed.
func printChecks(w io.Writer, checks []preflight.Check) (failed int) {
	table := newTable(w)
	fmt.Fprintln(table, "RESULT\tWHAT\tWHERE\tTIME\tDETAIL")
	for _, c := range checks {
		word := c.Result.String()
		if c.Result == preflight.Failed {
			word = "FAILED"
			failed++
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
	return failed
}

// printChecksJSON writes {"failed": 0, "checks": […]}.
func printChecksJSON(w io.Writer, checks []preflight.Check) error {
	failed := 0
	for _, c := range checks {
		if c.Result == preflight.Failed {
			failed++
		}
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(map[string]any{"failed": failed, "checks": checks}); err != nil {
		return err
	}
	if failed > 0 {
		return errReported
	}
	return nil
}
