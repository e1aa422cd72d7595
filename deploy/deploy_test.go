package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/testkit"
)

// promtool runs Prometheus's own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool := needs.Program(t, "prometheus", "promtool")
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusTakesTheFiles(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml")
	promtool(t, "check", "rules", "--lint-fatal", "prometheus-rules.yaml")
}

// cases are what has each alert fire.
var cases = []string{"prometheus-rules-test.yaml", "prometheus-rules-slow-test.yaml"}

func TestEveryAlertFiresWhenItShould(t *testing.T) {
	promtool(t, append([]string{"test", "rules"}, cases...)...)
}

// rule is one alert.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (list []rule) {
	t.Helper()
	content := testkit.Read(t, "prometheus-rules.yaml")
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	testkit.Must(t, yaml.Unmarshal([]byte(content), &file))
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" { // others record what alerts are made of
				list = append(list, r)
			}
		}
	}
	if len(list) == 0 {
		t.Fatal("there are no alerts")
	}
	return list
}

func TestEveryAlertIsTriedAndSaysWhatToDo(t *testing.T) {
	var tried strings.Builder
	for _, file := range cases {
		content, err := os.ReadFile(file)
		testkit.Must(t, err)
		tried.Write(content)
	}
	for _, r := range rules(t) {
		if !strings.Contains(tried.String(), `alertname="`+r.Alert+`"}', value: 1}`) {
			t.Errorf("%s: no test has it fire", r.Alert)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 40 {
			t.Errorf("%s does not say what it means", r.Alert)
		}
		// docs/docs_test.go holds the sections against the alerts.
		if url := r.Annotations["runbook_url"]; !strings.HasSuffix(url, "/operations.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s leads to the runbook %q", r.Alert, url)
		}
	}
}

// An alert that is muted by one that wakes nobody would be lost.
func TestWhatMutesAnAlertPagesInItsPlace(t *testing.T) {
	content := testkit.Read(t, "alertmanager.yml")
	var file struct {
		Rules []struct {
			Source []string `yaml:"source_matchers"`
			Target []string `yaml:"target_matchers"`
			Equal  []string `yaml:"equal"`
		} `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal([]byte(content), &file); err != nil || len(file.Rules) == 0 {
		t.Fatalf("%d rules, %v", len(file.Rules), err)
	}
	severities := make(map[string]string)
	for _, r := range rules(t) {
		severities[r.Alert] = r.Labels["severity"]
	}
	names := regexp.MustCompile(`EBox\w+`)
	for _, r := range file.Rules {
		for _, name := range names.FindAllString(strings.Join(r.Source, " "), -1) {
			if severities[name] != "page" {
				t.Errorf("%s mutes others, and is %q", name, severities[name])
			}
		}
		for _, name := range names.FindAllString(strings.Join(r.Target, " "), -1) {
			if severities[name] == "" {
				t.Errorf("there is no alert %s to be muted", name)
			}
		}
		if !slices.Contains(r.Equal, "job") {
			t.Errorf("%v mutes the alerts of other gateways", r.Source)
		}
	}
}

// What mutes and what is muted are compared by these labels, so they must be there.
func TestEveryAlertHasTheJob(t *testing.T) {
	by := regexp.MustCompile(`by \(([^)]*)\)`)
	for _, r := range rules(t) {
		for _, m := range by.FindAllStringSubmatch(r.Expr, -1) {
			if !slices.Contains(strings.Split(m[1], ", "), "job") {
				t.Errorf("%s: %s has no job", r.Alert, m[0])
			}
		}
	}
}

// dashboard is what is looked at of Grafana's format.
type dashboard struct {
	UID        string `json:"uid"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID          int                                      `json:"id"`
	Type        string                                   `json:"type"`
	Title       string                                   `json:"title"`
	Datasource  struct{ Type, UID string }               `json:"datasource"`
	GridPos     struct{ H, W, X, Y int }                 `json:"gridPos"`
	Targets     []struct{ Expr, RefID string }           `json:"targets"`
	FieldConfig struct{ Defaults struct{ Unit string } } `json:"fieldConfig"`
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	content := testkit.Read(t, "grafana-dashboard.json")
	testkit.Must(t, json.Unmarshal([]byte(content), &d))
	return d
}

// expressions are all of a dashboard, by where they stand, with Grafana's variables
// filled in.
func (d *dashboard) expressions() map[string]string {
	all := make(map[string]string)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = target.Expr
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprint("annotation ", i)] = a.Expr
	}
	for at, expr := range all {
		all[at] = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expr)
	}
	return all
}

func TestTheDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" {
		t.Error("it has no uid: each import would make another")
	}
	variables := make(map[string]string)
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["instance"] != "query" {
		t.Errorf("variables %v", variables)
	}
	ids := make(map[int]string)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		if before, ok := ids[p.ID]; ok {
			t.Errorf("%s and %s have the same id", before, p.Title)
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" ||
			p.FieldConfig.Defaults.Unit == "") {
			t.Errorf("%s asks nothing, or not the data source that was chosen, or has no unit", p.Title)
		}
		g := p.GridPos
		if g.X < 0 || g.X+g.W > 24 || g.W == 0 || g.H == 0 {
			t.Errorf("%s stands outside: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestExpressionsParse(t *testing.T) {
	d := readDashboard(t)
	type recording struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var list []recording
	for _, expr := range d.expressions() {
		list = append(list, recording{Record: fmt.Sprint("panel:", len(list)), Expr: expr})
	}
	content, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": list}}})
	testkit.Must(t, err)
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	testkit.Write(t, file, content)
	promtool(t, "check", "rules", file)
}

// metrics are those that docs/metrics.md lists, which is written from the code, with
// their labels.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	content := testkit.Read(t, "../docs/metrics.md")
	known := make(map[string][]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([^|]+) \\|").FindAllStringSubmatch(
		content, -1) {
		labels := regexp.MustCompile("[a-z]+").FindAllString(row[3], -1)
		labels = append(labels, "instance", "job")
		if row[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[row[1]+suffix] = append(slices.Clone(labels), "le")
			}
			continue
		}
		known[row[1]] = labels
	}
	if len(known) < 50 {
		t.Fatalf("docs/metrics.md lists %d metrics", len(known))
	}
	return known
}

var (
	metricName = regexp.MustCompile(`\b(?:ebox_gateway|go|process)_[a-z_]+\b`)
	selector   = regexp.MustCompile(`\b(ebox_gateway_[a-z_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
)

func TestExpressionsUseMetricsThatThereAre(t *testing.T) {
	known := metrics(t)
	for _, name := range []string{"process_start_time_seconds", "process_max_fds", "go_gc_gomemlimit_bytes",
		"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "go_goroutines",
		"go_memstats_heap_alloc_bytes"} {
		known[name] = []string{"instance", "job"}
	}
	d := readDashboard(t)
	all := d.expressions()
	shown := make(map[string]bool)
	for _, v := range d.Templating.List {
		all["variable "+v.Name] = v.Definition
	}
	for _, r := range rules(t) {
		all[r.Alert] = r.Expr
	}
	for at, expr := range all {
		for _, name := range metricName.FindAllString(expr, -1) {
			shown[name] = true
			if _, ok := known[name]; !ok {
				t.Errorf("%s: there is no metric %s", at, name)
			}
		}
		for _, s := range selector.FindAllStringSubmatch(expr, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(known[s[1]], m[1]) {
					t.Errorf("%s: %s has no label %s", at, s[1], m[1])
				}
			}
		}
	}
	for name := range known {
		if !shown[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("%s is neither shown nor watched", name)
		}
	}
}
