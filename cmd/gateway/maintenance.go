package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"ebox-gateway/internal/admin"
)

func maintenanceCommand() command {
	return command{
		name: "maintenance", usage: "maintenance [list | begin | end] [--provider ID | --gateway] [--for 2h] [--reason " +
			"TEXT] [--config config.yaml] [--admin URL[,URL]] [--token-file FILE]",
		summary: "switch a provider, or the whole gateway, to maintenance",
		about: `
"begin" needs --for, at most 168h: it ends by itself, or by "end". A provider in
maintenance gets no calls; callers get 503 with Retry-After at its end, and
/ebox/providers shows it. With --gateway that is so for every request, while
/readyz stays 200. The reason is for colleagues; callers do not see it.

Replicas that share a Redis follow within two seconds, and a restart keeps the
switch. Without Redis each replica has its own: name all of their admin listeners,
with commas. From another machine they want the token of admin.tokenFile.`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			provider := flags.String("provider", "", "the `id` of the Document Provider")
			whole := flags.Bool("gateway", false, "the whole gateway")
			last := flags.Duration("for", 0, "how long it lasts, at most 168h (`time`)")
			reason := flags.String("reason", "", "a word for colleagues (`text`)")
			admin := addAdminFlags(flags)
			rest, err := parse(flags, args)
			if err != nil {
				return err
			}
			what := "list"
			if len(rest) == 1 {
				what = rest[0]
			}
			method, ok := map[string]string{"list": http.MethodGet, "begin": http.MethodPost, "end": http.MethodDelete}[what]
			if !ok || len(rest) > 1 {
				return usageError{fmt.Sprintf(`say one of "list", "begin" and "end", not %q`, strings.Join(rest, " "))}
			}
			query := make(url.Values)
			if what != "list" {
				if (*provider != "") == *whole {
					return usageError{"give exactly one of --provider and --gateway"}
				}
				if *whole {
					query.Set("gateway", "true")
				} else {
					query.Set("provider", *provider)
				}
			}
			if what == "begin" {
				if *last <= 0 {
					return usageError{"say how long it lasts: --for 2h"}
				}
				query.Set("for", last.String())
				if *reason != "" {
					query.Set("reason", *reason)
				}
			}
			var failed []error
			gateways, err := admin.connect(p)
			if err != nil {
				return err
			}
			for _, g := range gateways {
				if err := maintain(p, method, g, query); err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", g.base, err))
				}
			}
			return errors.Join(failed...)
		},
	}
}

// maintain asks one admin listener and prints what is switched there after it.
func maintain(p *process, method string, g administration, query url.Values) error {
	path := "/maintenance"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var list struct{ Items *[]admin.Maintenance }
	if err := g.ask(p.ctx, method, path, &list); err != nil {
		return err
	}
	if list.Items == nil {
		return errors.New("it does not answer as a gateway's admin listener does: something else listens there")
	}
	if len(*list.Items) == 0 {
		_, err := fmt.Fprintf(p.stdout, "%s: nothing is switched to maintenance\n", g.base)
		return err
	}
	fmt.Fprintf(p.stdout, "%s: in maintenance\n", g.base)
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
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
