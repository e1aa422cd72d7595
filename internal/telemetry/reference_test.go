package telemetry

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// The page is written from the definitions, so that it cannot say anything else.
func TestTheReferenceListsEveryMetric(t *testing.T) {
	const page = "../../docs/metrics.md"
	var b strings.Builder
	b.WriteString(`# Metrics

The admin listener answers ` + "`/metrics`" + ` as text, and as protobuf with native histograms to a Prometheus that
asks for them. Besides these there are those of the Go runtime (` + "`go_…`" + `) and of the process (` +
		"`process_…`" + `).
Labels never take a value from a caller or an upstream: what the configuration or the directory does not
know is ` + "`none`" + `. Counts begin at 0 when the process does, those of an upstream or a client also when a
new configuration changes it.

This page is written by ` + "`go test ./internal/telemetry -run Reference -update`" + `. [deploy/](../deploy) has a
dashboard and alert rules made of these.

| metric | kind | labels | what it says |
|---|---|---|---|
`)
	for _, f := range families() {
		labels := "-"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	want := b.String()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what the definitions say; write it with -update (-want +got)\n%s", diff)
	}
}
