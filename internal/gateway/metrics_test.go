// Inside, since a running gateway shows only those metrics that have a value.

package gateway

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/testkit"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// families are all metrics of a gateway.
func families(t *testing.T) []metric.Family {
	t.Helper()
	m, err := new(Gateway).newMetrics()
	testkit.Must(t, err)
	return m.Families()
}

func TestMetricsAreNamedByTheGuide(t *testing.T) {
	kinds := map[metric.Kind]dto.MetricType{metric.KindCounter: dto.MetricType_COUNTER,
		metric.KindGauge: dto.MetricType_GAUGE, metric.KindHistogram: dto.MetricType_HISTOGRAM}
	var all []*dto.MetricFamily
	for _, f := range families(t) {
		all = append(all, &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: kinds[f.Kind].Enum()})
		if !model.LegacyValidation.IsValidMetricName(f.Name) {
			t.Errorf("%s is no name", f.Name)
		}
	}
	found, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

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

This page is written by ` + "`go test ./internal/gateway -run Reference -update`" + `. [deploy/](../deploy) has a
dashboard and alert rules made of these.

| metric | kind | labels | what it says |
|---|---|---|---|
`)
	for _, f := range families(t) {
		labels := "-"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, labels, f.Help)
	}
	want := b.String()
	if *update {
		testkit.Must(t, os.WriteFile(page, []byte(want), 0o644))
	}
	got, err := os.ReadFile(page)
	testkit.Must(t, err)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what the definitions say; write it with -update (-want +got)\n%s", diff)
	}
}
