package gateway

import (
	"log/slog"
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
