package bench_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/testkit"
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
	mux.HandleFunc("POST /token", tokenEndpoint)
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

// serveGatewayInbox starts a gateway whose callers are of class batch. The providers are
// far, unless upstream ends in #near.
func serveGatewayInbox(upstream string) (net.Addr, error) {
	upstream, distance, near := strings.Cut(upstream, "#")
	if !near {
		distance = "far"
	}
	r := recipe{upstream: upstream, text: fmt.Sprintf(`tenancy: {mode: any}
callers: [{name: poller, networks: [127.0.0.0/8], class: batch}]
cache: {memory: 2GB}
registry: {providers: [%s]}
%s`, federated(upstream+"/"+distance+"/"), providersRoute(""))}
	return r.serve()
}

// federated lists the providers as a configuration does; base and a number are the URL
// of each.
func federated(base string) string {
	list := make([]string, federation)
	for i := range list {
		list[i] = fmt.Sprintf(`{id: p%d, url: %s%[1]d, apiVersion: "3.0"}`, i, base)
	}
	return strings.Join(list, ", ")
}

// BenchmarkInboxPage measures a page over five providers beside the same page of the
// slowest of them alone, both through the gateway, in turns.
func BenchmarkInboxPage(b *testing.B) {
	providers := start(b, roleProviders, "")
	gateway := start(b, roleGatewayInbox, providers.URL)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	took := func(path string) time.Duration {
		begin := time.Now()
		resp, err := client.Get(gateway.URL + "/enterprises/0206731645" + path)
		testkit.Must(b, err)
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 ||
			resp.Header.Get("X-EBox-Incomplete") != "" {
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
	one, all := percentile(alone, 50)/1000, percentile(together, 50)/1000
	b.ReportMetric(one, "ms-slowest")
	b.ReportMetric(all, "ms-inbox")
	b.ReportMetric(all/one, "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkInboxPolling has a caller of class batch ask for the list of b.N enterprises,
// one after the other over 16 connections, and then once more, when there is nothing
// new: -benchtime 40000x is a payroll office.
func BenchmarkInboxPolling(b *testing.B) {
	providers := start(b, roleProviders, "")
	gateway := start(b, roleGatewayInbox, providers.URL+"#near")
	for _, round := range []string{"first", "nothing-new"} {
		b.Run(round, func(b *testing.B) { pollMeasured(b, gateway, providers) })
	}
}

func pollMeasured(b *testing.B, gateway, providers child) {
	var upstream, answered served
	read(b, providers.URL+"/served", &upstream)
	before := gateway.spent(b)
	b.ResetTimer()
	gateway.poll(b, 16, b.N)
	b.StopTimer()
	after := gateway.spent(b)
	read(b, providers.URL+"/served", &answered)
	n := float64(b.N)
	b.ReportMetric(float64((after.CPU-before.CPU).Microseconds())/n, "cpu-µs/enterprise")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/enterprise")
	b.ReportMetric(float64(after.RSS)/(1<<20), "MiB-resident")
	requests := float64(answered.Requests - upstream.Requests)
	b.ReportMetric(requests/n/federation, "requests/provider")
	b.ReportMetric(float64(answered.Bytes-upstream.Bytes)/n/federation, "B/provider")
	b.ReportMetric(100*float64(answered.NotModified-upstream.NotModified)/requests, "%-304")
}

// poll asks a gateway for the inbox of each of the first n enterprises once.
func (c child) poll(tb testing.TB, connections, n int) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := c.inboxOf(client, int(i)); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// inboxOf reads the inbox of the i-th enterprise, which all providers have to be in.
func (c child) inboxOf(client *http.Client, i int) error {
	resp, err := client.Get(c.URL + "/enterprises/" + represented(i) + "/ebox/messages")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	length, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || length < federation*1024 ||
		resp.Header.Get("X-EBox-Incomplete") != "" {
		return fmt.Errorf("status %d with %d bytes, without %q, %v", resp.StatusCode, length,
			resp.Header.Get("X-EBox-Incomplete"), err)
	}
	return nil
}

// represented is the i-th of a great many enterprises.
func represented(i int) string {
	n := 2_000_000 + i // eight digits, and two that check them
	return enterprise.Number(n*100 + 97 - n%97).String()
}
