package main

import (
	"github.com/spf13/cobra"

	"ebox-gateway/internal/operate/systemd"
)

// configVariable is the environment variable that says where the configuration is, if no
// --config does.
const configVariable = "EBOX_GATEWAY_CONFIG"

// serviceUnit is where the unit of the service is; a test has another place.
var serviceUnit = "/etc/systemd/system/ebox-gateway.service"

func asServiceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "as-service COMMAND [ARGUMENT …]",
		Short: "run another command as the service runs: its user, its environment, its configuration",
		Long: `As root: the user, the environment files, the limit of open files and the configuration
are those of the systemd unit, so that the command sees what the service will see after
its next start. A file that it can read, the service can.`,
		Example: `  sudo gateway as-service check
  sudo gateway as-service token --keystore /etc/ebox-gateway/new.p12`,
		Args: cobra.MinimumNArgs(1),
	}
	c.Flags().SetInterspersed(false) // what follows the command is the command's
	file := c.Flags().String("unit", serviceUnit, "the systemd unit `file`")
	c.RunE = func(_ *cobra.Command, args []string) error {
		u, err := systemd.ReadUnit(*file)
		if err != nil {
			return err
		}
		return u.Run(args, configVariable)
	}
	return c
}
