package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

const (
	// maxAnswer is the longest answer in which the id of what was made is looked for, in bytes.
	maxAnswer = 64 << 10
	// refusedWait is when a write that was refused may be sent again.
	refusedWait = 10 * time.Second
)

// NewLayer makes the layer that has the intent of a write on disk before anything of
// it is sent: intent is as Keeper.Intent is. It belongs outermost: a write that is refused further
// below has an outcome that says so. A write whose intent cannot be recorded, where that is not
// tolerated, gets a problem (503).
func NewLayer(next call.Sender, intent func(context.Context, *call.Record) error) call.Sender {
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		if c.Internal || !audit.Writes(c.Method, c.Action) {
			return next.Send(ctx, c, r)
		}
		if err := intent(ctx, c.Record); err != nil {
			call.CloseBody(r)
			if errors.Is(err, audit.ErrNotRecorded) {
				err = problem.Unavailable("The gateway cannot write its evidence and must not send a change without it. "+
					"Nothing was sent. The platform team finds the reason in its status; send the request again later.",
					refusedWait).Proxy(problem.ProxyInternalError).Because(err)
			}
			return nil, err
		}
		answer, err := next.Send(ctx, c, r)
		if err == nil && c.Record.Intent && r.Method == http.MethodPost && answer.StatusCode/100 == 2 {
			noteCreated(answer, c.Record)
		}
		return answer, err
	})
}

// noteCreated notes the id of what a POST made: the last segment of Location, and the id that
// stands at the top of a JSON answer, which is read as it passes.
func noteCreated(answer *http.Response, rec *call.Record) {
	if location, err := url.Parse(answer.Header.Get("Location")); err == nil {
		addCreated(rec, path.Base(location.EscapedPath()))
	}
	if !strings.Contains(answer.Header.Get("Content-Type"), "json") {
		return
	}
	call.Watch(answer, maxAnswer, nil, func(body []byte, _ bool) {
		var made struct {
			ID        json.RawMessage `json:"id"`
			MandateID json.RawMessage `json:"mandateId"`
			MessageID json.RawMessage `json:"messageId"`
		}
		if json.Unmarshal(body, &made) == nil { // or the answer is something else, or coded
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
