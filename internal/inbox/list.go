package inbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	each(len(asked), func(i int) {
		streams[i] = newStream(r, asked[i].ID, q)
		streams[i].head(limited)
	})
	w := listWriter{q: q, self: self, streams: streams, memory: r.Memory}
	for i := range q.last() {
		s := newest(limited, streams)
		if s == nil {
			break
		}
		w.take(s, i >= q.last()-q.PageSize)
	}
	if isGone(ctx) {
		return result, ctx.Err()
	}
	var missing []*Missing
	answered := 0
	for _, s := range streams {
		if s.full {
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
	w.missing = result.Missing
	links := w.links()
	for _, l := range links {
		if l.relation == "next" {
			result.Next = l.url
		}
	}
	if result.Body = w.write(links); result.Body == nil {
		return result, memory.Full()
	}
	return result, nil
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

// listWriter writes the answer: items, and the count and the links as the API has them
// before version 3 (totalItems, _links) and in the Belgif guide (total, next …), since
// callers read the one or the other; and the member incomplete.
type listWriter struct {
	q       *Query
	self    string
	streams []*stream
	missing []*Missing
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
		w.memory.Give(m.size())
	}
	if at := m.received.Truncate(time.Millisecond); at.Equal(w.latest) {
		w.tied++
	} else {
		w.latest, w.tied = at, 1
	}
	s.take()
}

// pageLink is a link to a page of the list.
type pageLink struct{ relation, url string }

// write gives the answer, nil if there is no memory for it.
func (w *listWriter) write(links []pageLink) []byte {
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
	b = append(b, ']')
	total, counted := w.total()
	if counted {
		b = fmt.Appendf(b, `,"totalItems":%d,"total":%[1]d`, total)
	}
	hal := make([]string, len(links))
	for i, l := range links {
		url := jsonscan.Encoded(l.url)
		b = fmt.Appendf(b, `,"%s":%s`, l.relation, url)
		hal[i] = fmt.Sprintf(`"%s":{"href":%s}`, l.relation, url)
	}
	b = fmt.Appendf(b, `,"_links":{%s}`, strings.Join(hal, ","))
	if len(w.missing) > 0 {
		b = fmt.Appendf(b, `,"incomplete":%s`, jsonscan.Encoded(w.missing))
	}
	return append(b, "}\n"...)
}

// total is the sum of what the providers count, if it is true.
func (w *listWriter) total() (sum int, counted bool) {
	if len(w.missing) > 0 {
		return 0, false
	}
	for _, s := range w.streams {
		n, known := s.sum()
		if !known {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// links gives self, first, prev and next. All but self hold the list to the messages
// up to the newest one that there is now: what comes in later has a later date, and so
// moves nothing from one page to another.
func (w *listWriter) links() []pageLink {
	q := w.q
	before := q.before
	if anchor := w.anchor(); !anchor.IsZero() {
		before = receivedBefore(anchor)
	}
	list := []pageLink{w.link("self", q.before, q.Page, q.skip), w.link("first", before, 1, q.skip)}
	if q.Page > 1 {
		list = append(list, w.link("prev", before, q.Page-1, q.skip))
	}
	switch more := slices.ContainsFunc(w.streams, (*stream).more); {
	case !more || len(w.page) == 0:
	case (q.Page+1)*q.PageSize <= Deepest:
		list = append(list, w.link("next", before, q.Page+1, q.skip))
	case !w.latest.IsZero() && w.tied <= Deepest:
		// No page reaches deeper, so the list is taken up again at the moment of the
		// last message, without those of that moment that were given.
		list = append(list, w.link("next", receivedBefore(above(w.latest)), 1, w.tied))
	}
	return list
}

func (w *listWriter) anchor() time.Time {
	var newest time.Time
	for _, s := range w.streams {
		if s.newest.After(newest) {
			newest = s.newest
		}
	}
	if newest.IsZero() {
		return w.q.window.receivedBefore // there are no dates to go by
	}
	return above(newest)
}

// above is the first moment behind t in whole milliseconds, which is as much as
// programs that write dates tell apart.
func above(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond).Add(time.Millisecond) }

func receivedBefore(t time.Time) string {
	return "receivedBefore=" + t.UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

func (w *listWriter) link(relation, before string, page, skip int) pageLink {
	query := join(join(w.q.filters, before), w.q.partial)
	query = join(query, "page="+strconv.Itoa(page)+"&pageSize="+strconv.Itoa(w.q.PageSize))
	if skip > 0 {
		query += "&skip=" + strconv.Itoa(skip)
	}
	return pageLink{relation, w.self + "?" + query}
}

// named appends the object with the provider's id as its first member. id is quoted.
func named(b, object []byte, id []byte) []byte {
	b = append(append(b, `{"providerId":`...), id...)
	if rest := jsonscan.Without(object, "providerId"); len(rest) > 0 {
		b = append(append(b, ','), rest...)
	}
	return append(b, '}')
}
