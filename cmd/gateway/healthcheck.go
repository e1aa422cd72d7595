package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/operate/remote"
)

func healthcheckCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "healthcheck", Short: "ask a running gateway whether it is ready, for containers without a shell",
		Long: `Without --url the admin listener is that of the configuration. The answer has to be the
gateway's own, {"status": "UP"}: a 200 of something else that listens there is a failure.`,
	}
	flags := c.Flags()
	admin := adminFlags{configFlag(flags), flags.String("url", "", "what to ask"), new(string)}
	c.RunE = func(_ *cobra.Command, _ []string) error {
		path := ""
		if *admin.address == "" {
			path = "/readyz"
		}
		return admin.each(p, func(g *remote.Gateway) error {
			var health struct{ Status, Reason string }
			if err := g.Ask(p.ctx, http.MethodGet, path, &health); err != nil {
				return err
			}
			if health.Status != "UP" && health.Status != "DEGRADED" {
				return g.Foreign()
			}
			return nil
		})
	}
	return c
}
