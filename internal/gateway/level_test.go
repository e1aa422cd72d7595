package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
)

func TestAReloadSetsTheLevelThatItChanges(t *testing.T) {
	g := &Gateway{o: Options{Level: new(slog.LevelVar)}}
	with := func(level config.LogLevel) *config.Config { return &config.Config{Log: config.Log{Level: level}} }
	g.takeLevel(with("info"), with("debug"))
	if g.o.Level.Level() != slog.LevelDebug {
		t.Errorf("it is %s after a reload that says debug", g.o.Level.Level())
	}
	g.o.Level.Set(slog.LevelWarn) // by the admin listener
	g.takeLevel(with("debug"), with("debug"))
	if g.o.Level.Level() != slog.LevelWarn {
		t.Errorf("a reload that changes something else made it %s", g.o.Level.Level())
	}
	g.takeLevel(with("debug"), with("error"))
	if g.o.Level.Level() != slog.LevelError {
		t.Errorf("it is %s after a reload that says error", g.o.Level.Level())
	}
	(&Gateway{}).takeLevel(with("info"), with("debug")) // nobody may set it
}

func TestTheLogsSayThatTheyAreSilenced(t *testing.T) {
	for _, from := range []slog.Level{slog.LevelInfo, slog.LevelError} {
		for _, to := range []slog.Level{slog.LevelDebug, slog.LevelError} {
			var log bytes.Buffer
			level := new(slog.LevelVar)
			level.Set(from)
			g := &Gateway{o: Options{Level: level, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))}}
			g.setLevel(to)
			if !strings.Contains(log.String(), "level="+to.String()) || level.Level() != to {
				t.Errorf("from %s to %s: %q, now %s", from, to, log.String(), level.Level())
			}
		}
	}
}
