package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/telemetry"
)

// What a poll costs: the federated inbox of one enterprise after the other, over five
// providers, with everything switched on that production has: access lines, evidence,
// the response cache, Redis with a key. docs/scale.md reckons with these numbers.

const (
	// providers is how many the inbox asks.
	providers = 5
	// folderVariable is where the gateway keeps its log and evidence, redisVariable its
	// Redis, listedVariable how many enterprises it may represent.
	folderVariable = "BENCH_FOLDER"
	redisVariable  = "BENCH_REDIS"
	listedVariable = "BENCH_LISTED"
)

// represented is the i-th of a great many enterprises.
func represented(i int) string {
	n := 2_000_000 + i
	return fmt.Sprintf("%08d%02d", n, 97-n%97)
}

// servePolls starts a gateway as in production.
func servePolls(upstream string) (net.Addr, error) {
	dir := os.Getenv(folderVariable)
	listed, err := strconv.Atoi(os.Getenv(listedVariable))
	if err != nil {
		return nil, err
	}
	if _, err := demo.NewClient(dir); err != nil {
		return nil, err
	}
	var rows strings.Builder
	for i := range listed {
		fmt.Fprintf(&rows, "%s,Enterprise %d\n", represented(i), i)
	}
	var known strings.Builder
	for i := range providers {
		fmt.Fprintf(&known, "{id: p%d, url: %s/p%[1]d, apiVersion: \"3.0\"}, ", i, upstream)
	}
	for name, content := range map[string]string{"enterprises.csv": "number,name\n" + rows.String(), "k1.key": strings.Repeat("0", 64)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	redis := ""
	if url := os.Getenv(redisVariable); url != "" {
		redis = "redis: {url: \"" + url + "\", timeout: 1s, encryptionKeys: [{id: k1, file: k1.key}]}"
	}
	text := fmt.Sprintf(`environment: custom
server: {listen: 127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
oauth: {tokenUrl: %[1]s/token, clients: {bench: {clientId: bench, keystore: {file: client.p12, password: demo}}}}
tenancy: {enterpriseFiles: [enterprises.csv]}
registry: {providers: [%[2]s]}
routes: [{name: providers, kind: ebox, path: "/ebox/providers/{providerId}", upstream: {registry: true}, scopes: [messages]}]
cache: {memory: 256MB}
audit: {dir: evidence}
%[3]s
`, upstream, strings.TrimSuffix(known.String(), ", "), redis)
	cfg, err := config.Parse("poll.yaml", []byte(text), dir, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Done: telemetry.NewAccessLog(telemetry.Locked(log), "json", slog.LevelInfo).Done})
	if err != nil {
		return nil, err
	}
	if err := g.Start(); err != nil {
		return nil, err
	}
	go func() { _ = g.Run(context.Background(), context.Background()) }()
	return g.Addrs()[0], nil
}

// polled is a gateway that is polled, and where it keeps what it writes.
type polled struct {
	*child
	folder string
}

func startPolled(tb testing.TB, upstream, redis string, listed int) *polled {
	tb.Helper()
	folder := tb.TempDir()
	for name, value := range map[string]string{folderVariable: folder, redisVariable: redis, listedVariable: strconv.Itoa(listed)} {
		if err := os.Setenv(name, value); err != nil {
			tb.Fatal(err)
		}
	}
	return &polled{start(tb, "gateway-polled", upstream), folder}
}

// written is the size of what is in the folder below a name.
func (p *polled) written(tb testing.TB, name string) (size int64) {
	tb.Helper()
	_ = filepath.WalkDir(filepath.Join(p.folder, name), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if info, err := entry.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// settled is written, once what was in memory has reached the disk: evidence of reads
// does within a second.
func (p *polled) settled(tb testing.TB, name string) int64 {
	tb.Helper()
	for size := p.written(tb, name); ; {
		time.Sleep(1500 * time.Millisecond)
		now := p.written(tb, name)
		if now == size {
			return size
		}
		size = now
	}
}

// heap is what is in use after a collection, in bytes.
func (p *polled) heap(tb testing.TB) float64 {
	tb.Helper()
	resp, err := http.Get(p.control + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); found {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatal("the profile does not say what is in use")
	return 0
}

// poll asks for the inbox of each of the first n enterprises once.
func (p *polled) poll(tb testing.TB, n int) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				resp, err := client.Get(p.url + "/enterprises/" + represented(int(i)) + "/ebox/messages")
				if err != nil {
					tb.Error(err)
					return
				}
				length, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || length < providers*1024 || resp.Header.Get("X-EBox-Incomplete") != "" {
					tb.Errorf("status %d with %d bytes, incomplete %q, %v", resp.StatusCode, length, resp.Header.Get("X-EBox-Incomplete"), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// total reads a counter of Redis.
func total(tb testing.TB, server *redistest.Server, section, name string) float64 {
	tb.Helper()
	for line := range strings.Lines(server.Do("INFO", section).(string)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("Redis does not tell %s", name)
	return 0
}

// busySeconds is the processor time that Redis has used.
func busySeconds(tb testing.TB, server *redistest.Server) float64 {
	return total(tb, server, "cpu", "used_cpu_user") + total(tb, server, "cpu", "used_cpu_sys")
}

// BenchmarkPoll polls b.N enterprises: for the first time, again when nothing is new
// (each provider says 304), and from a gateway that was just started and finds in
// Redis what the other one kept.
func BenchmarkPoll(b *testing.B) {
	upstream := start(b, "upstream", "")
	server := redistest.Start(b)
	polls := func(b *testing.B, p *polled, do func()) {
		b.Helper()
		cpu, log, evidence := p.spent(b), p.written(b, "access.log"), p.settled(b, "evidence")
		commands, memory, busy := total(b, server, "stats", "total_commands_processed"), total(b, server, "memory", "used_memory"), busySeconds(b, server)
		b.ResetTimer()
		do()
		b.StopTimer()
		n, after := float64(b.N), p.spent(b)
		b.ReportMetric(float64((after.CPU-cpu.CPU).Microseconds())/n, "cpu-µs/poll")
		b.ReportMetric(float64(after.Mallocs-cpu.Mallocs)/n, "allocs/poll")
		b.ReportMetric((total(b, server, "stats", "total_commands_processed")-commands)/n, "redis-commands/poll")
		b.ReportMetric((busySeconds(b, server)-busy)*1e6/n, "redis-cpu-µs/poll")
		b.ReportMetric((total(b, server, "memory", "used_memory")-memory)/n, "redis-B/poll")
		b.ReportMetric(float64(p.written(b, "access.log")-log)/n, "log-B/poll")
		b.ReportMetric(float64(p.settled(b, "evidence")-evidence)/n, "evidence-B/poll")
		b.ReportMetric(n/b.Elapsed().Seconds(), "polls/s")
	}
	for _, state := range []string{"first", "unchanged", "unchanged-restarted"} {
		b.Run(state, func(b *testing.B) {
			server.Do("FLUSHALL")
			p := startPolled(b, upstream.url, "redis://"+server.Addr, max(b.N, 1000))
			p.poll(b, 200) // connections, the token, pools
			if state == "first" {
				server.Do("FLUSHALL")
				p = startPolled(b, upstream.url, "redis://"+server.Addr, max(b.N, 1000))
				p.poll(b, 1)
			} else {
				p.poll(b, b.N)
			}
			if state == "unchanged-restarted" {
				p = startPolled(b, upstream.url, "redis://"+server.Addr, max(b.N, 1000))
				p.poll(b, 1)
			}
			polls(b, p, func() { p.poll(b, b.N) })
		})
	}
}

// BenchmarkRate polls b.N enterprises at a constant rate, beginning by the clock: a
// hundred thousand an hour, and ten times as many. It tells what part of a core that
// takes, which is what docs/scale.md foretells, and how long a poll waits.
func BenchmarkRate(b *testing.B) {
	upstream := start(b, "upstream", "")
	server := redistest.Start(b)
	for _, times := range []int{1, 10} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			server.Do("FLUSHALL")
			p := startPolled(b, upstream.url, "redis://"+server.Addr, max(b.N, 1000))
			p.poll(b, 200)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
			defer client.CloseIdleConnections()
			before, pause := p.spent(b), time.Hour/time.Duration(100_000*times)
			waited := make([]time.Duration, b.N)
			var wg sync.WaitGroup
			b.ResetTimer()
			began := time.Now()
			for i := range b.N {
				due := began.Add(time.Duration(i) * pause)
				time.Sleep(time.Until(due))
				wg.Go(func() {
					resp, err := client.Get(p.url + "/enterprises/" + represented(i) + "/ebox/messages")
					if err != nil {
						b.Error(err)
						return
					}
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK {
						b.Errorf("status %d, %v", resp.StatusCode, err)
					}
					waited[i] = time.Since(due)
				})
			}
			wg.Wait()
			took := time.Since(began)
			b.StopTimer()
			slices.Sort(waited)
			b.ReportMetric((p.spent(b).CPU-before.CPU).Seconds()/took.Seconds(), "cores")
			b.ReportMetric(float64(b.N)/took.Seconds(), "polls/s")
			b.ReportMetric(float64(waited[len(waited)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(waited[len(waited)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkEnterprises tells what a hundred thousand represented enterprises take.
func BenchmarkEnterprises(b *testing.B) {
	const many = 100_000
	upstream := start(b, "upstream", "")
	for b.Loop() {
		few, lots := startPolled(b, upstream.url, "", 1000), startPolled(b, upstream.url, "", many)
		b.ReportMetric((lots.heap(b)-few.heap(b))/(many-1000), "heap-B/enterprise")
		b.ReportMetric(float64(lots.spent(b).RSS-few.spent(b).RSS)/(many-1000), "peak-B/enterprise")
		b.ReportMetric(float64(few.spent(b).RSS), "B-resident")
	}
}
