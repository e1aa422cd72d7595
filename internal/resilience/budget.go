package resilience

import "sync/atomic"

// budget bounds retries twice, so that an outage is not multiplied: how many run at
// once, as a part of the calls in flight, and how many there are over time, as a
// part of the calls that were made.
//
// Each call pays 0.18 of a retry into a purse that starts with four and holds no
// more. Whatever came before, n calls have at most 4 + 0.18·n retries, which from
// 200 calls on is at most a fifth of them; of fewer, an upstream can bear four more.
type budget struct {
	calls   atomic.Int64 // in flight, retries included
	retries atomic.Int64 // in flight
	purse   atomic.Int64 // in hundredths of a retry

	spent, denied atomic.Uint64
}

const (
	retryPrice   = 100
	callPays     = 18
	purseHolds   = 4 * retryPrice
	alwaysAtOnce = 3 // retries at once that a quiet upstream gets, too
	partAtOnce   = 5 // one in five
)

func (b *budget) begin() {
	b.calls.Add(1)
	for {
		held := b.purse.Load()
		if held >= purseHolds || b.purse.CompareAndSwap(held, min(held+callPays, purseHolds)) {
			return
		}
	}
}

func (b *budget) end() { b.calls.Add(-1) }

// retry pays for a retry and must be followed by retried; false if there is no
// money or there are too many at once.
func (b *budget) retry() bool {
	if n := b.retries.Add(1); n > max(alwaysAtOnce, b.calls.Load()/partAtOnce) {
		b.retries.Add(-1)
		b.denied.Add(1)
		return false
	}
	for {
		held := b.purse.Load()
		if held < retryPrice {
			b.retries.Add(-1)
			b.denied.Add(1)
			return false
		}
		if b.purse.CompareAndSwap(held, held-retryPrice) {
			b.spent.Add(1)
			return true
		}
	}
}

func (b *budget) retried() { b.retries.Add(-1) }
