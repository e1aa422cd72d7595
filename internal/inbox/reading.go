package inbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/jsonscan"
)

const (
	// maxAnswer is the most of one answer that is read, in bytes: a hundred messages
	// of 80 KB each.
	maxAnswer = 8 << 20
	// maxMessage is the most that one message of a list may take, in bytes. One with
	// forty attachments takes ten.
	maxMessage = 256 << 10
	// maxSummary is the most that a summary may take, in bytes.
	maxSummary = 64 << 10
	// maxCount is the most that a provider may count, be it messages or bytes, for its
	// plausible count. So many of a thousand providers can still be added up.
	maxCount = 1e15
)

// unusable is why an answer cannot be used, for callers: it goes on from "the answer". All
// other errors of reading are those of the connection.
type unusable string

func (u unusable) Error() string { return string(u) }

var (
	errNotJSON error = unusable("is not JSON")
	errBroken  error = unusable("is not valid JSON")
	errNoList  error = unusable("is no list of messages in the form of the API")
	errNoID    error = unusable("holds a message without a messageId")
	errNoDate  error = unusable("holds no message with a publicationDate or receiptDate that can be read, so that it " +
		"cannot be put in order with the others")
	errTooLarge error = unusable(fmt.Sprintf("is larger than a list may be: %d bytes, of which one message may have %d",
		maxAnswer, maxMessage))
	errStrange   error = unusable("holds something that not every reader of JSON takes, for its nesting or its surrogates")
	errEndless   error = unusable("repeats itself from page to page, so that the list has no end")
	errChanging  error = unusable("became shorter again and again while it was read")
	errNoSummary error = unusable("is no summary in the form of the API")
	errLong      error = unusable(fmt.Sprintf("is larger than a summary may be: %d bytes", maxSummary))
)

// errFull is a message for which there is no memory.
var errFull = errors.New("keeping a message: there is no memory for it")

// message is one message of a provider's list.
type message struct {
	id string
	// raw is the message as the provider wrote it, its links rewritten.
	raw []byte
	// received and expires are its own dates, zero if it has none that can be read.
	received, expires time.Time
	// at is where it stands in the list, by which lists are merged.
	at time.Time
}

// size is what the message takes in memory, in bytes, about.
func (m *message) size() int64 {
	const around = 256 // its dates, its id, and what is written around it
	return int64(len(m.raw) + around)
}

// listing is what a page of a list says beside its messages.
type listing struct {
	total   int
	counted bool // there is a total
	next    string
	// paged says that the page has links to others, so that none to a next one means
	// that there is none.
	paged bool
}

// readList reads a page as it comes, one message at a time, and calls each for every message,
// whose raw is only good until each returns. An error of each ends the reading.
func readList(body io.Reader, each func(*message) error) (l listing, err error) {
	s := jsonscan.NewStream(body, maxAnswer, maxMessage)
	if err = l.read(s, each); err == nil {
		// Whatever stands behind is read as well: an answer that was not read to its end
		// costs its connection and is kept by no cache.
		err = s.End()
	}
	switch {
	case errors.Is(err, jsonscan.ErrTooLarge):
		err = errTooLarge
	case errors.Is(err, jsonscan.ErrSyntax):
		err = errBroken
	}
	return l, err
}

func (l *listing) read(s *jsonscan.Stream, each func(*message) error) error {
	if err := expect(s, '{'); err != nil {
		return err
	}
	found := false
	err := s.Object(func(key string) error {
		if key == "items" {
			found = true
			return readItems(s, each)
		}
		value, err := s.Value()
		if err != nil {
			return err
		}
		switch key {
		case "totalItems", "total": // before version 3, and in the Belgif guide
			if string(value) != "null" {
				l.counted = json.Unmarshal(value, &l.total) == nil && l.total >= 0 && l.total <= maxCount
			}
		case "_links":
			var links map[string]json.RawMessage
			if json.Unmarshal(value, &links) != nil {
				return nil
			}
			for _, relation := range []string{"first", "last", "prev", "next"} {
				if links[relation] != nil {
					l.link(relation, links[relation])
				}
			}
		case "first", "last", "prev", "next":
			if value[0] == '"' {
				l.link(key, value)
			}
		}
		return nil
	})
	if err == nil && !found && !(l.counted && l.total == 0) {
		err = errNoList
	}
	return err
}

// expect reports whether what comes next begins so; errNoList if not.
func expect(s *jsonscan.Stream, first byte) error {
	c, err := s.Next()
	if err == nil && c != first {
		err = errNoList
	}
	return err
}

func readItems(s *jsonscan.Stream, each func(*message) error) error {
	if err := expect(s, '['); err != nil {
		return err
	}
	return s.Array(func() error {
		raw, err := s.Value()
		if err != nil {
			return err
		}
		m, err := newMessage(raw)
		if err != nil {
			return err
		}
		return each(&m)
	})
}

// newMessage takes what is needed out of a message, which is valid JSON.
func newMessage(raw []byte) (message, error) {
	m, published := message{raw: raw}, false
	if raw[0] != '{' {
		return m, errNoList
	}
	if err := readable(raw); err != nil {
		return m, err
	}
	for f := range jsonscan.Members(raw) {
		switch string(f.Key) {
		case "messageId":
			if f.Value[0] == '"' {
				m.id = jsonscan.Text(f.Value)
			} else if f.Value[0] != 'n' && f.Value[0] != '{' && f.Value[0] != '[' {
				m.id = string(f.Value)
			}
		case "publicationDate": // the order of version 3, which may have a receiptDate too
			if t := moment(f.Value); !t.IsZero() {
				m.received, published = t, true
			}
		case "receiptDate":
			if t := moment(f.Value); !published {
				m.received = t
			}
		case "expirationDate":
			m.expires = moment(f.Value)
		}
	}
	if m.id == "" {
		return m, errNoID
	}
	return m, nil
}

// readable is an error for valid JSON that some reader of the whole answer would not take.
func readable(raw []byte) error {
	switch {
	case !utf8.Valid(raw): // it would spoil the whole answer for strict readers
		return errBroken
	case !jsonscan.Readable(raw):
		return errStrange
	}
	return nil
}

// usable is that of what may be no JSON.
func usable(raw []byte) error {
	if !json.Valid(raw) {
		return errBroken
	}
	return readable(raw)
}

// link notes a page's link to another, which is a text or, in HAL, an object with href.
func (l *listing) link(relation string, value []byte) {
	var target string
	var hal struct{ Href string }
	switch {
	case json.Unmarshal(value, &target) == nil:
	case json.Unmarshal(value, &hal) == nil:
		target = hal.Href
	}
	l.paged = true
	if relation == "next" {
		l.next = target
	}
}

// moment reads a date, without a zone in UTC. Zero if it is none, or in the last year that
// dates can write: the moment behind it, which links name, could not be written.
func moment(value []byte) time.Time {
	t, _, ok := ebox.Date(value, time.UTC)
	if y := t.UTC().Year(); !ok || y < 1 || y >= 9999 {
		return time.Time{}
	}
	return t
}

// saysJSON reports whether a Content-Type is one of JSON, or says nothing.
func saysJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}
