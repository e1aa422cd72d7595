package bench

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/exchange"
)

func evidence(b *testing.B) *audit.Log {
	b.Helper()
	l, err := audit.Open(audit.Options{
		Dir: b.TempDir(), Replica: "bench", StopAfter: audit.Never, Queue: 1 << 20, SegmentSize: 1 << 40, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

func finishedRead() *exchange.Record {
	const id = "2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11"
	return &exchange.Record{
		ID: id, Start: time.Now(), Source: netip.MustParseAddr("10.1.2.3"), Caller: "hr", Listener: "main", Actor: "an.peeters",
		Method: "GET", Path: "/enterprises/0206731645/ebox/providers/nsso/ebox/messages/1000001", Route: "ebox-providers", Provider: "nsso",
		Action: ebox.List, Enterprise: 206731645, TokenHash: strings.Repeat("ab", 32), Upstream: "provider nsso", UpstreamHost: "services.socialsecurity.be",
		Client: "payroll", Status: 200, UpstreamStatus: 200, Tries: 1, Sent: true, TraceID: id, AnswerTraceID: id, BytesOut: 2048, Cache: "fwd=uri-miss; stored",
	}
}

// BenchmarkEvidenceOfARead is what the record of a read costs its caller: by itself,
// with the writer at rest, and in a flood that the writer works against on the same
// processors.
func BenchmarkEvidenceOfARead(b *testing.B) {
	b.Run("caller", func(b *testing.B) {
		l, r := evidence(b), finishedRead()
		const round = 1000 // fewer than wake the writer
		b.ReportAllocs()
		for n := 0; n < b.N; n += round {
			for range min(round, b.N-n) {
				l.Done(r)
			}
			b.StopTimer()
			for l.Status().Waiting > 0 {
				time.Sleep(time.Millisecond)
			}
			b.StartTimer()
		}
	})
	b.Run("flood of 32 callers", func(b *testing.B) {
		l, r := evidence(b), finishedRead()
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l.Done(r)
			}
		})
		b.StopTimer()
		b.ReportMetric(100*float64(l.Status().Lost)/float64(b.N), "%lost")
	})
}

// BenchmarkIntent is how many writes a second get their intent on disk, by how many
// write at once: they share syncs.
func BenchmarkIntent(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(map[int]string{1: "1 writer", 8: "8 writers", 64: "64 writers"}[writers], func(b *testing.B) {
			l := evidence(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, writers)
			b.ReportAllocs()
			b.ResetTimer()
			for range writers {
				go func() {
					r := finishedRead()
					r.Method, r.Action = "PATCH", ebox.Change
					for left.Add(-1) >= 0 {
						if err := l.Intent(context.Background(), r); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range writers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// BenchmarkVerify is how fast a chain is verified and searched.
func BenchmarkVerify(b *testing.B) {
	const records = 100_000
	dir := b.TempDir()
	l, err := audit.Open(audit.Options{Dir: dir, Replica: "bench", StopAfter: audit.Never, Queue: 4 * records, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	r := finishedRead()
	for range records {
		l.Done(r)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	chain := filepath.Join(dir, "bench")
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			report, err := audit.Verify(chain, audit.VerifyOptions{})
			if err != nil || len(report.Findings) > 0 || report.Records < records {
				b.Fatal(err, report)
			}
		}
		b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("search for what is not there", func(b *testing.B) {
		for b.Loop() {
			s, err := audit.Search(chain, audit.Query{Message: "none"}, func(*audit.Found) error { return nil })
			if err != nil || s.Records < records {
				b.Fatal(err, s)
			}
		}
		b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
