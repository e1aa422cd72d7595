package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"ebox-gateway/internal/config"
)

func schemaCommand() command {
	return command{
		name: "schema", usage: "schema", summary: "print the JSON Schema of config.yaml, for editors",
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			if err := parseNone(flags, args); err != nil {
				return err
			}
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(schema)
			return err
		},
	}
}

func versionCommand() command {
	return command{
		name: "version", usage: "version", summary: "print the version, and that of Go, whose patch " +
			"level matters for security",
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			if err := parseNone(flags, args); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stdout, "ebox-gateway %s, %s, %s/%s\n", version(), runtime.Version(),
				runtime.GOOS, runtime.GOARCH)
			return err
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

func healthcheckCommand() command {
	return command{
		name: "healthcheck", usage: "healthcheck [--config config.yaml] [--url http://127.0.0.1:9090/readyz]",
		summary: "ask a running gateway whether it is ready, for containers without a shell",
		about: `
Without --url the admin listener is that of the configuration. The answer has to be the
gateway's own, {"status": "UP"}: a 200 of something else that listens there is a failure.`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			admin := adminFlags{configFlag(flags), flags.String("url", "", "what to ask"), new(string)}
			if err := parseNone(flags, args); err != nil {
				return err
			}
			path := ""
			if *admin.address == "" {
				path = "/readyz"
			}
			gateways, err := admin.connect(p)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(p.ctx, 3*time.Second)
			defer cancel()
			var health struct{ Status, Reason string }
			if err := gateways[0].ask(ctx, http.MethodGet, path, &health); err != nil {
				return err
			}
			if health.Status != "UP" && health.Status != "DEGRADED" {
				return errors.New("the answer is not a gateway's: something else listens there")
			}
			return nil
		},
	}
}
