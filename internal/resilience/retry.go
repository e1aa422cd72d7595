package resilience

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

const (
	// firstBackoff doubles with each retry, up to maxBackoff; the wait is a random
	// part of it, so that callers that failed together do not return together.
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
	// maxRetryAfter is the longest Retry-After that is waited for here. A longer
	// one is passed on to the caller.
	maxRetryAfter = 2 * time.Second
	// maxKept is the longest body of a failed answer that is read to its end, for
	// the sake of its connection and of the caller, who gets it if the next try is
	// not made after all. A longer one, or one of unknown length, is closed unread.
	maxKept = 16 << 10
)

// Retry is the outermost layer, above the token. It tries a call anew, up to
// Settings.Tries in all, before anything of the answer was handed up:
//
//   - GET, HEAD and OPTIONS that open no document, after a failure of the transport
//     or an answer of 502, 503 or 504 that is not Options.Neutral;
//   - every other call only if its connection was never made and its body, if any,
//     can be had again from GetBody.
//
// There is no retry after a time-out, for which the caller has waited once already, or
// after a refusal of the gateway's own; none if the context has ended or would end before
// it; and none beyond the budget. The caller then gets the failure as it was, also if the
// gateway itself refuses the retry, as by a circuit that has opened.
func (u *Upstream) Retry(next call.Sender) call.Sender {
	if u.o.Settings.Tries <= 1 {
		return next
	}
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		u.budget.call()
		answer, err := next.Send(ctx, c, r)
		for try := 1; try < u.o.Settings.Tries && u.worthRetrying(c, answer, err); try++ {
			wait, inTime := u.backoff(ctx, try, answer)
			if !inTime {
				break
			}
			again, ok := repeatable(r)
			if !ok {
				break
			}
			if !u.budget.retry() {
				call.CloseBody(again)
				break
			}
			kept, failure := keep(r.Method, answer), err
			if err := u.pause(ctx, c, wait); err != nil {
				call.CloseBody(again)
				return nil, err
			}
			answer, err = next.Send(ctx, c, again)
			if err != nil && refused(err) && (kept != nil || failure != nil) {
				// It was the upstream that failed, not the caller who called too often.
				return kept, failure
			}
		}
		return answer, err
	})
}

// worthRetrying reports whether what came back allows another try at all.
func (u *Upstream) worthRetrying(c *call.Call, answer *http.Response, err error) bool {
	if err == nil && !failing(answer.StatusCode) {
		return false
	}
	safe := safeMethod(c.Method) && !c.Opening
	if err == nil {
		return safe && !u.o.Neutral(c, answer)
	}
	if refused(err) {
		return false
	}
	f := u.o.Classify(err)
	return !f.Cancelled && !f.Timeout && (safe || !f.Sent)
}

func safeMethod(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// refused reports whether an error is a refusal of the gateway's own: an open circuit, a full
// bulkhead, a rate, a token that was not to be had.
func refused(err error) bool {
	var own problem.Reporter
	return errors.As(err, &own)
}

// repeatable returns the request for another try; false if its body is gone. The
// first body and header may still be read by the transport and are left to it.
func repeatable(r *http.Request) (*http.Request, bool) {
	again := new(http.Request)
	*again = *r
	again.Header = r.Header.Clone() // layers below may write into it
	if r.Body == nil || r.Body == http.NoBody {
		return again, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	again.Body = body
	return again, err == nil
}

// backoff is how long to wait before the next try; false if that is too long.
func (u *Upstream) backoff(ctx context.Context, try int, answer *http.Response) (time.Duration, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	backoff := min(firstBackoff<<min(try-1, 10), maxBackoff)
	wait := time.Duration(u.o.Rand() * float64(backoff))
	now := u.o.Now()
	if answer != nil {
		asked := wire.RetryAfter(answer.Header, now)
		if asked > maxRetryAfter {
			return 0, false
		}
		wait += asked
	}
	deadline, limited := ctx.Deadline()
	return wait, !limited || now.Add(wait).Before(deadline)
}

// keep ends a failed answer, so that its place and its connection are free for
// others, and returns it with its body read, or nil if that was too long.
func keep(method string, answer *http.Response) *http.Response {
	if answer == nil {
		return nil
	}
	defer answer.Body.Close()
	kept := *answer
	if method == http.MethodHead { // the length it says is another's
		kept.Body = http.NoBody
		return &kept
	}
	if answer.ContentLength < 0 || answer.ContentLength > maxKept {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxKept))
	if err != nil || int64(len(body)) != answer.ContentLength {
		return nil
	}
	kept.Body = io.NopCloser(bytes.NewReader(body))
	return &kept
}

// pause waits, and notes it as time spent on limits.
func (u *Upstream) pause(ctx context.Context, c *call.Call, wait time.Duration) error {
	start := u.o.Now()
	var err error
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.Record.Phases.Limits += u.o.Now().Sub(start)
	return err
}
