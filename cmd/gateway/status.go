package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/operate/remote"
	"ebox-gateway/internal/operate/status"
)

func statusCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "show how a running gateway is doing: what needs attention, providers, tokens, certificates",
		Long: `The essence of the page in a terminal. The exit code is 1 if the gateway is not ready, or
if something fails; --json prints what /status answers.`,
	}
	flags := c.Flags()
	watching := flags.Bool("watch", false, "show it anew every two seconds")
	asJSON := flags.Bool("json", false, "print the whole status as JSON")
	admin := addAdminFlags(flags)
	c.RunE = func(*cobra.Command, []string) error {
		ctx, stop := p.untilSignal()
		defer stop()
		for {
			if *watching && !*asJSON {
				fmt.Fprint(p.stdout, "\x1b[H\x1b[2J") // from the top of an empty screen
			}
			well := true
			err := admin.each(p, func(g *remote.Gateway) error {
				fine, err := showStatus(ctx, p.stdout, g, *asJSON)
				well = well && fine
				return err
			})
			switch {
			case ctx.Err() != nil:
				return nil
			case *watching && err != nil:
				fmt.Fprintln(p.stdout, err)
			case !*watching && err == nil && !well:
				return errReported
			case !*watching:
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
		}
	}
	return c
}

// showStatus prints how one gateway is doing, and reports whether it is well.
func showStatus(ctx context.Context, w io.Writer, g *remote.Gateway, asJSON bool) (well bool, err error) {
	var raw json.RawMessage
	if err := g.Ask(ctx, http.MethodGet, "/status", &raw); err != nil {
		return false, err
	}
	var s status.Status
	if err := json.Unmarshal(raw, &s); err != nil || s.StartedAt.IsZero() {
		return false, g.Foreign()
	}
	well = s.Ready
	for _, item := range s.Attention {
		well = well && item.Severity != "down" && item.Severity != "failing"
	}
	if asJSON {
		_, err := fmt.Fprintf(w, "%s\n", raw)
		return well, err
	}
	return well, printStatus(w, g.Base, s)
}

func printStatus(w io.Writer, base string, s status.Status) error {
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY"
	}
	fmt.Fprintf(w, "%s  %s, %s  %s, version %s, up %s\n", base, s.Health, ready, s.Environment, s.Version,
		s.Now.Sub(s.StartedAt).Round(time.Second))
	table := newTable(w)
	if len(s.Attention) > 0 {
		fmt.Fprintln(table, "\nATTENTION\tWHAT\tWHY")
	}
	for _, a := range s.Attention {
		fmt.Fprintf(table, "%s\t%s\t%s\n", a.Severity, a.Part, a.Text)
		if a.Remedy != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", a.Remedy)
		}
		if a.Runbook != "" {
			fmt.Fprintf(table, "\t\t→ %s%s\n", base, a.Runbook)
		}
	}
	if r := s.Configuration.Rejected; r != nil {
		fmt.Fprintf(table, "\nA configuration was not taken at %s UTC:\n", r.At.UTC().Format(time.DateTime))
		for _, e := range r.Errors {
			fmt.Fprintf(table, "  %s\n", strings.ReplaceAll(e, "\n", "\n  "))
		}
	}
	fmt.Fprintln(table, "\nPROVIDER\tSTATE\tCIRCUIT\tURL")
	for _, p := range s.Directory.Providers {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", p.ID, p.State, p.Circuit, p.Base)
	}
	fmt.Fprintln(table, "\nCLIENT\tKEY\tCERTIFICATE\tCLOCK\tTOKENS")
	for _, c := range s.Clients {
		key, certificate, clock := "none", "", ""
		if c.Key != nil {
			key = c.Key.State
			if c.Key.DaysLeft != nil {
				certificate = fmt.Sprintf("%d days left", *c.Key.DaysLeft)
				if *c.Key.DaysLeft < 0 {
					certificate = "ended " + c.Key.NotAfter.UTC().Format("2006-01-02, 15:04 MST")
				}
			}
		}
		if c.Pending != nil {
			key += ", a new one waits"
		}
		if c.Clock != nil {
			clock = fmt.Sprintf("server %+.1f s", c.Clock.AheadSeconds)
		}
		good := 0
		for _, t := range c.Tokens {
			if t.Hash != "" {
				good++
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\n", c.Name, key, certificate, clock, good)
		for _, t := range c.Tokens {
			if t.Error != nil {
				fmt.Fprintf(table, "\t%s\t\t\tnext try %s UTC\n", t.Error.Code, t.Error.Until.UTC().Format(time.TimeOnly))
			}
		}
	}
	fmt.Fprintf(table, "\n%d enterprises, %d suspended, %d refused upstream; list of providers %s old\n",
		s.Tenancy.Enterprises, s.Tenancy.Suspended, s.Refused.Total, time.Duration(s.Directory.AgeSeconds)*time.Second)
	return table.Flush()
}
