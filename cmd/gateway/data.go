package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/operate/resting"
)

func dataCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "data", Short: "list every place where data rests in this configuration",
		Long: "For the register of processing activities: what rests where, encrypted or not, for how " +
			"long, and how it is erased.",
	}
	flags := c.Flags()
	path := configFlag(flags)
	c.RunE = func(_ *cobra.Command, _ []string) error {
		cfg, err := loadConfig(p, *path)
		if err != nil {
			return err
		}
		// One below the other: side by side they fit on no screen and no page.
		for i, at := range resting.Places(cfg) {
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			fmt.Fprintf(p.stdout, "%s\n  where      %s\n  encrypted  %s\n  how long   %s\n  erased     %s\n", at.What, at.Where,
				at.Encrypted, at.HowLong, at.Erased)
		}
		return nil
	}
	return c
}
