package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// BenchmarkGrouping is what the intent of a write costs in CPU, and how many share a sync, while
// 64 callers write whose upstreams take some time, half of it to one and a half, to answer.
func BenchmarkGrouping(b *testing.B) {
	for _, upstream := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond} {
		b.Run(fmt.Sprintf("upstream %s", upstream), func(b *testing.B) {
			d := new(faulty)
			o := options(b.TempDir())
			o.OpenFile, o.Queue = d.openFile, 1<<20
			l := mustOpen(b, o)
			next, done := make(chan struct{}), make(chan struct{})
			before, began := cpuTime(), time.Now()
			for range 64 {
				go func() {
					w := write("w")
					for range next {
						if err := l.Intent(context.Background(), w); err != nil {
							b.Error(err)
						}
						time.Sleep(upstream/2 + rand.N(upstream+1))
					}
					done <- struct{}{}
				}()
			}
			for range b.N {
				next <- struct{}{}
			}
			close(next)
			for range 64 {
				<-done
			}
			b.ReportMetric(float64(b.N)/float64(d.syncs), "intents/sync")
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/intent")
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "intents/s")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // zero is told by the result
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
