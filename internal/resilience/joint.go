package resilience

import (
	"context"
	"errors"
	"sync"
	"time"

	"ebox-gateway/internal/call"
)

// Joint is a rate that this replica spends together with others. How they agree is
// its own affair; it is safe for concurrent use.
type Joint interface {
	// Take spends a token if there is one. Otherwise it returns how long it takes until
	// there may be one, at least a nanosecond: another replica may be quicker. A batch
	// call leaves the others what a Joint was told to leave them. Take does not wait
	// for tokens; what it waits for an answer is bounded, by c.Redis too.
	Take(ctx context.Context, c *call.Call, batch bool) time.Duration
}

// BatchShare is the part of an upstream's rate and bulkhead that is open to batch calls.
const BatchShare = batchPart

// pacer is what a rate is spent from: a bucket of this replica, or a Joint with a line
// of this replica in front of it.
type pacer interface {
	// take spends a token if there is one, and otherwise tells when there is.
	take(ctx context.Context, c *call.Call, now time.Time) (short time.Duration)
	// await spends a token in the order of the line, waiting for at most pace. See
	// bucket.await.
	await(ctx context.Context, c *call.Call, now func() time.Time, pace time.Duration) (time.Duration, error)
}

// jointLine is the line of one replica in front of a Joint. As in front of a bucket, the
// head alone looks for tokens; the heads of several replicas compete, each asking again
// when a token is due.
type jointLine struct {
	joint Joint
	// each is how long one token takes in the long run, for those who are not the head.
	each time.Duration

	mu      sync.Mutex // never held while anybody waits
	waiting int
	line    chan struct{} // holds one, the head
}

func newJointLine(j Joint, perSecond float64) *jointLine {
	return &jointLine{joint: j, each: time.Duration(float64(time.Second) / perSecond), line: make(chan struct{}, 1)}
}

func (l *jointLine) take(ctx context.Context, c *call.Call, _ time.Time) time.Duration {
	return l.joint.Take(ctx, c, false)
}

func (l *jointLine) await(ctx context.Context, c *call.Call, now func() time.Time,
	pace time.Duration) (time.Duration, error) {
	until := now().Add(pace)
	ahead := l.join()
	defer l.leave()
	if short := time.Duration(ahead) * l.each; short > pace {
		return short, nil // its turn would come too late
	}
	select {
	case l.line <- struct{}{}:
	default:
		timer := time.NewTimer(pace)
		defer timer.Stop()
		select {
		case l.line <- struct{}{}:
		case <-timer.C:
			return max(time.Duration(ahead)*l.each, 1), nil
		case <-ctx.Done():
			return l.givenUp(ctx, l.each)
		}
	}
	defer func() { <-l.line }()
	return l.head(ctx, c, now, until)
}

// head is the head of the line.
func (l *jointLine) head(ctx context.Context, c *call.Call, now func() time.Time,
	until time.Time) (time.Duration, error) {
	for {
		short := l.joint.Take(ctx, c, true)
		if short <= 0 {
			return 0, nil
		}
		if now().Add(short).After(until) {
			return short, nil
		}
		timer := time.NewTimer(short)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return l.givenUp(ctx, short)
		}
	}
}

// join counts a call into the line and tells how many are before it.
func (l *jointLine) join() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
	return l.waiting - 1
}

func (l *jointLine) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
}

// givenUp is for a ctx that has ended. See bucket.givenUp.
func (l *jointLine) givenUp(ctx context.Context, short time.Duration) (time.Duration, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, context.Cause(ctx)
	}
	return short, nil
}
