package replicas

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// verdict is what a call said about Redis.
type verdict uint8

const (
	// well is the answer that was hoped for.
	well verdict = iota
	// neutral says nothing: the caller went away.
	neutral
	// poor is an answer at once, though not the one hoped for: nobody had to wait.
	poor
	// away is no answer in time, or one that says that there will be none for a while.
	away
)

// Trouble is what is wrong with Redis.
type Trouble struct {
	// Reason is Redis's own answer, or what the network said. It names the server and
	// holds no secret.
	Reason string
	Since  time.Time
	// Away says that Redis is not asked for the moment.
	Away bool
}

// judge tells what an error says. outer is the context of whoever asked, without the
// patience.
func judge(outer context.Context, err error) verdict {
	var reply redis.Error
	var unexpected odd
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return well
	case gone(outer):
		return neutral
	case errors.As(err, &reply):
		return judgeReply(reply.Error())
	case errors.As(err, &unexpected):
		return poor
	default: // time-outs, refused connections, cut ones
		return away
	}
}

// gone tells that whoever asked waits no longer. A connection's deadline, which is the
// context's, may be over a moment before the context says so itself.
func gone(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// odd is an answer that came at once and makes no sense.
type odd string

func (o odd) Error() string { return string(o) }

// judgeReply tells errors of one key or command from those of a server that is of no
// use as a whole. A server that only reads is of no use: epochs that nobody can move
// on are no epochs.
func judgeReply(text string) verdict {
	for _, prefix := range []string{"LOADING ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "NOREPLICAS ", "NOAUTH ",
		"WRONGPASS ", "MISCONF ", "ERR max number of clients"} {
		if strings.HasPrefix(text, prefix) {
			return away
		}
	}
	return poor
}

// circuit keeps requests from Redis while it is in trouble. It opens at the first call
// that is away, so that one moment of trouble costs each request the patience once; and
// only a probe closes it, so that no request waits to find out.
type circuit struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	now     func() time.Time
	log     *slog.Logger
	trouble atomic.Pointer[Trouble]
	opened  atomic.Uint64
}

// What the breaker library is told.
var (
	errNeutral = errors.New("says nothing")
	errAwayNow = errors.New("is away")
)

func newCircuit(open time.Duration, now func() time.Time, log *slog.Logger) *circuit {
	c := &circuit{now: now, log: log}
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: "Redis", MaxRequests: 1, Timeout: open / 2, // over by the next probe
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures > 0 },
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return err == errNeutral },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.opened.Add(1)
			}
		},
	})
	return c
}

// closed tells whether requests may call Redis.
func (c *circuit) closed() bool { return c.breaker.State() == gobreaker.StateClosed }

// admit lets a call pass. Its end must be told exactly once. A request passes only
// while the circuit is closed; a half-open one waits for the probe.
func (c *circuit) admit(probing bool) (func(verdict, error), error) {
	if !probing && !c.closed() {
		return nil, errAway
	}
	done, err := c.breaker.Allow()
	if err != nil {
		return nil, errAway
	}
	if !probing && !c.closed() { // it half-opened in between: that place is the probe's
		done(errNeutral)
		return nil, errAway
	}
	return func(v verdict, err error) {
		switch v {
		case well:
			done(nil)
		case neutral:
			done(errNeutral)
		case poor:
			c.note(err, false)
			done(nil)
		case away:
			c.note(err, true)
			done(errAwayNow)
		}
	}, nil
}

// note remembers trouble until a probe finds none, and tells the log of the first.
func (c *circuit) note(err error, gone bool) {
	for {
		next := &Trouble{Reason: reason(err), Since: c.now(), Away: gone}
		last := c.trouble.Load()
		if last != nil {
			if last.Away && !gone {
				return
			}
			next.Since = last.Since
		}
		if !c.trouble.CompareAndSwap(last, next) {
			continue
		}
		if last == nil || last.Away != gone {
			c.log.Warn("Redis is in trouble; the gateway goes on without it where it has to", "reason",
				next.Reason, "away", gone)
		}
		return
	}
}

// found replaces what is remembered by what a probe has found.
func (c *circuit) found(err error, gone bool) {
	next := &Trouble{Reason: reason(err), Since: c.now(), Away: gone}
	if last := c.trouble.Load(); last != nil {
		next.Since = last.Since
	}
	c.trouble.Store(next)
}

// reason says what an error means to the platform team.
func reason(err error) string {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return "Redis did not answer in time"
	}
	return err.Error()
}

// clear forgets the trouble.
func (c *circuit) clear() {
	if last := c.trouble.Swap(nil); last != nil {
		c.log.Info("Redis is well again", "troubleSince", last.Since)
	}
}
