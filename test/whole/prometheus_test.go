package whole_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// prometheus is the real one, reading one gateway.
type prometheus struct {
	t    *testing.T
	base string
}

// startPrometheus runs Debian's, with the rules of deploy/ that wait for nothing.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	program := needs.Program(t, "prometheus", "prometheus")
	dir := t.TempDir()
	rules, err := os.ReadFile("../../deploy/prometheus-rules.yaml")
	testkit.Must(t, err)
	impatient := regexp.MustCompile(`(?m)^(\s+)for: .*$`).ReplaceAll(rules, []byte("${1}for: 0s"))
	if bytes.Equal(impatient, rules) {
		t.Fatal("no rule waits for anything any more")
	}
	for name, content := range map[string]string{
		"rules.yaml": string(impatient),
		"prometheus.yml": fmt.Sprintf("global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: "+
			"250ms}\nrule_files: [rules.yaml]\n"+
			"scrape_configs: [{job_name: ebox-gateway, static_configs: [{targets: [%q]}]}]\n",
			strings.TrimPrefix(target, "http://")),
	} {
		testkit.Write(t, filepath.Join(dir, name), content)
	}
	var said testkit.Log
	address := testkit.Address(t)
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	testkit.Must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { <-ended; http.DefaultClient.CloseIdleConnections() }) // the test's context kills it
	p := &prometheus{t, "http://" + address}
	eventually(t, "Prometheus to be ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("Prometheus ended:\n%s", said.String())
		default:
		}
		resp, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// query gives the series of an expression, by Prometheus's HTTP API.
func (p *prometheus) query(expr string) []any {
	p.t.Helper()
	resp, err := http.Get(p.base + "/api/v1/query?query=" + url.QueryEscape(expr))
	testkit.Must(p.t, err)
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	return answer.Data.Result
}

func TestAlertsFireInARealPrometheus(t *testing.T) {
	t.Parallel()
	f := watched(t, providers("breaker: {open: 1h}"))
	p := startPrometheus(t, f.Admin)
	f.get(box).want(t, 200)
	eventually(t, "its series to come", func() bool {
		return len(p.query(`ebox_gateway_upstream_circuit_state{state="closed"} == 1`)) > 0
	})
	const circuit, reload = `alertname="EBoxCircuitOpen",upstream="provider nsso"`, `alertname="EBoxReloadFailed"`
	firing := func(alert string) bool { return len(p.query(`ALERTS{alertstate="firing",`+alert+`}`)) > 0 }
	for _, alert := range []string{circuit, reload, `alertname="EBoxTokenRefused"`} {
		if firing(alert) {
			t.Errorf("%s fires while all is well", alert)
		}
	}

	f.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 503})
	eventually(t, "the circuit to open", func() bool {
		f.get(box).want(t, 503)
		f.get(anothersBox).want(t, 503)
		return f.upstreamStatus("provider nsso").Circuit == "open"
	})
	f.write(t, "config.yaml", "environment: nowhere\n")
	for _, alert := range []string{circuit, reload} {
		eventually(t, alert+" to fire", func() bool { return firing(alert) })
	}

	// Every panel shows something, unless it is about what this gateway has not or
	// what has not happened.
	absent := regexp.MustCompile(`_(redis|evidence|trace|part)_|> 0$`)
	for at, expr := range dashboardExpressions(t) {
		if absent.MatchString(expr) {
			p.query(expr) // one that is none ends the test
			continue
		}
		eventually(t, "something to show for "+at, func() bool { return len(p.query(expr)) > 0 })
	}
}

// dashboardExpressions are those of deploy/, with Grafana's variables filled in.
func dashboardExpressions(t *testing.T) map[string]string {
	t.Helper()
	content := testkit.Read(t, "../../deploy/grafana-dashboard.json")
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	testkit.Must(t, json.Unmarshal([]byte(content), &d))
	all := make(map[string]string)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			all[panel.Title+" "+target.RefID] = strings.NewReplacer("$__rate_interval", "1m", "$instance",
				".*").Replace(target.Expr)
		}
	}
	if len(all) == 0 {
		t.Fatal("the dashboard asks nothing")
	}
	return all
}
