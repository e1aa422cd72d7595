package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

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
