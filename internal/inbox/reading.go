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
	in := &bounded{from: body, whole: maxAnswer}
	r := &reading{Decoder: json.NewDecoder(in), in: in}
	r.UseNumber() // not all numbers fit into a float64
	if err = r.list(&l, each); err == nil {
		// Whatever stands behind is read as well: an answer that was not read to its end
		// costs its connection and is kept by no cache.
		if _, err = r.Token(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = errBroken
		}
	}
	syntax := new(json.SyntaxError)
	switch {
	case in.err != nil:
		err = in.err
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errBroken
	}
	return l, err
}

// bounded is an answer of which no more is read than it may have, and no more ahead of what was
// taken than one message may have.
type bounded struct {
	from         io.Reader
	whole, ahead int // how many bytes may still be read
	err          error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.whole == 0 || b.ahead <= 0 {
		b.err = errTooLarge
		return 0, b.err
	}
	n, err := b.from.Read(p[:min(len(p), b.whole)])
	b.whole, b.ahead = b.whole-n, b.ahead-n
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// reading takes a list apart while it comes. It holds no more of it than one message.
type reading struct {
	*json.Decoder
	in  *bounded
	raw json.RawMessage
}

// value takes the next value. Its bytes are good until the next one is taken.
func (r *reading) value() (json.RawMessage, error) {
	r.in.ahead = maxMessage
	err := r.Decode(&r.raw)
	if err == nil && len(r.raw) > maxMessage {
		err = errTooLarge
	}
	return r.raw, err
}

// begin takes the beginning of an object or array; errNoList if something else comes.
func (r *reading) begin(with json.Delim) error {
	r.in.ahead = maxMessage
	token, err := r.Token()
	if err == nil && token != with {
		err = errNoList
	}
	return err
}

func (r *reading) list(l *listing, each func(*message) error) error {
	if err := r.begin('{'); err != nil {
		return err
	}
	found := false
	for r.More() {
		r.in.ahead = maxMessage
		key, err := r.Token()
		if err == nil && key == "items" {
			found, err = true, r.items(each)
		} else if err == nil {
			var value json.RawMessage
			if value, err = r.value(); err == nil {
				l.member(key, value)
			}
		}
		if err != nil {
			return err
		}
	}
	if _, err := r.Token(); err != nil {
		return err
	}
	if !found && !(l.counted && l.total == 0) {
		return errNoList
	}
	return nil
}

func (r *reading) items(each func(*message) error) error {
	if err := r.begin('['); err != nil {
		return err
	}
	for r.More() {
		raw, err := r.value()
		if err != nil {
			return err
		}
		m, err := newMessage(raw)
		if err != nil {
			return err
		}
		if err := each(&m); err != nil {
			return err
		}
	}
	_, err := r.Token()
	return err
}

// member notes a member that stands beside the messages.
func (l *listing) member(key json.Token, value json.RawMessage) {
	switch key {
	case "totalItems", "total": // before version 3, and in the Belgif guide
		if string(value) != "null" {
			l.counted = json.Unmarshal(value, &l.total) == nil && l.total >= 0 && l.total <= maxCount
		}
	case "_links":
		var links map[string]json.RawMessage
		if json.Unmarshal(value, &links) != nil {
			return
		}
		for _, relation := range []string{"first", "last", "prev", "next"} {
			if links[relation] != nil {
				l.link(relation, links[relation])
			}
		}
	case "first", "last", "prev", "next":
		if value[0] == '"' {
			l.link(key.(string), value)
		}
	}
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
