package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/gateway"
)

const (
	roleProviders    = "providers"
	roleGatewayInbox = "gateway-inbox"
	// federation is how many providers there are.
	federation = 5
)

// away is how far each provider is, as a round trip over the internet would be: the
// last one is the slowest.
func away(provider int) time.Duration { return time.Duration(20+5*provider) * time.Millisecond }

// served is what the providers have answered since their start.
type served struct {
	Requests, NotModified, Bytes int64
}

// providersHandler is five Message Registries: those under /near answer at once, those
// under /far after the time that it takes to get there. Each has four messages for every
// enterprise, which stay the same.
func providersHandler() http.Handler {
	var requests, notModified, bytes atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"benchmark-token-of-a-usual-length-0123456789","token_type":"Bearer","expires_in":3600,"scope":"messages"}`)
	})
	mux.HandleFunc("GET /served", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(served{requests.Load(), notModified.Load(), bytes.Load()})
	})
	page := messages(4)
	mux.HandleFunc("GET /{distance}/{provider}/ebox/messages", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		provider, _ := strconv.Atoi(r.PathValue("provider"))
		if r.PathValue("distance") == "far" {
			time.Sleep(away(provider))
		}
		h := w.Header()
		tag := `"` + r.PathValue("provider") + "-" + r.Header.Get("On-Behalf-Of-Enterprise-Number") + `"`
		h["Etag"] = []string{tag}
		h["Cache-Control"] = []string{"no-cache"}
		if r.Header.Get("If-None-Match") == tag {
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h["Content-Type"] = []string{"application/json"}
		n, _ := io.WriteString(w, page)
		bytes.Add(int64(n))
	})
	return mux
}

func serveGatewayInbox(upstream string) (net.Addr, error) {
	dir, err := os.MkdirTemp("", "gateway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the key is read while the gateway is built
	if _, err := demo.NewClient(dir); err != nil {
		return nil, err
	}
	distance := "far"
	if near, ok := strings.CutSuffix(upstream, "#near"); ok {
		upstream, distance = near, "near"
	}
	var providers []string
	for i := range federation {
		providers = append(providers, fmt.Sprintf("{id: p%d, url: %s/%s/%d, apiVersion: '3.0'}", i, upstream, distance, i))
	}
	text := fmt.Sprintf(`environment: custom
server: {listen: 127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
oauth: {tokenUrl: %[1]s/token, clients: {bench: {clientId: bench, keystore: {file: client.p12, password: demo}}}}
tenancy: {mode: any}
callers: [{name: poller, networks: [127.0.0.0/8], class: batch}]
cache: {memory: 2GB}
registry: {providers: [%[2]s]}
routes: [{name: providers, kind: ebox, path: "/ebox/providers/{providerId}", upstream: {registry: true}, scopes: [messages]}]
`, upstream, strings.Join(providers, ", "))
	cfg, err := config.Parse("bench.yaml", []byte(text), dir, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := g.Start(); err != nil {
		return nil, err
	}
	go func() { _ = g.Run(context.Background(), context.Background()) }()
	return g.Addrs()[0], nil
}

// BenchmarkInboxPage measures a page over five providers beside the same page of the
// slowest of them alone, both through the gateway, in turns.
func BenchmarkInboxPage(b *testing.B) {
	providers := start(b, roleProviders, "")
	gateway := start(b, roleGatewayInbox, providers.url)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	took := func(path string) time.Duration {
		begin := time.Now()
		resp, err := client.Get(gateway.url + "/enterprises/0206731645" + path)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 || resp.Header.Get("X-EBox-Incomplete") != "" {
			b.Fatalf("%s: %d %v", path, resp.StatusCode, err)
		}
		return time.Since(begin)
	}
	slowest := fmt.Sprintf("/ebox/providers/p%d/ebox/messages", federation-1)
	took(slowest)
	took("/ebox/messages")
	var alone, together []time.Duration
	for b.Loop() {
		alone = append(alone, took(slowest))
		together = append(together, took("/ebox/messages"))
	}
	slices.Sort(alone)
	slices.Sort(together)
	p50 := func(list []time.Duration) float64 { return float64(list[len(list)/2].Microseconds()) / 1000 }
	b.ReportMetric(p50(alone), "ms-slowest")
	b.ReportMetric(p50(together), "ms-inbox")
	b.ReportMetric(p50(together)/p50(alone), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkInboxPolling has a caller of class batch ask for the list of b.N enterprises,
// one after the other over 16 connections, and then once more, when there is nothing
// new: -benchtime 40000x is a payroll office.
func BenchmarkInboxPolling(b *testing.B) {
	providers := start(b, roleProviders, "")
	gateway := start(b, roleGatewayInbox, providers.url+"#near")
	for _, round := range []string{"first", "nothing-new"} {
		b.Run(round, func(b *testing.B) { poll(b, gateway, providers) })
	}
}

func poll(b *testing.B, gateway, providers *child) {
	const connections = 16
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	before, upstream := gateway.spent(b), servedBy(b, providers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				resp, err := client.Get(gateway.url + "/enterprises/" + numbered(int(i)).String() + "/ebox/messages")
				if err != nil {
					b.Error(err)
					return
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || n < 1024 || resp.Header.Get("X-EBox-Incomplete") != "" {
					b.Errorf("status %d, %d bytes, without %q, %v", resp.StatusCode, n, resp.Header.Get("X-EBox-Incomplete"), err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after, answered := gateway.spent(b), servedBy(b, providers)
	n := float64(b.N)
	b.ReportMetric(float64((after.CPU-before.CPU).Microseconds())/n, "cpu-µs/enterprise")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/enterprise")
	b.ReportMetric(float64(after.RSS)/(1<<20), "MiB-resident")
	requests := float64(answered.Requests - upstream.Requests)
	b.ReportMetric(requests/n/federation, "requests/provider")
	b.ReportMetric(float64(answered.Bytes-upstream.Bytes)/n/federation, "B/provider")
	b.ReportMetric(100*float64(answered.NotModified-upstream.NotModified)/requests, "%-304")
}

// numbered is the nth of many enterprises, with its check digits.
func numbered(n int) enterprise.Number {
	first := 2000000 + n // eight digits
	return enterprise.Number(first*100 + 97 - first%97)
}

func servedBy(tb testing.TB, providers *child) served {
	tb.Helper()
	resp, err := http.Get(providers.url + "/served")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var s served
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		tb.Fatal(err)
	}
	return s
}
