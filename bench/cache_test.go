package bench_test

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkCache measures a page of messages through the whole chain: past the cache,
// from it, asked about with its tag, and stored each time under another name.
func BenchmarkCache(b *testing.B) {
	upstream := start(b, "upstream", "")
	const base = "/ebox/providers/nsso"
	for _, what := range []struct{ name, role, path string }{
		{"upstream", "gateway-quiet", base + "/kept/messages"},
		{"hit", "gateway-cache", base + "/kept/messages"},
		{"validation", "gateway-cache", base + "/ebox/messages"},
	} {
		b.Run(what.name, func(b *testing.B) { load(b, start(b, what.role, upstream.URL), what.path) })
	}
	b.Run("miss", func(b *testing.B) {
		gateway := start(b, "gateway-cache", upstream.URL)
		report(b, gateway, b.N, func() {
			var n atomic.Int64
			crowd(b, gateway, callers, func() (string, bool) {
				i := n.Add(1)
				return fmt.Sprintf("%s/kept/messages?n=%d", base, i), i <= int64(b.N)
			})
		})
	})
	b.Run("collapse-64", func(b *testing.B) {
		// 64 callers want the same distant page, which has to be asked about each time.
		gateway := start(b, "gateway-cache", upstream.URL)
		report(b, gateway, 64*b.N, func() {
			crowd(b, gateway, 64, same("/ebox/providers/distant/ebox/messages", 64*b.N))
		})
	})
}
