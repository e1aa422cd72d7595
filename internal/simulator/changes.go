package simulator

import (
	"io"
	"mime"
	"net/http"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// maxJSON bounds a JSON request body, in bytes.
const maxJSON = 1 << 20

// The media types of JSON bodies.
const (
	plainJSON  = "application/json"
	mergePatch = "application/merge-patch+json" // RFC 7396
)

// onJSON is an endpoint that takes JSON of a media type.
func onJSON[T any](mediaType string, handle func(*call, T) response) func(*call) response {
	return func(c *call) response {
		got, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
		if err != nil || got != mediaType {
			return c.fail(refuse(http.StatusUnsupportedMediaType, "unsupportedMediaType", "Unsupported Media Type",
				"Send "+mediaType+"."))
		}
		body, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
		var order T
		switch {
		case err != nil:
			return c.fail(problem.BadRequest("The body breaks off."))
		case len(body) > maxJSON:
			return c.fail(problem.TooLarge(maxJSON, "The body is too large."))
		case c.unmarshal(body, &order) != nil:
			return c.fail(problem.BadRequest("The body is not the JSON that is expected."))
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return handle(c, order)
	}
}

type messageChanges struct {
	Items []struct {
		ID        string  `json:"messageId"`
		Visible   *bool   `json:"visible"`
		Partition *string `json:"partition"` // since version 3
	} `json:"items"`
}

// patch serves PATCH /ebox/messages (a merge patch, RFC 7396): all of its items,
// or none if one is wrong.
func (m *messageRegistry) patch(c *call, changes messageChanges) response {
	if len(changes.Items) == 0 {
		return c.fail(problem.BadRequest("items is missing or empty."))
	}
	b := m.box(c.enterprise)
	messages := make([]*message, len(changes.Items))
	for i, item := range changes.Items {
		messages[i] = b.lookup(item.ID)
		moves := item.Partition != nil && !m.old
		switch {
		case moves && partitionOf(*item.Partition) == nil:
			return c.fail(problem.BadRequest("There is no partition " + *item.Partition + " in this e-Box."))
		case item.Visible == nil && !moves:
			return c.fail(problem.BadRequest("visible is missing for message " + item.ID + "."))
		case messages[i] == nil:
			return c.fail(problem.NotFound("There is no message " + item.ID + " in the e-Box of enterprise " +
				c.enterprise.String() + ". Nothing was changed."))
		}
	}
	for i, item := range changes.Items {
		if item.Visible != nil {
			messages[i].Visible = *item.Visible
		}
		if item.Partition != nil {
			messages[i].Partition = *item.Partition
		}
	}
	return c.status(http.StatusOK)
}

type linkOrder struct {
	ID         string  `json:"messageId"`
	Recipients []party `json:"recipients"`
}

// link serves POST /linkEboxMessage: a message that the sender published goes
// into further e-Boxes.
func (m *messageRegistry) link(c *call, order linkOrder) response {
	if refusal := c.maySend(); refusal != nil {
		return refusal
	}
	original := m.sentBy(c.enterprise, order.ID)
	switch {
	case len(order.Recipients) == 0:
		return c.fail(problem.BadRequest("recipients is missing or empty."))
	case original == nil:
		return c.fail(problem.NotFound("This sender has published no message of the id " + order.ID + "."))
	}
	out := struct {
		ID      string    `json:"messageId"`
		Expires time.Time `json:"expirationDate"`
		Links   int       `json:"nbSuccessLinks"`
		Errors  []party   `json:"errorCases"`
	}{order.ID, original.Expires.In(m.zone), 0, []party{}}
	for _, to := range order.Recipients {
		// Its own copy, with its own read mark.
		linked := *original
		linked.Read, linked.Visible, linked.Partition, linked.Published = false, true, "", m.s.now()
		if n, ok := to.enterprise(); ok && m.box(n).lookup(order.ID) == nil {
			m.box(n).put(&linked)
			out.Links++
		} else {
			out.Errors = append(out.Errors, to)
		}
	}
	return c.send(http.StatusCreated, out)
}

// sentBy finds a message that an enterprise published here, in whichever e-Box.
func (m *messageRegistry) sentBy(sender enterprise.Number, id string) *message {
	for _, b := range m.boxes {
		if msg := b.lookup(id); msg != nil && msg.OrgID == sender.String() {
			return msg
		}
	}
	return nil
}

type statusQuestion struct {
	ID   string `json:"messageId"`
	Ebox party  `json:"eboxId"`
}

// searchStatus serves POST /searchMessageStatus: how the messages that the
// sender published fare.
func (m *messageRegistry) searchStatus(c *call, asked []statusQuestion) response {
	if refusal := c.maySend(); refusal != nil {
		return refusal
	}
	type status struct {
		statusQuestion
		Expires time.Time `json:"expirationDate"`
		Read    bool      `json:"readStatus"`
		Visible bool      `json:"visible"`
	}
	out := []status{}
	for _, q := range asked {
		n, ok := q.Ebox.enterprise()
		if !ok {
			continue
		}
		if msg := m.box(n).lookup(q.ID); msg != nil && msg.OrgID == c.enterprise.String() {
			out = append(out, status{q, msg.Expires.In(m.zone), msg.Read, msg.Visible})
		}
	}
	if len(out) == 0 {
		return c.fail(problem.NotFound("This sender has published none of these messages."))
	}
	return c.send(http.StatusCreated, out)
}
