package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

// Intents is where a write is announced before it is sent.
type Intents interface {
	// Kept says that evidence is kept at all.
	Kept() bool
	// Intent is as that of a Log.
	Intent(ctx context.Context, r *call.Record) error
}

const (
	// maxAhead is how much of a body is read before it is sent, in bytes, to find the
	// messages that it names.
	maxAhead = 1 << 20
	// maxIDs is how many messages one record names at most, and maxIDBytes how many bytes
	// their ids have together: what a caller writes must not make a line that is longer
	// than a record can be (maxLine), not even with all of it escaped.
	maxIDs     = 1000
	maxIDBytes = 64 << 10
	// maxAnswer is the longest answer in which the id of what was made is looked for, in bytes.
	maxAnswer = 64 << 10
	// refusedWait is when a write that was refused may be sent again.
	refusedWait = 10 * time.Second
)

// NewLayer makes the layer that has the intent of a write on disk before anything of
// it is sent. It belongs outermost: a write that is refused further below has an
// outcome that says so. A write whose intent cannot be recorded, where that is not
// tolerated, gets a problem (503).
//
// Of a call that names messages in its body, that is read ahead, up to 1 MiB, and then
// sent unchanged; every other body passes as it comes. A caller that waits for a 100
// waits for the upstream's word: then the body is read as it passes, and the outcome
// names the messages.
func NewLayer(next call.Sender, to Intents) call.Sender {
	return &layer{next, to}
}

type layer struct {
	next call.Sender
	to   Intents
}

// Send implements call.Sender.
func (l *layer) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	if c.Internal || !writes(c.Method, c.Action) || !l.to.Kept() {
		return l.next.Send(ctx, c, r)
	}
	rec := c.Record
	var passing *tee
	if namesMessages(c, r) {
		switch {
		case isCoded(r.Header):
			rec.MoreMessages = true // which ones, only the upstream can read
		case r.Header.Get("Expect") != "":
			r, passing = readInPassing(r, c.Memory)
			rec.MoreMessages = true // for the intent
		default:
			var err error
			if r, err = readAhead(r, c); err != nil {
				return nil, err
			}
		}
	}
	if err := l.to.Intent(ctx, rec); err != nil {
		call.CloseBody(r)
		if errors.Is(err, ErrNotRecorded) {
			err = problem.Unavailable("The gateway cannot write its evidence and must not send a change without it. Nothing "+
				"was sent. The platform team finds the reason in its status; send the request again later.", refusedWait).
				Proxy(problem.ProxyInternalError).Because(err)
		}
		return nil, err
	}
	answer, err := l.next.Send(ctx, c, r)
	if passing != nil {
		rec.Messages, rec.MoreMessages = passing.ids()
	}
	if err == nil && r.Method == http.MethodPost && answer.StatusCode/100 == 2 {
		noteCreated(answer, rec)
	}
	return answer, err
}

// noteCreated notes the id of what a POST made: the last segment of Location, and the id that
// stands at the top of a JSON answer, which is read as it passes.
func noteCreated(answer *http.Response, rec *call.Record) {
	if location, err := url.Parse(answer.Header.Get("Location")); err == nil {
		addCreated(rec, path.Base(location.EscapedPath()))
	}
	if !strings.Contains(answer.Header.Get("Content-Type"), "json") || isCoded(answer.Header) {
		return
	}
	call.Watch(answer, maxAnswer, func(body []byte) {
		var made struct {
			ID        json.RawMessage `json:"id"`
			MandateID json.RawMessage `json:"mandateId"`
			MessageID json.RawMessage `json:"messageId"`
		}
		if json.Unmarshal(body, &made) == nil { // or the answer is something else
			for _, raw := range [...]json.RawMessage{made.ID, made.MandateID, made.MessageID} {
				addCreated(rec, simpleID(raw))
			}
		}
	})
}

func addCreated(rec *call.Record, id string) {
	id = printable.Text(id, printable.MaxAsserted)
	if id != "" && id != "." && id != "/" && !slices.Contains(rec.Created, id) {
		rec.Created = append(rec.Created, id)
	}
}

// simpleID is an id that is a string or a whole number, empty if it is neither.
func simpleID(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return string(raw)
	}
	return ""
}

// writes tells a call that changes something. The one that reads by a POST, a search,
// does not.
func writes(method string, action ebox.Action) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return action != ebox.List
}

// namesMessages tells the calls whose JSON body names the messages that they are about,
// in whatever form an upstream may take their path.
func namesMessages(c *call.Call, r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.Method != http.MethodPatch && r.Method != http.MethodPost {
		return false
	}
	if len(c.Segments) == 0 {
		return false
	}
	switch c.Segments[len(c.Segments)-1] {
	case "messages":
		return r.Method == http.MethodPatch
	case "linkeboxmessage":
		return r.Method == http.MethodPost
	}
	return false
}

// isCoded tells a body that is not the JSON itself.
func isCoded(h http.Header) bool {
	coding := strings.Trim(strings.Join(h["Content-Encoding"], ","), " \t")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

// readAhead reads the body, notes the messages that it names, and gives the request
// with the same body.
func readAhead(r *http.Request, c *call.Call) (*http.Request, error) {
	head, err := c.Memory.ReadAll(io.LimitReader(r.Body, maxAhead+1), -1)
	if err != nil {
		_ = r.Body.Close() // the error of reading says more
		return nil, err
	}
	rec := c.Record
	rec.Messages, rec.MoreMessages = messageIDs(head)
	same := r.WithContext(r.Context())
	rest := r.Body
	if len(head) > maxAhead {
		same.Body = body{io.MultiReader(bytes.NewReader(head), rest), rest}
		rec.MoreMessages = true
		return same, nil
	}
	same.Body = body{bytes.NewReader(head), rest}
	if r.GetBody != nil {
		same.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	}
	return same, nil
}

// readInPassing gives the request with a body that is noted as it is sent. A second
// sending is noted once more from its beginning.
func readInPassing(r *http.Request, held *memory.Account) (*http.Request, *tee) {
	t := &tee{memory: held}
	same := r.WithContext(r.Context())
	same.Body = t.begin(r.Body)
	if again := r.GetBody; again != nil {
		same.GetBody = func() (io.ReadCloser, error) {
			b, err := again()
			if err != nil {
				return nil, err
			}
			return t.begin(b), nil
		}
	}
	return same, t
}

// tee notes a body that passes, as far as there is memory for it. The transport may still read
// when the answer is there.
type tee struct {
	memory  *memory.Account
	mu      sync.Mutex
	current *teeBody
	text    []byte
	full    bool // something was not noted
}

type teeBody struct {
	io.ReadCloser
	tee *tee
}

func (t *tee) begin(b io.ReadCloser) io.ReadCloser {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current, t.text, t.full = &teeBody{b, t}, t.text[:0], false
	return t.current
}

// Read implements io.Reader.
func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	t := b.tee
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == b {
		t.note(p[:n])
	}
	return n, err
}

func (t *tee) note(p []byte) {
	p = p[:min(len(p), maxAhead-len(t.text))]
	if t.full || len(p) == 0 {
		return
	}
	if need := len(t.text) + len(p); need > cap(t.text) {
		size := max(need, min(2*cap(t.text), maxAhead))
		if t.full = !t.memory.Hold(int64(size - cap(t.text))); t.full {
			return
		}
		t.text = append(make([]byte, 0, size), t.text...)
	}
	t.text = append(t.text, p...)
}

// ids are those in what has passed.
func (t *tee) ids() ([]string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids, more := messageIDs(t.text)
	return ids, more || t.full
}

// body reads from one and closes another.
type body struct {
	io.Reader
	io.Closer
}

// messageIDs finds the values of messageId, wherever they stand in a JSON text. more
// tells that there are too many or too long ones, or that the text ends early, is none, or
// could be read in two ways.
func messageIDs(text []byte) (ids []string, more bool) {
	var found messages
	err := jsonscan.Read(text, &found)
	return found.ids, found.more || err != nil
}

// messages is a jsonscan.Visitor.
type messages struct {
	ids    []string
	size   int // of ids, in bytes
	more   bool
	wanted bool // the value that comes is that of a messageId
}

var errTooMany = errors.New("reading the ids of messages: one record names no more")

// Member implements jsonscan.Visitor.
func (m *messages) Member(_ int, key []byte) { m.wanted = strings.EqualFold(string(key), "messageId") }

// Scalar implements jsonscan.Visitor.
func (m *messages) Scalar(_ int, raw []byte, _ func() string) error {
	if !m.wanted || raw[0] != '"' {
		return nil
	}
	id := jsonscan.Text(raw)
	switch {
	case len(m.ids) == maxIDs:
		return errTooMany
	case m.size+len(id) > maxIDBytes:
		m.more = true // it is left out, and hides no other
	default:
		m.size += len(id)
		m.ids = append(m.ids, printable.Text(id, len(id)))
	}
	return nil
}
