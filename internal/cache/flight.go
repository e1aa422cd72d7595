package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/flight"
)

const (
	// maxLeaders is how often a request waits for another, each time because the one before
	// went away, until it asks for itself.
	maxLeaders = 3
	// headWait is how long a request waits for the header of an answer that another has asked
	// for, whoever that is by then. Then it asks for itself: an upstream that answers nothing is
	// seen by each of its callers, and by the circuit breaker, after one time-out and not after
	// two.
	headWait = 2 * time.Second
	// bodyWait is how long it waits in all, once the header is there. A slow body is no
	// reason to be slow with it.
	bodyWait = 5 * time.Second
)

// asking is what a flight asks for. One that began before a write asks for something else than
// one that begins after it: its answer may be what was before.
type asking struct {
	key  digest
	mark Mark
}

// Why a flight brought nothing.
var (
	errUnshared  = errors.New("what came cannot be given to others") // they ask for themselves
	errAbandoned = errors.New("its leader went away")                // another may try
)

// join gives the flight for what is asked at a place, and whether the caller leads it: if it
// goes away, one of those who wait begins anew.
func (c *Cache) join(at *place) (*flight.Flight[*Entry], bool) {
	return c.flights.Join(asking{at.key.id, at.mark})
}

// await waits for the end of a flight, but not too long since began, when this request began to wait.
func await(ctx context.Context, f *flight.Flight[*Entry], began time.Time) (*Entry, error) {
	ctx, cancel := context.WithDeadline(ctx, began.Add(bodyWait))
	defer cancel()
	header := time.NewTimer(headWait - time.Since(began))
	defer header.Stop()
	select {
	case <-f.Begun():
		return f.Wait(ctx)
	case <-header.C:
	case <-ctx.Done():
	}
	return nil, errUnshared
}

// mayWait reports whether the answer to somebody else's request would do: the caller asks
// for the whole and for nothing newer than what comes.
func (rd *reading) mayWait() bool {
	q := &rd.q
	return q.method == http.MethodGet && !q.cc.noCache && !q.cc.noStore && q.cc.maxAge == absent &&
		q.cc.minFresh == absent && !q.credentials &&
		(rd.entry != nil || !q.conditional && len(q.header["Range"]) == 0)
}

// waited waits for the answer to the same request of another caller, if there is one
// under way, and answers with it. If not, it is nil and this request leads, or asks for
// itself; what it waited comes off its own header time-out.
func (rd *reading) waited(ctx context.Context) *call.Answer {
	at, began := &rd.places[0], time.Now()
	defer func() { rd.x.Waited = time.Since(began) }()
	for range maxLeaders {
		f, leads := rd.c.join(at)
		if leads {
			rd.flight = f
			// The flight before may have landed since this request looked.
			e := rd.meanwhile()
			if e == nil {
				return nil
			}
			a := rd.collapsed(e)
			if a != nil {
				rd.land(e, nil)
			}
			return a
		}
		switch e, err := await(ctx, f, began); {
		case err == errAbandoned:
		case err == nil && e.selected(rd.field):
			return rd.collapsed(e)
		default:
			return nil
		}
	}
	return nil
}

// meanwhile gives what has been stored since this request arrived, nil for nothing.
func (rd *reading) meanwhile() *Entry {
	for i := range rd.n {
		at := &rd.places[i]
		variants, _ := rd.c.memory.load(&at.key, at.mark, rd.arrived)
		if e := choose(variants, at.mark, rd.field); e != nil && e != rd.entry && !e.Received.Before(rd.arrived) {
			return e
		}
	}
	return nil
}

// collapsed answers with what another request has brought, if it may; nil if not.
func (rd *reading) collapsed(e *Entry) *call.Answer {
	now := rd.c.o.Now()
	use, left := e.judge(&rd.q.cc, rd.x.Keep.Policy, now)
	// This request was forwarded as one with the leader's (section 4). What came back
	// since it arrived answers it too, whatever becomes of the answer later.
	if use == unusable && e.Received.Before(rd.arrived) {
		return nil
	}
	rd.c.counts.collapsed.Add(1)
	return rd.answer(e, now, withTTL(rd.why+"; collapsed", left), false)
}
