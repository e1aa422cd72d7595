package telemetry

import (
	"log"
	"log/slog"
)

// TakeStandardLog has the standard logger, on which libraries print what they could not return, write constant text to
// l. Parts of what came over a connection are known to be among what they print: tokens, citizens' numbers.
func TakeStandardLog(l *slog.Logger) {
	log.SetFlags(0)
	log.SetPrefix("")
	log.SetOutput(constantText{l})
}

type constantText struct{ log *slog.Logger }

func (c constantText) Write(p []byte) (int, error) {
	c.log.Warn("a library printed a message of its own; it is not logged, since it may hold what came over a connection",
		"bytes", len(p))
	return len(p), nil
}
