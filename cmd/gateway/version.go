package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"ebox-gateway/internal/config"
)

func schemaCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of config.yaml, for editors",
		RunE: func(*cobra.Command, []string) error {
			_, err := p.stdout.Write(config.Schema())
			return err
		},
	}
}

func versionCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version, and that of Go, whose patch level matters for security",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.stdout, "ebox-gateway %s%s\n", version(), builtBy())
			return err
		},
	}
}

// builtBy says what the program was built with, and for which machine.
func builtBy() string {
	return fmt.Sprintf(", %s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func manCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use: "man [DIR]", Short: "print the manual page, or write one for each command into a directory",
		Example: "  gateway man | man -l -\n  sudo gateway man /usr/local/share/man/man1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			header := &doc.GenManHeader{Section: "1", Source: "ebox-gateway", Manual: "The e-Box gateway"}
			if len(args) == 0 {
				return doc.GenMan(c.Root(), header, p.stdout)
			}
			return doc.GenManTree(c.Root(), header, args[0])
		},
	}
}

// release is set by the linker when an image is built, where no history is at hand.
var release string

// version is the release, the module's version, or the commit that it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "development"
}
