package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func cacheCommand(p *process) *cobra.Command {
	purge := &cobra.Command{
		Use: "purge", Short: "drop the stored answers of an enterprise, of a route, or all",
		Long: `What is dropped is asked for anew when it is next needed; requests that are under
way bring nothing of it back. Other replicas follow within a second, if they share
a Redis. From another machine the admin listener wants the token of admin.tokenFile.`,
	}
	flags := purge.Flags()
	enterprise := flags.String("enterprise", "", "the CBE `number` of the enterprise whose answers are dropped")
	route := flags.String("route", "", "the `name` of the route whose answers are dropped")
	all := flags.Bool("all", false, "drop everything")
	purge.MarkFlagsOneRequired("enterprise", "route", "all")
	purge.MarkFlagsMutuallyExclusive("enterprise", "route", "all")
	admin := addAdminFlags(flags)
	purge.RunE = func(*cobra.Command, []string) error {
		query := make(url.Values)
		switch {
		case *enterprise != "":
			query.Set("enterprise", *enterprise)
		case *route != "":
			query.Set("route", *route)
		case *all:
			query.Set("all", "true")
		default:
			return usageError{"an empty --enterprise or --route means nothing"}
		}
		return admin.change(p, "/cache/purge?"+query.Encode(), func(string) { fmt.Fprintln(p.stdout, "dropped") })
	}
	return group("cache", "drop stored answers of a running gateway and its replicas", purge)
}
