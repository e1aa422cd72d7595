package tenancy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"ebox-gateway/internal/tenancy"
)

// Bodies of grant/citizen are read whole, up to 1 MB by default. What a hostile one makes the
// gateway allocate besides stays within a few times its size, whatever it is full of.
func TestReadingABodyTakesLittleMemory(t *testing.T) {
	const size = 1 << 20
	filled := func(first, each, last string) []byte {
		var b strings.Builder
		b.WriteString(first)
		for i := 0; b.Len() < size; i++ {
			if strings.Contains(each, "%") {
				fmt.Fprintf(&b, each, i)
			} else {
				b.WriteString(each)
			}
		}
		return []byte(b.String() + last)
	}
	for name, c := range map[string]struct {
		body  []byte
		times uint64 // of its size
	}{
		"many elements":        {filled("[", "1,", "1]"), 2},
		"many members":         {filled("{", `"k%d":1,`, `"last":1}`), 16},
		"one long number":      {filled(`{"representedEnterpriseNumber":"`, "0", `"}`), 4},
		"many different words": {filled(`{"representedEnterprise":[`, `"1x%d",`, `""]}`), 32},
		"escapes":              {filled(`{"representedEnterprise":"`, `\u0041`, `"}`), 4},
		"deep brackets":        {filled("", "[", ""), 2},
		"many numbers":         {filled(`{"representedEnterpriseNumber":[`, `"0206731645",`, `1]}`), 4},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = tenancy.NamedInBody(c.body, "application/json", "")
		runtime.ReadMemStats(&after)
		// The count is that of the whole process: what else ran has its size once more.
		if took := after.TotalAlloc - before.TotalAlloc; took > (c.times+1)*uint64(len(c.body)) {
			t.Errorf("%s: %d bytes are allocated for a body of %d", name, took, len(c.body))
		}
	}
}
