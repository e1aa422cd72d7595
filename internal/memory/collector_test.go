// Inside the package, since the collector of a process follows its own heap, which a test cannot set.

package memory

import "testing"

func TestTheCollectorLeavesASmallHeapAlone(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 500}, {4 << 20, 500}, {6 << 20, 300}, {8 << 20, 200}, {12 << 20, 100}, {1 << 30, 100},
	} {
		if got := collectorPercent(c.live); got != c.want {
			t.Errorf("with %d MB the percentage is %d, want %d", c.live>>20, got, c.want)
		}
	}
}
