package whole_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	testkit.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		http.DefaultClient.CloseIdleConnections()
	})
	p := &prometheus{t, "http://" + address}
	eventually(t, "Prometheus to be ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Prometheus ended: %v\n%s", err, said.String())
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

// ask calls Prometheus's HTTP API and reads its data into v.
func (p *prometheus) ask(path string, v any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", p.base+path, nil)
	testkit.Must(p.t, err)
	resp, err := http.DefaultClient.Do(req)
	testkit.Must(p.t, err)
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s: %v %s", path, err, answer.Error)
	}
	testkit.Must(p.t, json.Unmarshal(answer.Data, v))
}

// query gives the values of an expression.
func (p *prometheus) query(expr string) (values []float64) {
	p.t.Helper()
	var data struct {
		Result []struct {
			Value [2]any
		}
	}
	p.ask("/api/v1/query?query="+url.QueryEscape(expr), &data)
	for _, r := range data.Result {
		text, ok := r.Value[1].(string)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		testkit.Must(p.t, err)
		values = append(values, v)
	}
	return values
}

// firing gives the alerts that fire, with the upstream that they are about, if any.
func (p *prometheus) firing() map[string]string {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.ask("/api/v1/alerts", &data)
	all := make(map[string]string)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			all[a.Labels["alertname"]] = a.Labels["upstream"]
		}
	}
	return all
}

func TestAlertsFireInARealPrometheus(t *testing.T) {
	t.Parallel()
	f := watched(t, providers("breaker: {open: 1h}"))
	p := startPrometheus(t, f.Admin)
	f.get(box).want(t, 200)
	eventually(t, "the gateway to be up", func() bool {
		v := p.query(`up{job="ebox-gateway"}`)
		return len(v) == 1 && v[0] == 1
	})
	eventually(t, "its series to come", func() bool {
		return len(p.query(`ebox_gateway_upstream_circuit_state{state="closed"} == 1`)) > 0
	})
	for _, alert := range []string{"EBoxCircuitOpen", "EBoxReloadFailed", "EBoxTokenRefused"} {
		if _, fires := p.firing()[alert]; fires {
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
	eventually(t, "the circuit's alert to fire", func() bool { return p.firing()["EBoxCircuitOpen"] == "provider nsso" })
	eventually(t, "the reload's alert to fire", func() bool { _, fires := p.firing()["EBoxReloadFailed"]; return fires })

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
