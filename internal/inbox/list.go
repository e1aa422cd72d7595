package inbox

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/memory"
)

// List gives one page of the list over all providers. self is the URL of the list, as
// this caller reaches it, for links.
//
// Messages come newest first; those of the same moment by the id of their provider, and
// one provider's in its own order. Result is never nil. The error is a *problem.Problem,
// 503, if no provider has answered, or not all where all were wanted, or there is no memory
// for the messages; if the caller has gone, it is that of ctx.
func (r *Round) List(ctx context.Context, q *Query, self string) (*Result, error) {
	asked, result := r.begin()
	streams := make([]*stream, len(asked))
	for i, p := range asked {
		streams[i] = newStream(r, p.ID, q)
	}
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	w := merge(limited, q, streams)
	for n := 0; n < maxRestarts && slices.ContainsFunc(streams, (*stream).shrank); n++ {
		for i, s := range streams {
			streams[i] = s.anew()
		}
		w = merge(limited, q, streams)
	}
	w.self, w.memory = self, r.Memory
	if isGone(ctx) {
		return result, ctx.Err()
	}
	var missing []*Missing
	answered := 0
	for _, s := range streams {
		if errors.Is(s.err, errFull) {
			return result, memory.Full()
		}
		if s.missing != nil {
			missing = append(missing, s.missing)
		}
		if s.missing == nil || s.count > 0 {
			answered++
		}
	}
	if err := r.settle(result, missing, answered, q.Whole); err != nil {
		return result, err
	}
	about := w.about(result.Missing)
	result.Next = about.Next
	if result.Body = w.write(about); result.Body == nil {
		return result, memory.Full()
	}
	return result, nil
}

// merge reads the lists as far as the page goes.
func merge(ctx context.Context, q *Query, streams []*stream) *listWriter {
	each(len(streams), func(i int) { streams[i].head(ctx) })
	w := &listWriter{q: q, streams: streams}
	for i := range q.last() {
		s := newest(ctx, streams)
		if s == nil {
			break
		}
		w.take(s, i >= q.last()-q.PageSize)
	}
	return w
}

// newest finds the list with the newest message; of the same moment, the one of the
// first provider. Every list has to show its head for that.
func newest(ctx context.Context, streams []*stream) *stream {
	var best *stream
	for _, s := range streams {
		if m := s.head(ctx); m != nil && (best == nil || m.at.After(best.unread[0].at)) {
			best = s
		}
	}
	return best
}

// listWriter writes the answer.
type listWriter struct {
	q       *Query
	self    string
	streams []*stream
	memory  *memory.Account
	// page are the messages of the page, from the streams that they are of.
	page []message
	from []*stream
	// latest is when the last message of the page was received, to the millisecond, and
	// tied how many of the list's, up to it, are of that very moment.
	latest time.Time
	tied   int
}

// take takes the head of a stream, into the page if it belongs there; if not, its bytes are
// held no longer.
func (w *listWriter) take(s *stream, wanted bool) {
	m := &s.unread[0]
	if wanted {
		w.page, w.from = append(w.page, *m), append(w.from, s)
	} else {
		s.round.Memory.Give(m.size())
	}
	if at := m.received.Truncate(time.Millisecond); at.Equal(w.latest) {
		w.tied++
	} else {
		w.latest, w.tied = at, 1
	}
	s.take()
}

// aboutList is what stands behind the items: the count and the links as the API has them
// before version 3 (totalItems, _links) and in the Belgif guide (total, next …), since
// callers read the one or the other; and who is missing.
type aboutList struct {
	TotalItems *int                         `json:"totalItems,omitempty"`
	Total      *int                         `json:"total,omitempty"`
	Self       string                       `json:"self"`
	First      string                       `json:"first"`
	Prev       string                       `json:"prev,omitempty"`
	Next       string                       `json:"next,omitempty"`
	Links      map[string]map[string]string `json:"_links"`
	Incomplete []*Missing                   `json:"incomplete,omitempty"`
}

// write gives the answer, nil if there is no memory for it.
func (w *listWriter) write(about *aboutList) []byte {
	size := int64(1024)
	for i := range w.page {
		size += w.page[i].size()
	}
	if !w.memory.Hold(size) {
		return nil
	}
	b := append(make([]byte, 0, size), `{"items":[`...)
	ids := make(map[*stream][]byte, len(w.streams))
	for i, m := range w.page {
		s := w.from[i]
		if ids[s] == nil {
			ids[s] = jsonscan.Encoded(s.provider)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = named(b, m.raw, ids[s])
	}
	b = append(append(b, "],"...), jsonscan.Encoded(about)[1:]...)
	return append(b, '\n')
}

// total is the sum of what the providers count, if it is true of all of them.
func (w *listWriter) total() (sum int, counted bool) {
	for _, s := range w.streams {
		n, known := s.sum()
		if !known {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// about says what there is to the list. All links but self hold it to the messages up to the
// newest one that there is now: what comes in later has a later date, and so moves nothing
// from one page to another.
func (w *listWriter) about(missing []*Missing) *aboutList {
	q := w.q
	before := q.before
	if anchor := w.anchor(); !anchor.IsZero() {
		before = receivedBefore(anchor)
	}
	a := &aboutList{Self: w.link(q.before, q.Page, q.skip), First: w.link(before, 1, q.skip), Incomplete: missing}
	if q.Page > 1 {
		a.Prev = w.link(before, q.Page-1, q.skip)
	}
	switch more := slices.ContainsFunc(w.streams, (*stream).more); {
	case !more || len(w.page) == 0:
	case (q.Page+1)*q.PageSize <= Deepest:
		a.Next = w.link(before, q.Page+1, q.skip)
	case !w.latest.IsZero() && w.tied <= Deepest:
		// No page reaches deeper, so the list is taken up again at the moment of the
		// last message, without those of that moment that were given.
		a.Next = w.link(receivedBefore(above(w.latest)), 1, w.tied)
	}
	if total, counted := w.total(); counted && len(missing) == 0 {
		a.TotalItems, a.Total = &total, &total
	}
	a.Links = make(map[string]map[string]string)
	for relation, url := range map[string]string{"self": a.Self, "first": a.First, "prev": a.Prev, "next": a.Next} {
		if url != "" {
			a.Links[relation] = map[string]string{"href": url}
		}
	}
	return a
}

func (w *listWriter) anchor() time.Time {
	var newest time.Time
	for _, s := range w.streams {
		if s.newest.After(newest) {
			newest = s.newest
		}
	}
	if newest.IsZero() {
		return w.q.window["receivedBefore"] // there are no dates to go by
	}
	return above(newest)
}

// above is the first moment behind t in whole milliseconds, which is as much as
// programs that write dates tell apart.
func above(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond).Add(time.Millisecond) }

func receivedBefore(t time.Time) string {
	return "receivedBefore=" + t.UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

func (w *listWriter) link(before string, page, skip int) string {
	query := join(join(w.q.filters, before), w.q.partial)
	query = join(query, "page="+strconv.Itoa(page)+"&pageSize="+strconv.Itoa(w.q.PageSize))
	if skip > 0 {
		query += "&skip=" + strconv.Itoa(skip)
	}
	return w.self + "?" + query
}

// named appends the object with the provider's id as its first member. id is quoted.
func named(b, object []byte, id []byte) []byte {
	b = append(append(b, `{"providerId":`...), id...)
	if rest := jsonscan.Without(object, "providerId"); len(rest) > 0 {
		b = append(append(b, ','), rest...)
	}
	return append(b, '}')
}
