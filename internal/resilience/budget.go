package resilience

import "sync/atomic"

// budget bounds retries, so that an outage is not multiplied.
//
// Each call pays 0.18 of a retry into a purse that starts with four and holds no
// more. Whatever came before, n calls have at most 4 + 0.18·n retries, which from
// 200 calls on is at most a fifth of them; of fewer, an upstream can bear four more.
type budget struct {
	purse atomic.Int64 // in hundredths of a retry

	spent, denied atomic.Uint64
}

const (
	retryPrice = 100
	callPays   = 18
	purseHolds = 4 * retryPrice
)

// call pays for a call.
func (b *budget) call() {
	for {
		held := b.purse.Load()
		if held >= purseHolds || b.purse.CompareAndSwap(held, min(held+callPays, purseHolds)) {
			return
		}
	}
}

// retry pays for a retry; false if there is not enough left.
func (b *budget) retry() bool {
	for {
		held := b.purse.Load()
		if held < retryPrice {
			b.denied.Add(1)
			return false
		}
		if b.purse.CompareAndSwap(held, held-retryPrice) {
			b.spent.Add(1)
			return true
		}
	}
}
