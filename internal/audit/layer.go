package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// Intents is where a write is announced before it is sent; a *Log, or what stands for
// one.
type Intents interface {
	Intent(ctx context.Context, r *exchange.Record, ids []string, more bool) error
}

const (
	// maxAhead is how much of a body is read before it is sent, in bytes, to find the
	// messages that it names.
	maxAhead = 1 << 20
	// maxIDs is how many messages one record names at most.
	maxIDs = 1000
	// refusedWait is when a write that was refused may be sent again.
	refusedWait = 10 * time.Second
)

// NewLayer makes the layer that has the intent of a write on disk before anything of
// it is sent. It belongs outermost: a write that is refused further below has an
// outcome that says so. A write whose intent cannot be recorded, where that is not
// tolerated, gets a problem (503).
//
// Of a call that names messages in its body, that is read ahead, up to 1 MiB, and then
// sent unchanged; every other body passes as it comes.
func NewLayer(next http.RoundTripper, to Intents) http.RoundTripper {
	return &layer{next, to}
}

type layer struct {
	next http.RoundTripper
	to   Intents
}

// RoundTrip implements http.RoundTripper.
func (l *layer) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := exchange.From(r.Context())
	if rec.Route == "" || !writes(r.Method, rec.Action) {
		return l.next.RoundTrip(r)
	}
	var ids []string
	more := false
	if namesMessages(r) {
		var err error
		if r, ids, more, err = readAhead(r); err != nil {
			return nil, err
		}
	}
	if err := l.to.Intent(r.Context(), rec, ids, more); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		if errors.Is(err, ErrNotRecorded) {
			err = problem.Unavailable("The gateway cannot write its evidence and must not send a change without it. Nothing was sent. The platform team finds the reason in its status; send the request again later.", refusedWait).
				Proxy(problem.ProxyInternalError).Because(err)
		}
		return nil, err
	}
	return l.next.RoundTrip(r)
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

// namesMessages tells the calls whose JSON body names the messages that they are about.
func namesMessages(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.Header.Get("Content-Encoding") != "" {
		return false
	}
	path := strings.TrimRight(strings.ToLower(r.URL.Path), "/")
	switch r.Method {
	case http.MethodPatch:
		return strings.HasSuffix(path, "/messages")
	case http.MethodPost:
		return strings.HasSuffix(path, "/linkeboxmessage")
	}
	return false
}

// readAhead reads the body and gives the request with the same body. more tells that
// not all ids were found.
func readAhead(r *http.Request) (_ *http.Request, ids []string, more bool, err error) {
	head, err := io.ReadAll(io.LimitReader(r.Body, maxAhead+1))
	if err != nil {
		_ = r.Body.Close() // the error of reading says more
		return nil, nil, false, err
	}
	ids, more = messageIDs(head)
	same := r.WithContext(r.Context())
	rest := r.Body
	if len(head) > maxAhead {
		same.Body = body{io.MultiReader(bytes.NewReader(head), rest), rest}
		return same, ids, true, nil
	}
	same.Body = body{bytes.NewReader(head), rest}
	if r.GetBody != nil {
		same.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	}
	return same, ids, more, nil
}

// body reads from one and closes another.
type body struct {
	io.Reader
	io.Closer
}

// messageIDs finds the values of messageId, wherever they stand in a JSON text. more
// tells that there are too many, or that the text ends early or is none.
func messageIDs(text []byte) (ids []string, more bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	// Whether a string is a name or a value is known by counting in each object.
	type level struct{ object, value bool }
	var stack []level
	wanted := false
	for {
		token, err := d.Token()
		if err != nil {
			return ids, more || !errors.Is(err, io.EOF) || len(stack) > 0
		}
		top := len(stack) - 1
		name := top >= 0 && stack[top].object && !stack[top].value
		if delim, ok := token.(json.Delim); ok {
			if delim == '}' || delim == ']' {
				stack = stack[:top]
				top--
				if top >= 0 {
					stack[top].value = false
				}
			} else {
				stack = append(stack, level{object: delim == '{'})
			}
			wanted = false
			continue
		}
		if name {
			s, _ := token.(string)
			wanted = strings.EqualFold(s, "messageId")
			stack[top].value = true
			continue
		}
		if top >= 0 {
			stack[top].value = false
		}
		if s, ok := token.(string); ok && wanted {
			if len(ids) == maxIDs {
				return ids, true
			}
			ids = append(ids, s)
		}
		wanted = false
	}
}
