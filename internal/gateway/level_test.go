package gateway_test

import (
	"log/slog"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

func TestAReloadSetsTheLevelThatItChanges(t *testing.T) {
	sim, dir := lab.Simulator(t, simulator.Options{}), lab.Dir(t)
	with := func(level string) *config.Config {
		cfg, err := lab.Read(lab.Config(t, sim, "log: {format: text}", "log: {level: "+level+"}"), dir)
		testkit.Must(t, err)
		return cfg
	}
	level := new(slog.LevelVar)
	settable := lab.Run(t, with("info"), gateway.Options{Level: level, Log: slog.New(slog.DiscardHandler)})
	fixed := lab.Run(t, with("info"), gateway.Options{Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		before    slog.Level // set by the admin listener
		reloading string
		want      slog.Level
	}{
		{slog.LevelInfo, "debug", slog.LevelDebug},
		{slog.LevelWarn, "debug", slog.LevelWarn}, // as it was, with whatever else has changed
		{slog.LevelWarn, "error", slog.LevelError},
	} {
		level.Set(c.before)
		testkit.Must(t, settable.Replace(with(c.reloading), ""))
		testkit.Must(t, fixed.Replace(with(c.reloading), ""))
		if got := level.Level(); got != c.want {
			t.Errorf("%s after a reload that says %s, not %s", got, c.reloading, c.want)
		}
	}
}

func TestTheLogsSayThatTheyAreSilenced(t *testing.T) {
	cfg, err := lab.Read(lab.Config(t, lab.Simulator(t, simulator.Options{})), lab.Dir(t))
	testkit.Must(t, err)
	var log testkit.Log
	level := new(slog.LevelVar)
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})
	gw := lab.Run(t, cfg, gateway.Options{Level: level, Log: slog.New(handler)})
	for _, from := range []slog.Level{slog.LevelInfo, slog.LevelError} {
		for _, to := range []slog.Level{slog.LevelDebug, slog.LevelError} {
			level.Set(from)
			before := strings.Count(log.String(), "level="+to.String()+"\n")
			gw.Ask("POST", gw.Admin+"/log?level="+strings.ToLower(to.String()), nil)
			if n := strings.Count(log.String(), "level="+to.String()+"\n"); n != before+1 || level.Level() != to {
				t.Errorf("from %s to %s: said %d times, now %s", from, to, n-before, level.Level())
			}
		}
	}
}
