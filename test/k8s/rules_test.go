package k8s_test

import (
	"flag"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"ebox-gateway/internal/testkit"
)

var update = flag.Bool("update", false, "write components/monitoring/rules.yaml anew")

const (
	alerts    = "../deploy/prometheus-rules.yaml"
	component = "components/monitoring/rules.yaml"
)

// The alerts are written once, in deploy, where they are tried against a real
// Prometheus; the component has them as a kind of the Prometheus operator.
func TestTheComponentHasTheAlertsOfDeploy(t *testing.T) {
	var want ruleFile
	if err := strictly([]byte(testkit.Read(t, alerts)), &want); err != nil {
		t.Fatalf("reading %s: %v", alerts, err)
	}
	if len(want.Groups) == 0 || len(want.Groups[0].Rules) == 0 {
		t.Fatalf("%s has no alerts", alerts)
	}
	if *update {
		text, err := yaml.Marshal(map[string]any{
			"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
			"metadata": map[string]any{"name": "ebox-gateway",
				"labels": map[string]string{"app.kubernetes.io/name": "ebox-gateway"}},
			"spec": want,
		})
		testkit.Must(t, err)
		text = append([]byte("# Made from deploy/prometheus-rules.yaml by \"make generate\": change it there.\n"), text...)
		testkit.Must(t, os.WriteFile(component, text, 0o644))
	}
	got := named[*prometheusRule](t, render(t, "production"), "ebox-gateway")
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("%s is stale, run make generate (- deploy, + component):\n%s", component, diff)
	}
}

// Alerts and dashboard find the gateway by the name of its job.
func TestReplicasAreScrapedUnderTheNameThatAlertsUse(t *testing.T) {
	m := render(t, "production")
	monitor := named[*serviceMonitor](t, m, "ebox-gateway")
	replicas := named[*corev1.Service](t, m, "ebox-gateway-replicas")
	job := replicas.Labels[monitor.Spec.JobLabel]
	for _, file := range []string{alerts, "../deploy/grafana-dashboard.json"} {
		for _, known := range regexp.MustCompile(`job=\\?"([^"\\]*)\\?"`).FindAllStringSubmatch(testkit.Read(t, file), -1) {
			if known[1] != job {
				t.Errorf("%s looks for the job %q, and replicas are scraped as %q", file, known[1], job)
			}
		}
	}
}
