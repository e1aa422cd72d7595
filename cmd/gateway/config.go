package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/telemetry"
)

// configFlag is the flag that every command with a configuration has.
func configFlag(flags *pflag.FlagSet) *string {
	return flags.String("config", cmp.Or(os.Getenv(configVariable), "config.yaml"), "the configuration `file`")
}

// loadConfig reads the configuration and words what is wrong with it.
func loadConfig(p *process, path string) (*config.Config, error) {
	cfg, err := config.Load(path, p.lookup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w\nGive the file with --config, or start from the config.yaml of the repository", err)
	}
	return cfg, err
}

// buildGateway builds a gateway that logs nothing, for commands that look at one. If that
// fails, the configuration is returned with the error: its files can be looked at all the same.
func buildGateway(p *process, path string) (*config.Config, *gateway.Gateway, error) {
	cfg, err := loadConfig(p, path)
	if err != nil {
		return nil, nil, err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: version()})
	return cfg, g, err
}

// serving are the options of a gateway that serves: with the logs that the configuration asks for, on
// standard error, the program's and that of requests, of one level that can be set while they are
// written.
func serving(p *process, cfg *config.Config) (o gateway.Options, err error) {
	o.Version, o.Level = version(), new(slog.LevelVar)
	if err := o.Level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return o, err
	}
	w := telemetry.Locked(p.stderr)
	o.Done = telemetry.NewAccessLog(w, string(cfg.Log.Format), o.Level).Done
	o.Log, err = telemetry.NewLogger(w, string(cfg.Log.Format), o.Level)
	return o, err
}
