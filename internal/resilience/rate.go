package resilience

import (
	"context"
	"net/http"

	"ebox-gateway/internal/call"
)

// Rate is the layer below the token. An interactive call beyond the upstream's rate
// is refused with ErrUpstreamRate as 429 and the time until there is room; a batch
// call waits in line for as long as its pace allows.
func (u *Upstream) Rate(next call.Sender) call.Sender {
	if u.rate == nil {
		return next
	}
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		short, err := u.rate.spend(ctx, c)
		if err == nil && short == 0 {
			return next.Send(ctx, c, r)
		}
		call.CloseBody(r)
		if err != nil {
			return nil, err
		}
		u.refusedRate.Add(1)
		perSecond, why := u.o.Settings.Rate.PerSecond, "The rate at which the gateway may call this upstream is used up. "+
			"Nothing was sent. Try again after the time in Retry-After."
		if c.Batch {
			perSecond *= batchPart
			why = "The part of this upstream's rate that is open to batch callers is used up for longer than this caller may " +
				"wait. Nothing was sent. Try again after the time in Retry-After, with fewer calls at once."
		}
		return nil, tooMany(perSecond, short, why, ErrUpstreamRate)
	})
}
