package telemetry_test

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"

	"ebox-gateway/internal/telemetry"
)

func TestNothingThatALibraryPrintsIsLogged(t *testing.T) {
	flags, prefix, out := log.Flags(), log.Prefix(), log.Writer()
	defer func() { log.SetFlags(flags); log.SetPrefix(prefix); log.SetOutput(out) }()
	var text bytes.Buffer
	telemetry.TakeStandardLog(slog.New(slog.NewTextHandler(&text, nil)))
	log.Printf("Unsolicited response received: %q", "Bearer s3cret")
	if got := text.String(); strings.Contains(got, "s3cret") || strings.Contains(got, "Unsolicited") ||
		!strings.Contains(got, "level=WARN") {
		t.Errorf("logged %q", got)
	}
}
