package memory

import (
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// TuneCollector has the garbage collector of this process keep within the container's memory, and
// leave a small heap alone.
func TuneCollector(log *slog.Logger) {
	limitHeap(log)
	raiseHeapFloor()
}

// limitHeap lets the garbage collector know of the container's memory limit, so
// that it works harder before the kernel ends the process. A tenth is left for what
// is no heap. GOMEMLIMIT, if it is set, says it instead.
func limitHeap(log *slog.Logger) {
	const ratio = 0.9
	limit, err := memlimit.Set(memlimit.WithRatio(ratio), memlimit.WithProvider(memlimit.FromCgroup))
	const unlimited = 1 << 60 // what a cgroup without a limit may say
	switch {
	case err == nil && limit >= unlimited:
	case err == nil:
		log.Info("the memory limit is that of the cgroup", "bytes", limit)
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup),
		errors.Is(err, memlimit.ErrCgroupsNotSupported):
	default:
		log.Warn("the memory limit of the cgroup could not be read", "cause", err.Error())
	}
}

// heapFloor is the heap, in bytes, below which no garbage is collected. A gateway lives on
// some five megabytes: Go's usual percentage would have it collect after five more, dozens of
// times a second under load, and each time look through every goroutine's stack.
const heapFloor = 24 << 20

// raiseHeapFloor lets garbage be collected when the heap is twice what lives on it, which is
// Go's default, but not below heapFloor. The percentage is set anew after each collection, so
// that a heap that grows is soon back at the default. Who sets GOGC has it as it is.
func raiseHeapFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := 100
	var afterEach func(struct{})
	afterEach = func(struct{}) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		// Setting it stops the world for a moment, so that small changes are left.
		if next := collectorPercent(live[0].Value.Uint64()); next < now || next > now+now/4 {
			now = next
			debug.SetGCPercent(next)
		}
		runtime.AddCleanup(new([2]*byte), afterEach, struct{}{}) // runs after the next one
	}
	afterEach(struct{}{})
}

// collectorPercent is how much a heap may grow, in percent of what lives on it.
func collectorPercent(live uint64) int {
	if live >= heapFloor/2 {
		return 100
	}
	live = max(live, heapFloor/6) // the percentage also counts for the least heap, 4 MB at 100
	return int((heapFloor - live) * 100 / live)
}
