package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

func cacheCommand() command {
	return command{
		name: "cache", usage: "cache purge --enterprise NUMBER | --route NAME | --all [--config config.yaml] [--admin " +
			"URL] [--token-file FILE]",
		summary: "drop stored answers of a running gateway and its replicas",
		about: `
What is dropped is asked for anew when it is next needed; requests that are under
way bring nothing of it back. Other replicas follow within a second, if they share
a Redis. From another machine the admin listener wants the token of admin.tokenFile.`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			if len(args) == 0 || args[0] != "purge" {
				if len(args) > 0 && strings.HasPrefix(args[0], "-") {
					return parseNone(flags, args) // help, or a flag before its word
				}
				return usageError{`say what to do with it: "cache purge"`}
			}
			enterprise := flags.String("enterprise", "", "the CBE `number` of the enterprise whose answers are dropped")
			route := flags.String("route", "", "the `name` of the route whose answers are dropped")
			all := flags.Bool("all", false, "drop everything")
			admin := addAdminFlags(flags)
			if err := parseNone(flags, args[1:]); err != nil {
				return err
			}
			query := make(url.Values)
			if *enterprise != "" {
				query.Set("enterprise", *enterprise)
			}
			if *route != "" {
				query.Set("route", *route)
			}
			if *all {
				query.Set("all", "true")
			}
			if len(query) != 1 {
				return usageError{"give exactly one of --enterprise, --route and --all"}
			}
			gateways, err := admin.connect(p)
			if err != nil {
				return err
			}
			for _, g := range gateways {
				if err := g.do(p.ctx, http.MethodPost, "/cache/purge?"+query.Encode()); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(p.stdout, "dropped")
			return err
		},
	}
}
