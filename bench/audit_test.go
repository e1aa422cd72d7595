package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/testkit"
)

// inOneFile has all records in one file.
func inOneFile(b *testing.B) config.Audit {
	return config.Audit{Dir: b.TempDir(), Replica: "bench", StopAfter: config.StopNever, SegmentSize: 1 << 40}
}

func evidence(b *testing.B) *audit.Log {
	b.Helper()
	l, err := audit.Open(audit.Options{
		Audit: inOneFile(b), Queue: 1 << 20, Log: slog.New(slog.DiscardHandler),
	})
	testkit.Must(b, err)
	b.Cleanup(func() {
		flushed(l) // a flood leaves more behind than the five seconds of a Close can write
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// flushed waits until everything is on disk.
func flushed(l *audit.Log) {
	for l.Status().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
}

// finishedRead is the record of a message that was fetched for somebody.
func finishedRead() *call.Record {
	r := finished()
	r.Actor, r.Sent = "an.peeters", true
	r.Path += "/1000001"
	r.Cache, r.AnswerTraceID = "fwd=uri-miss; stored", r.TraceID
	return r
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
			flushed(l)
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
				testkit.Must(b, <-done)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// variedRead is a read as a day has them: each with ids of its own, of many
// enterprises and messages, by some callers and people.
func variedRead(random *rand.Rand, i int) *call.Record {
	r := finishedRead()
	id := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12),
			random.IntN(1<<12), random.Uint64N(1<<48))
	}
	trace := func() string { return fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()) }
	r.ID, r.TraceID, r.AnswerTraceID = id(), trace(), trace()
	r.Enterprise = enterprise.Number(200_000_000 + random.IntN(100_000))
	r.Provider = fmt.Sprintf("provider-%d", random.IntN(5))
	r.UpstreamHost = r.Provider + ".example.be"
	r.Caller, r.Actor = fmt.Sprintf("team-%d", random.IntN(8)), fmt.Sprintf("person.%d", random.IntN(300))
	r.TokenHash = strings.Repeat(fmt.Sprintf("%016x", uint64(i/50_000)*0x9e3779b97f4a7c15), 4) // another each hour
	r.BytesOut = 1000 + random.Int64N(20_000)
	r.Path = fmt.Sprintf("/enterprises/%s/ebox/providers/%s/ebox/messages/%d", r.Enterprise, r.Provider,
		1_000_000+random.IntN(9_000_000))
	return r
}

// variedChain is a chain of such reads in one file, which ends with the next start.
func variedChain(b *testing.B, records int) audit.Options {
	b.Helper()
	o := audit.Options{Audit: inOneFile(b), Queue: 4 * records, Log: slog.New(slog.DiscardHandler)}
	l, err := audit.Open(o)
	testkit.Must(b, err)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range records {
		l.Done(variedRead(random, i))
	}
	testkit.Must(b, l.Close())
	o.SegmentSize = 1
	return o
}

// bytesOf is the size of a chain's records on disk.
func bytesOf(b *testing.B, o audit.Options) (size int64) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(o.Dir, o.Replica, "evidence-*"))
	testkit.Must(b, err)
	for _, file := range files {
		info, err := os.Stat(file)
		testkit.Must(b, err)
		size += info.Size()
	}
	return size
}

// BenchmarkCompress is what compressing the ended files of a chain costs and saves.
func BenchmarkCompress(b *testing.B) {
	var before, after int64
	for range b.N {
		b.StopTimer()
		o := variedChain(b, 50_000)
		was := bytesOf(b, o)
		b.StartTimer()
		if _, err := audit.Keep(o); err != nil { // without the rests that a gateway takes
			b.Fatal(err)
		}
		before, after = before+was, after+bytesOf(b, o)
	}
	b.ReportMetric(float64(before)/float64(after), "times-smaller")
	b.ReportMetric(float64(before)/1e6/b.Elapsed().Seconds(), "MB/s")
}

// BenchmarkVerify is how fast a chain is verified and searched, before and after its
// file is compressed.
func BenchmarkVerify(b *testing.B) {
	const records = 100_000
	o := variedChain(b, records)
	verifyAndSearch(b, "plain", o, records)
	if _, err := audit.Keep(o); err != nil {
		b.Fatal(err)
	}
	verifyAndSearch(b, "compressed", o, records)
}

func verifyAndSearch(b *testing.B, form string, o audit.Options, records uint64) {
	b.Helper()
	chain := filepath.Join(o.Dir, o.Replica)
	rate := func(b *testing.B) {
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	}
	b.Run(form+"/verify", func(b *testing.B) {
		for b.Loop() {
			reports, _, err := audit.VerifyAll([]string{chain}, audit.VerifyOptions{})
			if err != nil || len(reports[0].Findings) > 0 || reports[0].Records < records {
				b.Fatal(err, reports)
			}
		}
		rate(b)
	})
	b.Run(form+"/search for what is not there", func(b *testing.B) {
		for b.Loop() {
			s, err := audit.Search(chain, audit.Query{Message: "none"}, func(*audit.Found) error { return nil })
			if err != nil || s.Records < records {
				b.Fatal(err, s)
			}
		}
		rate(b)
	})
}
