package inbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"ebox-gateway/internal/jsonscan"
)

// summary is what one provider says of an e-Box.
type summary struct {
	provider string
	raw      []byte

	messages, unread *int64
	size             *float64
	// received and consulted are as the provider wrote them, nil if they are not there
	// or cannot be read; the times are for comparing.
	received, consulted     []byte
	receivedAt, consultedAt time.Time
}

// Summary gives the summary of all providers together, with each one's own under
// providers; what counts only some of them says so by the member incomplete. self and list
// are the URLs of the summary and of the list as this caller reaches them. The error is as
// List's.
func (r *Round) Summary(ctx context.Context, q *Query, self, list string) (*Result, error) {
	asked, result := r.begin()
	all, missing := make([]*summary, len(asked)), make([]*Missing, len(asked))
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	each(len(asked), func(i int) {
		all[i], missing[i] = r.summaryOf(limited, asked[i].ID, q.sent)
	})
	if isGone(ctx) {
		return result, ctx.Err()
	}
	var absent []*Missing
	there := all[:0]
	for i, m := range missing {
		if m != nil {
			absent = append(absent, m)
		} else {
			there = append(there, all[i])
		}
	}
	if err := r.settle(result, absent, len(there), q.Whole); err != nil {
		return result, err
	}
	body := together(there)
	body.Links = map[string]map[string]string{"self": {"href": self}, "messages": {"href": list}}
	body.Incomplete = result.Missing
	result.Body = append(jsonscan.Encoded(body), '\n')
	return result, nil
}

func (r *Round) summaryOf(ctx context.Context, provider, query string) (*summary, *Missing) {
	a, missing := r.get(ctx, provider, SummaryPath, query)
	if missing != nil {
		return nil, missing
	}
	defer a.Body.Close()
	if a.Status != http.StatusOK || a.Reason != "" {
		return nil, r.refused(provider, a)
	}
	s, err := readSummary(a)
	if err != nil {
		return nil, r.broken(ctx, provider, a, err)
	}
	s.provider = provider
	return s, nil
}

func readSummary(a *Answer) (*summary, error) {
	if !saysJSON(a.ContentType) {
		return nil, errNotJSON
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, maxSummary+1))
	if err == nil && len(body) > maxSummary {
		err = errLong
	}
	if err == nil {
		err = usable(body)
	}
	if err != nil {
		return nil, err
	}
	return newSummary(bytes.TrimSpace(body))
}

// newSummary reads a summary, which is valid JSON.
func newSummary(raw []byte) (*summary, error) {
	if raw[0] != '{' {
		return nil, errNoSummary
	}
	s := &summary{raw: raw}
	for m := range jsonscan.Members(raw) {
		switch string(m.Key) {
		case "numberOfMessages":
			s.messages = whole(m.Value)
		case "numberOfUnreadMessages":
			s.unread = whole(m.Value)
		case "eboxSize":
			var f *float64
			if json.Unmarshal(m.Value, &f) == nil && f != nil && *f >= 0 && *f <= maxCount {
				s.size = f
			}
		case "lastReceiptDate":
			s.received, s.receivedAt = m.Value, moment(m.Value)
		case "lastConsultationDate":
			s.consulted, s.consultedAt = m.Value, moment(m.Value)
		}
	}
	if s.messages == nil {
		return nil, errNoSummary // the one member that the API requires
	}
	return s, nil
}

func whole(value []byte) *int64 {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && n >= 0 && n <= maxCount {
		return &n
	}
	return nil
}

// summaries are those of all providers, together.
type summaries struct {
	Messages  int64                        `json:"numberOfMessages"`
	Unread    *int64                       `json:"numberOfUnreadMessages,omitempty"`
	Received  json.RawMessage              `json:"lastReceiptDate,omitempty"`
	Consulted json.RawMessage              `json:"lastConsultationDate,omitempty"`
	Size      *float64                     `json:"eboxSize,omitempty"`
	Providers []json.RawMessage            `json:"providers"`
	Links     map[string]map[string]string `json:"_links"`

	Incomplete []*Missing `json:"incomplete,omitempty"`
}

// together has those counters that are true of all providers that answered, together: a sum
// that one of them did not give is left out. If some did not answer, the sums are of the
// others: the API requires numberOfMessages, and a client that reads 0 where it is missing
// would take a full e-Box for an empty one.
func together(all []*summary) *summaries {
	sum := &summaries{Unread: new(int64), Size: new(float64)}
	receivedKnown := true
	var received, consulted time.Time
	for _, s := range all {
		sum.Providers = append(sum.Providers, named(nil, s.raw, jsonscan.Encoded(s.provider)))
		sum.Messages += *s.messages
		sum.Unread, sum.Size = plus(sum.Unread, s.unread), plus(sum.Size, s.size)
		switch {
		case s.receivedAt.IsZero():
			receivedKnown = receivedKnown && *s.messages == 0 // an empty e-Box has no last message
		case s.receivedAt.After(received):
			received, sum.Received = s.receivedAt, s.received
		}
		if s.consultedAt.After(consulted) {
			consulted, sum.Consulted = s.consultedAt, s.consulted
		}
	}
	if !receivedKnown {
		sum.Received = nil
	}
	return sum
}

// plus adds two numbers, nil for what is not known.
func plus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	sum := *a + *b
	return &sum
}
