package bench_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// Roles of gateways that share a Redis: one without a rate, one whose caller has a rate
// for all replicas that is never reached.
const (
	roleReplica     = "gateway-replica"
	roleReplicaRate = "gateway-replica-rate"
)

// BenchmarkReplicas measures what a request costs the Redis that replicas share, and what
// Redis costs the request: commands (those within scripts included), bytes in both
// directions, CPU of the Redis process and memory that it holds afterwards, beside the
// gateway's own.
func BenchmarkReplicas(b *testing.B) {
	upstream := start(b, "upstream", "")
	server := redistest.Start(b)
	at := upstream.URL + " redis://" + server.Addr + "/0"
	const base = "/ebox/providers/nsso"
	b.Run("idle", func(b *testing.B) {
		start(b, roleReplica, at)
		time.Sleep(time.Second)
		before := redisSpent(b, server)
		b.ResetTimer()
		time.Sleep(5 * time.Second)
		after := redisSpent(b, server)
		b.ReportMetric((after.commands-before.commands)/5, "redis-commands/s")
		b.ReportMetric((after.bytes-before.bytes)/5, "redis-B/s")
	})
	for _, what := range []struct{ name, role, path string }{
		{"memory-hit", roleReplica, base + "/kept/messages"},
		{"validated", roleReplica, base + "/ebox/messages"},
		{"memory-hit-with-rate", roleReplicaRate, base + "/kept/messages"},
	} {
		b.Run(what.name, func(b *testing.B) {
			gateway := start(b, what.role, at)
			warm(b, gateway, what.path)
			redisReport(b, server, func() { load(b, gateway, what.path) }, b.N+2000)
		})
	}
	// The same pages, first unknown to all, then known to Redis and not to the replica.
	round := time.Now().UnixNano()
	each := func(b *testing.B) func() (string, bool) {
		var n atomic.Int64
		return func() (string, bool) {
			i := n.Add(1)
			return fmt.Sprintf("%s/kept/messages?r=%d&n=%d", base, round, i), i <= int64(b.N)
		}
	}
	b.Run("miss", func(b *testing.B) {
		round++
		gateway := start(b, roleReplica, at)
		warm(b, gateway, base+"/kept/messages")
		redisReport(b, server, func() { report(b, gateway, b.N, func() { crowd(b, gateway, callers, each(b)) }) }, b.N)
		b.StopTimer()
		time.Sleep(200 * time.Millisecond) // what is still being stored
	})
	b.Run("redis-hit", func(b *testing.B) {
		round++
		first := start(b, roleReplica, at)
		warm(b, first, base+"/kept/messages")
		crowd(b, first, callers, each(b))
		time.Sleep(200 * time.Millisecond)
		second := start(b, roleReplica, at)
		warm(b, second, base+"/kept/messages")
		redisReport(b, server, func() { report(b, second, b.N, func() { crowd(b, second, callers, each(b)) }) }, b.N)
	})
	b.Run("token", func(b *testing.B) { tokens(b, server) })
	b.Run("rate-alone", func(b *testing.B) { rates(b, server) })
}

// rates measures one call of a rate.
func rates(b *testing.B, server *redistest.Server) {
	r := shared(b, server)
	round := time.Now().String()
	redisReport(b, server, func() {
		b.ResetTimer()
		for i := range b.N {
			rate := config.Rate{PerSecond: 20, Burst: 40}
			if wait, err := r.Spend(b.Context(), nil, round+strconv.Itoa(i), rate, 1, false); wait != 0 || err != nil {
				b.Fatal("refused", wait, err)
			}
		}
	}, b.N)
}

// secretOf is n random bytes as text, which compresses no better than a token does.
func secretOf(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// shared is the store of a replica.
func shared(b *testing.B, server *redistest.Server) *redisstore.Store {
	b.Helper()
	file := filepath.Join(b.TempDir(), "key")
	testkit.Must(b, os.WriteFile(file, []byte(strings.Repeat("00", 32)), 0o600))
	key, err := redisstore.LoadKey("k1", file)
	testkit.Must(b, err)
	r := redisstore.New(redisstore.Options{
		Address: config.RedisAddress{Hosts: []string{server.Addr}}, Keys: []redisstore.Key{key}, Namespace: "inside",
		Timeout: time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	b.Cleanup(r.Close)
	return r
}

// tokens measures a token that one replica gets and another one finds.
func tokens(b *testing.B, server *redistest.Server) {
	list := [...]*redisstore.Store{shared(b, server), shared(b, server)}
	redisReport(b, server, func() {
		b.ResetTimer()
		for i := range b.N {
			want := authn.TokenKey{TokenURL: "https://as.example/token", ClientID: strconv.Itoa(i) + time.Now().String()}
			for _, r := range list {
				_, err := r.Obtain(b.Context(), want, "", func(context.Context) (authn.Token, error) {
					secret, _ := json.Marshal(map[string]any{"key": want.Digest(), "secret": secretOf(600),
						"obtained": time.Now().UnixNano(), "lifetime": time.Hour})
					return authn.RestoreToken(secret, want, time.Now(), time.Hour)
				})
				testkit.Must(b, err)
			}
		}
		b.StopTimer()
	}, 2*b.N)
}

// warm waits until a gateway answers and knows Redis.
func warm(b *testing.B, gateway child, path string) {
	crowd(b, gateway, callers, same(path, callers))
	time.Sleep(time.Second)
}

// redisUse is what a Redis server has done since its start.
type redisUse struct{ commands, bytes, cpu, held float64 }

func redisSpent(b *testing.B, server *redistest.Server) (u redisUse) {
	b.Helper()
	for line := range strings.Lines(server.Do("INFO").(string)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "total_commands_processed":
			u.commands = n
		case "total_net_input_bytes", "total_net_output_bytes":
			u.bytes += n
		case "used_cpu_user", "used_cpu_sys":
			u.cpu += n
		case "used_memory":
			u.held = n
		}
	}
	return u
}

// redisReport measures what requests cost Redis.
func redisReport(b *testing.B, server *redistest.Server, do func(), requests int) {
	before := redisSpent(b, server)
	do()
	b.StopTimer()
	time.Sleep(100 * time.Millisecond) // what no request waits for
	after := redisSpent(b, server)
	n := float64(requests)
	b.ReportMetric((after.commands-before.commands)/n, "redis-commands/req")
	b.ReportMetric((after.bytes-before.bytes)/n, "redis-B/req")
	b.ReportMetric((after.cpu-before.cpu)*1e6/n, "redis-cpu-µs/req")
	b.ReportMetric((after.held-before.held)/n, "redis-held-B/req")
}

// serveReplica starts a gateway with a Redis; at is the upstream's URL and Redis's.
func serveReplica(at, rate string) (net.Addr, error) {
	upstream, redis, _ := strings.Cut(at, " ")
	r := recipe{
		upstream: upstream,
		files:    map[string]string{"k1.key": strings.Repeat("0", 64)}, // all replicas have the same
		text: fmt.Sprintf(`tenancy: {enterprises: [{number: 0206.731.645}]}
callers: [{name: bench, networks: [127.0.0.1/32]%[3]s}]
registry: {providers: [{id: nsso, url: %[1]s/base, apiVersion: "3.0"}]}
redis: {url: "%[2]s", timeout: 1s, encryptionKeys: [{id: k1, file: k1.key}]}
%[4]s`, upstream, redis, rate, providersRoute(caching)),
	}
	return r.serve()
}
