package simulator

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// maxJSON bounds a JSON request body, in bytes.
const maxJSON = 1 << 20

// readJSON reads a request body of the media type into v, or answers what is
// wrong with it.
func (c *call) readJSON(mediaType string, v any) bool {
	got, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || got != mediaType {
		c.fail(refuse(http.StatusUnsupportedMediaType, "unsupportedMediaType", "Unsupported Media Type",
			"Send "+mediaType+"."))
		return false
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
	switch {
	case err != nil:
		c.fail(problem.BadRequest("The body breaks off."))
	case len(body) > maxJSON:
		c.fail(problem.TooLarge(maxJSON, "The body is too large."))
	case c.unmarshal(body, v) != nil:
		c.fail(problem.BadRequest("The body is not the JSON that is expected."))
	default:
		return true
	}
	return false
}

// unmarshal reads JSON in the names of the API's version.
func (c *call) unmarshal(text []byte, v any) error {
	if c.old {
		text = inOtherVersion(text)
	}
	return json.Unmarshal(text, v)
}

// patch serves PATCH /ebox/messages (a merge patch, RFC 7396): all of its items,
// or none if one is wrong.
func (m *messageRegistry) patch(c *call) {
	var changes struct {
		Items []struct {
			ID        string  `json:"messageId"`
			Visible   *bool   `json:"visible"`
			Partition *string `json:"partition"`
		} `json:"items"`
	}
	if !c.readJSON("application/merge-patch+json", &changes) {
		return
	}
	if len(changes.Items) == 0 {
		c.fail(problem.BadRequest("items is missing or empty."))
		return
	}
	b := m.box(c.enterprise)
	messages := make([]*message, len(changes.Items))
	for i, item := range changes.Items {
		partitioned := item.Partition != nil && !m.old
		if partitioned && !slices.ContainsFunc(partitions, func(p partition) bool { return p.ID == *item.Partition }) {
			c.fail(problem.BadRequest("There is no partition " + *item.Partition + " in this e-Box."))
			return
		}
		if item.Visible == nil && !partitioned {
			c.fail(problem.BadRequest("visible is missing for message " + item.ID + "."))
			return
		}
		if messages[i] = b.lookup(item.ID); messages[i] == nil {
			c.fail(problem.NotFound("There is no message " + item.ID + " in the e-Box of enterprise " + c.enterprise.String() +
				". Nothing was changed."))
			return
		}
	}
	b.mu.Lock()
	for i, item := range changes.Items {
		if item.Visible != nil {
			messages[i].hidden = !*item.Visible
		}
		if item.Partition != nil {
			messages[i].partition = *item.Partition
		}
	}
	b.mu.Unlock()
	c.w.WriteHeader(http.StatusOK)
}

// link serves POST /linkEboxMessage: a message that the sender published goes
// into further e-Boxes.
func (m *messageRegistry) link(c *call) {
	var order struct {
		ID         string  `json:"messageId"`
		Recipients []party `json:"recipients"`
	}
	if !c.readJSON("application/json", &order) {
		return
	}
	if !c.maySend() {
		return
	}
	original := m.sentBy(c.enterprise, order.ID)
	switch {
	case len(order.Recipients) == 0:
		c.fail(problem.BadRequest("recipients is missing or empty."))
		return
	case original == nil:
		c.fail(problem.NotFound("This sender has published no message of the id " + order.ID + "."))
		return
	}
	out := struct {
		ID      string    `json:"messageId"`
		Expires time.Time `json:"expirationDate"`
		Links   int       `json:"nbSuccessLinks"`
		Errors  []party   `json:"errorCases"`
	}{order.ID, original.expires.In(m.zone), 0, []party{}}
	for _, to := range order.Recipients {
		n, ok := to.enterprise()
		if !ok || !m.linkInto(n, original) {
			out.Errors = append(out.Errors, to)
			continue
		}
		out.Links++
	}
	c.send(http.StatusCreated, out)
}

// linkInto gives an e-Box its own copy, with its own read mark.
func (m *messageRegistry) linkInto(e enterprise.Number, original *message) bool {
	linked := *original
	linked.read, linked.hidden, linked.partition, linked.received = false, false, "", m.s.now()
	return m.box(e).put(&linked)
}

// sentBy finds a message that an enterprise published here, in whichever e-Box.
func (m *messageRegistry) sentBy(sender enterprise.Number, id string) *message {
	for _, b := range m.allBoxes() {
		if msg := b.lookup(id); msg != nil && msg.orgID == sender.String() {
			copied := b.state(msg)
			return &copied
		}
	}
	return nil
}

// searchStatus serves POST /searchMessageStatus: how the messages that the
// sender published fare.
func (m *messageRegistry) searchStatus(c *call) {
	var asked []struct {
		ID   string `json:"messageId"`
		Ebox party  `json:"eboxId"`
	}
	if !c.readJSON("application/json", &asked) || !c.maySend() {
		return
	}
	type status struct {
		ID      string    `json:"messageId"`
		Ebox    party     `json:"eboxId"`
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
		b := m.box(n)
		if msg := b.lookup(q.ID); msg != nil && msg.orgID == c.enterprise.String() {
			now := b.state(msg)
			out = append(out, status{q.ID, q.Ebox, now.expires.In(m.zone), now.read, !now.hidden})
		}
	}
	if len(out) == 0 {
		c.fail(problem.NotFound("This sender has published none of these messages."))
		return
	}
	c.send(http.StatusCreated, out)
}
