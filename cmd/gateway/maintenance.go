package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/operate/remote"
)

func maintenanceCommand(p *process) *cobra.Command {
	const short = "switch a provider, or the whole gateway, to maintenance"
	c := maintenanceSwitch(p, "maintenance", http.MethodGet, short)
	c.AddCommand(maintenanceSwitch(p, "list", http.MethodGet, "show what is switched to maintenance"),
		maintenanceSwitch(p, "begin", http.MethodPost, "switch to maintenance for a time"),
		maintenanceSwitch(p, "end", http.MethodDelete, "end a maintenance before its time"))
	c.Long = `A provider in maintenance gets no calls; callers get 503 with Retry-After at its end,
and /ebox/providers shows it. With --gateway that is so for every request, while
/readyz stays 200. It ends by itself, or by "end". The reason is for colleagues;
callers do not see it.

Replicas that share a Redis follow within two seconds, and a restart keeps the
switch. Without Redis each replica has its own: name all of their admin listeners,
with commas. From another machine they want the token of admin.tokenFile.`
	return c
}

func maintenanceSwitch(p *process, name, method, short string) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short}
	flags := c.Flags()
	admin := addAdminFlags(flags)
	var provider, reason string
	var whole bool
	var last time.Duration
	if method != http.MethodGet {
		flags.StringVar(&provider, "provider", "", "the `id` of the Document Provider")
		flags.BoolVar(&whole, "gateway", false, "the whole gateway")
		c.MarkFlagsOneRequired("provider", "gateway")
		c.MarkFlagsMutuallyExclusive("provider", "gateway")
	}
	if method == http.MethodPost {
		flags.DurationVar(&last, "for", 0, "how long it lasts, at most 168h (`time`)")
		flags.StringVar(&reason, "reason", "", "a word for colleagues (`text`)")
	}
	c.RunE = func(*cobra.Command, []string) error {
		query := make(url.Values)
		if provider != "" {
			query.Set("provider", provider)
		}
		if whole {
			query.Set("gateway", "true")
		}
		if method == http.MethodPost {
			if last <= 0 {
				return usageError{"say how long it lasts: --for 2h"}
			}
			query.Set("for", last.String())
		}
		if reason != "" {
			query.Set("reason", reason)
		}
		return admin.each(p, func(g *remote.Gateway) error { return maintain(p, method, g, query) })
	}
	return c
}

// maintain asks one admin listener and prints what is switched there after it.
func maintain(p *process, method string, g *remote.Gateway, query url.Values) error {
	path := "/maintenance"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var list struct{ Items *[]admin.Maintenance }
	if err := g.Ask(p.ctx, method, path, &list); err != nil {
		return err
	}
	if list.Items == nil {
		return g.Foreign()
	}
	if len(*list.Items) == 0 {
		_, err := fmt.Fprintf(p.stdout, "%s: nothing is switched to maintenance\n", g.Base)
		return err
	}
	fmt.Fprintf(p.stdout, "%s: in maintenance\n", g.Base)
	table := newTable(p.stdout)
	for _, m := range *list.Items {
		what := "the whole gateway"
		if !m.Gateway {
			what = "provider " + m.Provider
		}
		fmt.Fprintf(table, "  %s\tuntil %s\tby %s\t%s\n", what, m.Until.UTC().Format("2006-01-02 15:04:05 MST"),
			m.By, m.Reason)
	}
	return table.Flush()
}
