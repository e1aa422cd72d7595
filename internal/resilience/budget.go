package resilience

import "sync"

// budget bounds retries, so that an outage is not multiplied.
//
// Each call deposits 0.18 of a retry on a balance that begins with four and holds no
// more. Whatever came before, n calls have at most 4 + 0.18·n retries, which from
// 200 calls on is at most a fifth of them; of fewer, an upstream can bear four more.
type budget struct {
	mu            sync.Mutex
	balance       int // in hundredths of a retry
	spent, denied uint64
}

const (
	retryCost  = 100
	deposit    = 18
	maxBalance = 4 * retryCost
)

// call pays for a call.
func (b *budget) call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balance = min(b.balance+deposit, maxBalance)
}

// retry pays for a retry; false if there is not enough left.
func (b *budget) retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.balance < retryCost {
		b.denied++
		return false
	}
	b.balance -= retryCost
	b.spent++
	return true
}
