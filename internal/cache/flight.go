package cache

import (
	"context"
	"ebox-gateway/internal/call"
	"net/http"
	"sync"
	"time"
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

// ending is how a flight came to its end.
type ending uint8

const (
	unshared  ending = iota // what came cannot be given to others: they ask for themselves
	landed                  // its entry is there
	abandoned               // its leader went away: another may try
)

// flight is one request on its way upstream, whose answer others wait for. Its leader
// is the request that began it; if the leader goes away, one of those who wait begins anew.
type flight struct {
	mark Mark
	// headed is closed when the answer's header has come, done at the end; what is
	// below is written before.
	headed, done chan struct{}
	once, head   sync.Once

	ending ending
	entry  *Entry
}

// flights are those under way, by key.
type flights struct {
	mu    sync.Mutex
	under map[digest]*flight
}

// join gives the flight for a key and whether the caller leads it. A flight that began
// before a write is not joined: its answer may be what was before.
func (f *flights) join(k *Key, mark Mark) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.under[k.id]; ok && under.mark == mark {
		return under, false
	}
	fl := &flight{mark: mark, headed: make(chan struct{}), done: make(chan struct{})}
	if f.under == nil {
		f.under = make(map[digest]*flight)
	}
	f.under[k.id] = fl
	return fl, true
}

// land ends a flight; only the first end counts. A nil flight is none.
func (f *flights) land(k *Key, fl *flight, end ending, e *Entry) {
	if fl == nil {
		return
	}
	fl.once.Do(func() {
		f.mu.Lock()
		if f.under[k.id] == fl {
			delete(f.under, k.id)
		}
		f.mu.Unlock()
		fl.ending, fl.entry = end, e
		fl.hasHeader()
		close(fl.done)
	})
}

// hasHeader says that the header of the answer has come.
func (fl *flight) hasHeader() {
	if fl != nil {
		fl.head.Do(func() { close(fl.headed) })
	}
}

// wait waits for the end of a flight; unshared if it takes too long since began, when this
// request began to wait, or ctx is done.
func (fl *flight) wait(ctx context.Context, began time.Time) (ending, *Entry) {
	timer := time.NewTimer(headWait - time.Since(began))
	defer timer.Stop()
	select {
	case <-fl.headed:
	case <-timer.C:
		return unshared, nil
	case <-ctx.Done():
		return unshared, nil
	}
	select {
	case <-fl.done:
		return fl.ending, fl.entry
	default:
	}
	timer.Reset(bodyWait - time.Since(began))
	select {
	case <-fl.done:
		return fl.ending, fl.entry
	case <-timer.C:
	case <-ctx.Done():
	}
	return unshared, nil
}

// mayWait reports whether the answer to somebody else's request would do: the caller asks
// for the whole and for nothing newer than what comes.
func (rd *reading) mayWait() bool {
	q := &rd.q
	return rd.x.Method == http.MethodGet && !q.cc.noCache && !q.cc.noStore && q.cc.maxAge == absent &&
		q.cc.minFresh == absent && !q.credentials &&
		(rd.entry != nil || !q.conditional && len(rd.x.Header["Range"]) == 0)
}

// waited waits for the answer to the same request of another caller, if there is one
// under way, and answers with it. If not, it is nil and this request leads, or asks for
// itself; what it waited comes off its own header time-out.
func (rd *reading) waited(ctx context.Context) *call.Answer {
	at, began := rd.places[0], time.Now()
	defer func() { rd.x.Waited = time.Since(began) }()
	for range maxLeaders {
		f, leads := rd.c.flights.join(&at.key, at.mark)
		if leads {
			rd.flight = f
			// The flight before may have landed since this request looked.
			e := rd.meanwhile()
			if e == nil {
				return nil
			}
			a := rd.collapsed(e)
			if a != nil {
				rd.land(landed, e)
			}
			return a
		}
		switch end, e := f.wait(ctx, began); {
		case end == abandoned:
		case end == landed && e.selected(rd.x):
			return rd.collapsed(e)
		default:
			return nil
		}
	}
	return nil
}

// meanwhile gives what has been stored since this request arrived, nil for nothing.
func (rd *reading) meanwhile() *Entry {
	for _, at := range rd.places {
		variants, _ := rd.c.memory.load(&at.key, at.mark, rd.arrived)
		if e := choose(variants, at.mark, rd.x); e != nil && e != rd.entry && !e.Received.Before(rd.arrived) {
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
	return rd.answer(e, now, withTTL(rd.why+"; collapsed", left))
}
