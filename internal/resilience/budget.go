package resilience

import "sync/atomic"

// budget bounds retries, so that an outage is not multiplied.
//
// Each call deposits 0.18 of a retry on a balance that begins with four and holds no
// more. Whatever came before, n calls have at most 4 + 0.18·n retries, which from
// 200 calls on is at most a fifth of them; of fewer, an upstream can bear four more.
type budget struct {
	balance atomic.Int64 // in hundredths of a retry

	spent, denied atomic.Uint64
}

const (
	retryCost  = 100
	deposit    = 18
	maxBalance = 4 * retryCost
)

// call pays for a call.
func (b *budget) call() {
	for {
		held := b.balance.Load()
		if held >= maxBalance || b.balance.CompareAndSwap(held, min(held+deposit, maxBalance)) {
			return
		}
	}
}

// retry pays for a retry; false if there is not enough left.
func (b *budget) retry() bool {
	for {
		held := b.balance.Load()
		if held < retryCost {
			b.denied.Add(1)
			return false
		}
		if b.balance.CompareAndSwap(held, held-retryCost) {
			b.spent.Add(1)
			return true
		}
	}
}
