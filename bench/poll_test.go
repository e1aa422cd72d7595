package bench_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
)

// What a poll costs: the federated inbox of one enterprise after the other, over five
// providers, with everything switched on that production has: access lines, evidence,
// the response cache, Redis with a key. docs/scale.md reckons with these numbers.

const (
	roleGatewayPolled = "gateway-polled"
	// folderVariable is where the gateway keeps its log and evidence, redisVariable its
	// Redis, listedVariable how many enterprises it may represent.
	folderVariable = "BENCH_FOLDER"
	redisVariable  = "BENCH_REDIS"
	listedVariable = "BENCH_LISTED"
)

// servePolls starts a gateway as in production.
func servePolls(upstream string) (net.Addr, error) {
	dir := os.Getenv(folderVariable)
	listed, err := strconv.Atoi(os.Getenv(listedVariable))
	if err != nil {
		return nil, err
	}
	var rows strings.Builder
	rows.WriteString("number,name\n")
	for i := range listed {
		fmt.Fprintf(&rows, "%s,Enterprise %d\n", represented(i), i)
	}
	redis := ""
	if url := os.Getenv(redisVariable); url != "" {
		redis = "redis: {url: \"" + url + "\", timeout: 1s, encryptionKeys: [{id: k1, file: k1.key}]}"
	}
	log, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		return nil, err
	}
	r := recipe{
		upstream: upstream, folder: dir,
		files:   map[string]string{"enterprises.csv": rows.String(), "k1.key": strings.Repeat("0", 64)},
		options: gateway.Options{Done: telemetry.NewAccessLog(telemetry.Locked(log), "json", slog.LevelInfo).Done},
		text: fmt.Sprintf(`tenancy: {enterpriseFiles: [enterprises.csv]}
registry: {providers: [%s]}
cache: {memory: 256MB}
audit: {dir: evidence}
%s
%s`, federated(upstream+"/p"), redis, providersRoute("")),
	}
	return r.serve()
}

// polled is a gateway that is polled, and where it keeps what it writes.
type polled struct {
	child
	folder string
}

func startPolled(tb testing.TB, upstream, redis string, listed int) *polled {
	tb.Helper()
	folder := tb.TempDir()
	return &polled{start(tb, roleGatewayPolled, upstream, folderVariable+"="+folder, redisVariable+"="+redis,
		listedVariable+"="+strconv.Itoa(listed)), folder}
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
	resp, err := http.Get(p.Control + "/debug/pprof/heap?gc=1&debug=1")
	testkit.Must(tb, err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); found {
			n, err := strconv.ParseFloat(value, 64)
			testkit.Must(tb, err)
			return n
		}
	}
	tb.Fatal("the profile does not say what is in use")
	return 0
}

// BenchmarkPoll polls b.N enterprises: for the first time, again when nothing is new
// (each provider says 304), and from a gateway that was just started and finds in
// Redis what the other one kept.
func BenchmarkPoll(b *testing.B) {
	upstream := start(b, "upstream", "")
	server := redistest.Start(b)
	polls := func(b *testing.B, p *polled, do func()) {
		b.Helper()
		before, log, evidence, redis := p.spent(b), p.written(b, "access.log"), p.settled(b, "evidence"),
			redisSpent(b, server)
		b.ResetTimer()
		do()
		b.StopTimer()
		n, after, redisAfter := float64(b.N), p.spent(b), redisSpent(b, server)
		b.ReportMetric(float64((after.CPU-before.CPU).Microseconds())/n, "cpu-µs/poll")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/poll")
		b.ReportMetric((redisAfter.commands-redis.commands)/n, "redis-commands/poll")
		b.ReportMetric((redisAfter.cpu-redis.cpu)*1e6/n, "redis-cpu-µs/poll")
		b.ReportMetric((redisAfter.held-redis.held)/n, "redis-B/poll")
		b.ReportMetric(float64(p.written(b, "access.log")-log)/n, "log-B/poll")
		b.ReportMetric(float64(p.settled(b, "evidence")-evidence)/n, "evidence-B/poll")
		b.ReportMetric(n/b.Elapsed().Seconds(), "polls/s")
	}
	for _, state := range []string{"first", "unchanged", "unchanged-restarted"} {
		b.Run(state, func(b *testing.B) {
			server.Do("FLUSHALL")
			p := startPolled(b, upstream.URL, "redis://"+server.Addr, max(b.N, 1000))
			p.poll(b, callers, 200) // connections, the token, pools
			if state == "first" {
				server.Do("FLUSHALL")
				p = startPolled(b, upstream.URL, "redis://"+server.Addr, max(b.N, 1000))
				p.poll(b, callers, 1)
			} else {
				p.poll(b, callers, b.N)
			}
			if state == "unchanged-restarted" {
				p = startPolled(b, upstream.URL, "redis://"+server.Addr, max(b.N, 1000))
				p.poll(b, callers, 1)
			}
			polls(b, p, func() { p.poll(b, callers, b.N) })
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
			p := startPolled(b, upstream.URL, "redis://"+server.Addr, max(b.N, 1000))
			p.poll(b, callers, 200)
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
					if err := p.inboxOf(client, i); err != nil {
						b.Error(err)
					}
					waited[i] = time.Since(due)
				})
			}
			wg.Wait()
			took := time.Since(began)
			b.StopTimer()
			b.ReportMetric((p.spent(b).CPU-before.CPU).Seconds()/took.Seconds(), "cores")
			b.ReportMetric(float64(b.N)/took.Seconds(), "polls/s")
			b.ReportMetric(percentile(waited, 50)/1000, "p50-ms")
			b.ReportMetric(percentile(waited, 99)/1000, "p99-ms")
		})
	}
}

// BenchmarkEnterprises measures what a hundred thousand represented enterprises take.
func BenchmarkEnterprises(b *testing.B) {
	const many = 100_000
	upstream := start(b, "upstream", "")
	for b.Loop() {
		few, lots := startPolled(b, upstream.URL, "", 1000), startPolled(b, upstream.URL, "", many)
		b.ReportMetric((lots.heap(b)-few.heap(b))/(many-1000), "heap-B/enterprise")
		b.ReportMetric(float64(lots.spent(b).RSS-few.spent(b).RSS)/(many-1000), "peak-B/enterprise")
		b.ReportMetric(float64(few.spent(b).RSS), "B-resident")
	}
}
