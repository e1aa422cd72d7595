package inbox

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

const (
	// maxPages is how many pages of a provider are read for one of ours. The deepest
	// page takes a tenth of it from a provider with ten messages a page.
	maxPages = 250
	// maxQuery is the longest query of a provider's link that is followed, in bytes.
	maxQuery = 4 << 10
	// maxRepeats is how many pages in a row may bring nothing new: so many messages came
	// in while we read, or the provider gives the same page for ever.
	maxRepeats = 3
	// maxSeen is the most that the ids of a list may take while it is read, in bytes: a
	// hundred thousand messages that the window leaves out.
	maxSeen = 8 << 20
	// maxRestarts is how often a list is read anew because it became shorter.
	maxRestarts = 2
)

// distant is later than any date of a message.
var distant = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// stream is the list of one provider, newest first, of which no more is read than is
// asked for. It belongs to one goroutine at a time.
type stream struct {
	round    *Round
	q        *Query
	provider string

	// unread are messages that were read and not yet taken; count is how many there have
	// been, left how many the window has left out.
	unread []message
	count  int
	left   int
	seen   map[string]struct{}
	known  int // how many bytes the ids in seen take, about

	// last is where the latest message stands, newest the latest date of all, and before that of
	// the pages before the one that is read. dated is the first date that any message has: without one,
	// nobody knows how the list is ordered.
	last, newest, before, dated time.Time

	query   string  // of the next page
	pages   int     // that were asked for
	repeats int     // of them in a row that brought nothing new
	came    int     // messages in all of them, whatever became of them
	page    listing // what the latest said
	moved   bool    // the total was another on an earlier page, or a message came again
	denied  int     // the total that a 404 was at odds with

	beyond bool // there were messages beyond what is needed
	// ended says that there are no more messages, or no more can be had: then err is why, and
	// missing what callers are told.
	ended   bool
	err     error
	missing *Missing
}

func newStream(round *Round, provider string, q *Query) *stream {
	s := &stream{round: round, q: q, provider: provider, seen: make(map[string]struct{}), last: distant}
	s.turn("")
	return s
}

// anew is the list to be read from its first page, after messages went away: others may have
// slipped from pages that were to come into those that were read. What was held for it is
// given back with the request.
func (s *stream) anew() *stream {
	fresh := newStream(s.round, s.provider, s.q)
	fresh.denied = s.denied
	return fresh
}

// shrank reports whether messages went away while the list was read.
func (s *stream) shrank() bool { return errors.Is(s.err, errChanging) }

// head gives the next message without taking it; nil at the end of the list, or of what
// can be had of it. It asks the provider if it has to.
func (s *stream) head(ctx context.Context) *message {
	for len(s.unread) == 0 && !s.ended {
		s.load(ctx)
	}
	if len(s.unread) == 0 {
		return nil
	}
	return &s.unread[0]
}

func (s *stream) take() {
	s.unread[0] = message{} // its bytes are not kept by the slice
	s.unread = s.unread[1:]
}

// more reports whether there may be messages behind those that were taken.
func (s *stream) more() bool { return len(s.unread) > 0 || s.beyond || !s.ended }

// load asks for one more page. It has an end, whatever the provider does: the list ends,
// something is missing, or the pages are used up.
func (s *stream) load(ctx context.Context) {
	if s.pages++; s.pages > maxPages {
		s.fail(s.round.broken(ctx, s.provider, &Answer{ID: s.round.ID}, errEndless), errEndless)
		return
	}
	a, missing := s.round.get(ctx, s.provider, MessagesPath, s.query)
	if missing != nil {
		s.fail(missing, nil)
		return
	}
	defer a.Body.Close()
	s.before = s.newest
	var err error
	switch {
	case a.Status == http.StatusOK && a.Reason == "" && saysJSON(a.ContentType):
		err = s.read(a)
	case a.Status == http.StatusOK && a.Reason == "":
		err = errNotJSON
	case a.Status == http.StatusNotFound && a.Reason == "" && s.pages > 1:
		err = s.advance(s.none(), false, 0) // so the API says that a page has no messages
	default:
		s.fail(s.round.refused(s.provider, a), nil)
	}
	if err != nil {
		s.fail(s.round.broken(ctx, s.provider, a, err), err)
	}
}

func (s *stream) fail(missing *Missing, err error) { s.ended, s.missing, s.err = true, missing, err }

// read reads a page.
func (s *stream) read(a *Answer) error {
	fresh, came := false, 0
	l, err := readList(a.Body, func(m *message) error {
		came++
		isNew, err := s.admit(m)
		fresh = fresh || isNew
		return err
	})
	if came > 0 && s.dated.IsZero() {
		s.unread, s.count, s.beyond = nil, 0, false
		if err == nil {
			err = errNoDate
		}
		return err
	}
	// Those in front of the first date stand where that one does.
	for i := range s.unread {
		if s.unread[i].at.Equal(distant) {
			s.unread[i].at = s.dated
		}
	}
	if err == nil {
		return s.advance(l, fresh, came)
	}
	s.page.counted, s.beyond = false, s.count >= s.q.last()
	if s.beyond {
		return nil // what came is good, and is enough
	}
	return err
}

// none is what a 404 says in place of a page: there are no more messages than came. A
// provider that says so again, and counts the same as before, is bad at counting.
func (s *stream) none() listing {
	l := listing{total: s.page.total, counted: s.page.counted}
	if s.came < s.page.total && s.page.total != s.denied {
		s.denied, l.total = s.page.total, s.came
	}
	return l
}

// admit takes a message in, if it is new and within the window; it reports whether it is
// new. m and its raw are the reader's.
func (s *stream) admit(m *message) (isNew bool, err error) {
	if s.dated.IsZero() {
		s.dated = m.received
	}
	if _, twice := s.seen[m.id]; twice {
		s.moved = true // down, from the page before
		return false, nil
	}
	if s.count == s.q.last() {
		s.beyond = true
		return true, nil // of no interest, but a sign of life
	}
	const entry = 40 // what the map itself takes for one
	switch s.known += len(m.id) + entry; {
	case s.known > maxSeen:
		return false, errTooLarge
	case !s.round.Memory.Hold(int64(len(m.id) + entry)):
		return false, errFull
	}
	s.seen[m.id] = struct{}{}
	if !s.before.IsZero() && m.received.After(s.before) {
		// Newer than the newest of the pages before, it came in after the first of them,
		// and is beyond the moment to which links hold the list.
		return true, nil
	}
	if !s.q.window.admits(m) {
		s.left++
		return true, nil
	}
	if m.received.After(s.newest) {
		s.newest = m.received
	}
	// A message stands where the provider put it: never before the one in front of it,
	// and with no date of its own beside it.
	if !m.received.IsZero() && m.received.Before(s.last) {
		s.last = m.received
	}
	m.at = s.last
	if !s.round.Memory.Hold(m.size()) {
		return false, errFull
	}
	kept := *m
	kept.raw = bytes.Clone(m.raw)
	s.unread = append(s.unread, kept)
	s.count++
	return true, nil
}

// advance decides from a page what comes next: nothing, since the list has ended, never will,
// or became shorter; or the page behind.
func (s *stream) advance(l listing, fresh bool, came int) error {
	if s.pages > 1 {
		s.moved = s.moved || l.total != s.page.total
		if l.counted && s.page.counted && l.total < s.page.total {
			return errChanging
		}
	}
	s.page = l
	s.came += came
	if s.repeats++; fresh {
		s.repeats = 0
	}
	repeating := s.repeats >= maxRepeats
	more := l.next != "" || l.counted && s.came < l.total // as far as the provider says
	switch {
	case came == 0, !more && (l.counted || l.paged || repeating):
		s.ended = true
	case repeating:
		return errEndless
	default:
		s.turn(l.next)
	}
	return nil
}

// turn goes to the next page.
func (s *stream) turn(next string) {
	s.query = join(s.q.sent, "page="+strconv.Itoa(s.pages+1)+"&pageSize="+strconv.Itoa(min(s.q.last(), maxPageSize)))
	if next == "" {
		return
	}
	// The provider's own link knows best how it goes on, by a page of another size or by
	// a mark of its own.
	if u, err := url.Parse(next); err == nil && followable(u.RawQuery) {
		s.query = u.RawQuery
	}
}

// plainQuery is what can stand in a request line: what url.Parse lets through, a blank among
// it, need not be fit for one.
var plainQuery = regexp.MustCompile(`^[!#-;=?-\[\]-~]+$`)

// followable reports whether a query that a provider wrote can be sent.
func followable(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil && len(query) <= maxQuery && plainQuery.MatchString(query)
}

// sum is how many messages there are in all, false if that is not known.
func (s *stream) sum() (int, bool) {
	if s.ended && s.missing == nil && !s.beyond {
		return s.count, true // they have all been counted
	}
	// The count of a list that moved is in part one of messages that came in meanwhile.
	if !s.page.counted || s.moved || s.missing != nil || !s.q.window.countable() {
		return 0, false
	}
	return max(s.page.total-s.left, s.count), true
}
