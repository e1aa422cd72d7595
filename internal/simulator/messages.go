package simulator

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// messageRegistry is one provider's Message Registry: an e-Box for each enterprise.
// One before version 3 speaks the older dialect: other scopes, StatusMessages,
// publication at /publishMessage, dates without a time in filters.
type messageRegistry struct {
	s    *Simulator
	id   string
	api  *api
	old  bool
	zone *time.Location // of the dates it gives out
	seq  int            // numbers the messages that come in after the start

	boxes map[enterprise.Number]*mailbox
	keys  map[string]bool // of publications that were accepted, by client
}

// mailbox is the e-Box of one enterprise at one provider.
type mailbox struct {
	messages []*message // newest first
}

// message is a message in one e-Box.
type message struct {
	id, original         string
	subject              translated
	received, expires    time.Time
	registered, replies  bool
	typeID, orgID, appID string
	attention            *attention
	attachments          []*attachment
	body                 translated
	bodyMain             bool
	payment              *payment

	published    bool // by a sender, rather than there from the start
	read, hidden bool
	partition    string
}

// attachment is one document of a message.
type attachment struct {
	id, fileName, mediaType string
	title                   translated
	main, signed            bool
	content                 *document // nil if it was too large to keep
	size                    int64     // bytes
	digest                  func() string
}

// translated is a text by language: nl, fr, de.
type translated map[string]string

// attention is whom a message is for: id, type and name before version 3, ssin and
// label since.
type attention struct {
	ID    string `json:"id,omitempty"`
	Type  string `json:"type,omitempty"`
	Name  string `json:"name,omitempty"`
	SSIN  string `json:"ssin,omitempty"`
	Label string `json:"label,omitempty"`
}

// party is who sends or gets a message; eboxIdValue is the number's name before version 3.
type party struct {
	Type      string `json:"eboxType"`
	Value     string `json:"eboxIdValue,omitempty"`
	Number    string `json:"enterpriseNumber,omitempty"`
	SSIN      string `json:"ssin,omitempty"`
	Partition string `json:"partition,omitempty"`
}

// payment is what a message asks to be paid.
type payment struct {
	ID        string         `json:"paymentDataId"`
	Amount    float64        `json:"amount"`
	VAT       float64        `json:"vatAmount"`
	Currency  string         `json:"currency"`
	Due       time.Time      `json:"dueDate"`
	IBAN      string         `json:"iban"`
	BIC       string         `json:"bic,omitempty"`
	Reference map[string]any `json:"reference,omitempty"`
}

const (
	contentPattern = "/ebox/messages/{}/attachments/{}/content"
	bodyPattern    = "/ebox/messages/{}/body"
	// That structuredData is a path below a message is our reading.
	structuredData    = "/structuredData"
	structuredPattern = "/ebox/messages/{}" + structuredData
	// keptMessages bounds an e-Box; publishing into a full one is refused.
	keptMessages = 10_000
)

func newMessageRegistry(s *Simulator, at *site, id, path, version string) *messageRegistry {
	m := &messageRegistry{s: s, id: id, zone: time.UTC, boxes: map[enterprise.Number]*mailbox{}, keys: map[string]bool{}}
	m.api = &api{upstream: ProviderUpstream(id), site: at, path: path, representing: true, guard: s.guard}
	// What each operation asks for. A reply may be sent by those who read.
	summary, read, reference := []string{ScopeDocumentConsumer}, []string{ScopeDocumentConsumer},
		[]string{ScopeDocumentConsumer}
	if m.old = strings.HasPrefix(version, "1.") || strings.HasPrefix(version, "2."); m.old {
		summary, read, reference = []string{ScopeSummaryOwnEbox}, []string{ScopeMessagesFull}, []string{ScopeReferenceData}
		m.zone = time.FixedZone("CET", 3600)
		m.api.old = true
	}
	m.api.plainPages = !m.old
	publish := slices.Concat(senders, read)
	m.api.scopes = slices.Concat(summary, publish, reference)
	if m.old {
		m.api.endpoints = []endpoint{{"POST", "/publishMessage", publish, onPublication(m.publish)}}
	} else {
		// The federation's samples write the slash at the end. Of the last four no path is
		// public: these are our reading of the names.
		m.api.endpoints = []endpoint{
			{"POST", "/ebox/messages", publish, onPublication(m.publish)},
			{"POST", "/ebox/messages/", publish, onPublication(m.publish)},
			{"GET", structuredPattern, read, m.of(m.structured)},
			{"POST", "/ebox/messages/{}/actions", read, onJSON(plainJSON, m.act)},
			{"GET", "/ebox/sentMessages", senders, locked(m.sent)},
			{"GET", "/statistics", summary, locked(m.statistics)},
		}
	}
	m.api.endpoints = append(m.api.endpoints, []endpoint{
		{"GET", "/ebox", summary, locked(m.summary)},
		{"GET", "/ebox/messages", read, locked(m.list)},
		{"PATCH", "/ebox/messages", read, onJSON(mergePatch, m.patch)},
		{"GET", "/ebox/messages/{}", read, m.of(m.one)},
		{"GET", "/ebox/messages/{}/attachments", read, m.of(m.attachmentList)},
		{"GET", "/ebox/messages/{}/attachments/{}", read, m.ofAttachment(m.attachment)},
		{"GET", contentPattern, read, m.ofAttachment(m.content)},
		{"GET", bodyPattern, read, m.of(m.body)},
		{"GET", "/ebox/messages/{}/paymentData", read, m.of(m.payment)},
		{"POST", "/ebox/messages/{}/replies", read, m.reply()},
		{"POST", "/linkEboxMessage", senders, onJSON(plainJSON, m.link)},
		{"POST", "/searchMessageStatus", senders, onJSON(plainJSON, m.searchStatus)},
	}...)
	m.api.endpoints = append(m.api.endpoints, m.referenceEndpoints(reference)...)
	return m
}

// box gives the e-Box of an enterprise, filled when it is first asked for.
func (m *messageRegistry) box(e enterprise.Number) *mailbox {
	b := m.boxes[e]
	if b == nil {
		b = &mailbox{messages: m.seedMessages(e)}
		m.boxes[e] = b
	}
	return b
}

// nextID is the id of a message that comes in now.
func (m *messageRegistry) nextID() string {
	m.seq++
	return strconv.Itoa(2_000_000 + m.seq)
}

// find gives the message of the path.
func (m *messageRegistry) find(c *call) (*message, response) {
	if msg := m.box(c.enterprise).lookup(c.args[0]); msg != nil {
		return msg, nil
	}
	return nil, c.fail(problem.NotFound("There is no message of this id in the e-Box of enterprise " +
		c.enterprise.String() + "."))
}

// of serves the message of the path, or answers 404.
func (m *messageRegistry) of(handle func(*call, *message) response) func(*call) response {
	return locked(func(c *call) response {
		msg, refusal := m.find(c)
		if refusal != nil {
			return refusal
		}
		return handle(c, msg)
	})
}

func (b *mailbox) lookup(id string) *message {
	for _, msg := range b.messages {
		if msg.id == id {
			return msg
		}
	}
	return nil
}

// put adds a message as the newest, unless the box is full or has it already.
func (b *mailbox) put(msg *message) bool {
	if len(b.messages) >= keptMessages || b.lookup(msg.id) != nil {
		return false
	}
	b.messages = slices.Insert(b.messages, 0, msg)
	return true
}

// count counts the messages of a box.
func (b *mailbox) count() (total, unread int) {
	for _, msg := range b.messages {
		if !msg.read {
			unread++
		}
	}
	return len(b.messages), unread
}

// summary serves GET /ebox.
func (m *messageRegistry) summary(c *call) response {
	b := m.box(c.enterprise)
	out := struct {
		Messages int        `json:"numberOfMessages"`
		Unread   int        `json:"numberOfUnreadMessages"`
		Receipt  *time.Time `json:"lastReceiptDate,omitempty"`
		Size     float64    `json:"eboxSize"`
		Links    links      `json:"_links"`
	}{Links: links{
		// Absolute paths here and absolute URLs elsewhere: both are seen in the wild.
		"self": {m.api.path + "/ebox"}, "messages": {m.api.path + "/ebox/messages"},
	}}
	out.Messages, out.Unread = b.count()
	for i, msg := range b.messages {
		if i == 0 {
			at := msg.received.In(m.zone)
			out.Receipt = &at
		}
		for _, a := range msg.attachments {
			out.Size += float64(a.size) / 1024
		}
	}
	return c.send(http.StatusOK, out)
}

// one serves GET /ebox/messages/{id}.
func (m *messageRegistry) one(c *call, msg *message) response {
	return c.send(http.StatusOK, m.view(msg, true))
}

// body serves GET /ebox/messages/{id}/body, which opens a message whose body is
// its main content.
func (m *messageRegistry) body(c *call, msg *message) response {
	if msg.body == nil {
		return c.fail(problem.NotFound("This message has no body."))
	}
	msg.read = msg.read || msg.bodyMain
	return c.send(http.StatusOK, msg.body)
}

// payment serves GET /ebox/messages/{id}/paymentData.
func (m *messageRegistry) payment(c *call, msg *message) response {
	if msg.payment == nil {
		return c.fail(problem.NotFound("This message has no payment data."))
	}
	return c.send(http.StatusOK, msg.payment)
}

// structured serves GET /ebox/messages/{id}/structuredData: what a program reads in
// place of the letter, which opens the message.
func (m *messageRegistry) structured(c *call, msg *message) response {
	msg.read = true
	return c.send(http.StatusOK, map[string]any{"messageId": msg.id, "messageTypeId": msg.typeID,
		"enterpriseNumber": c.enterprise})
}

type action struct {
	Action string `json:"action"`
}

// act serves POST /ebox/messages/{id}/actions: a message is marked read or unread.
func (m *messageRegistry) act(c *call, order action) response {
	msg, refusal := m.find(c)
	if refusal != nil {
		return refusal
	}
	if order.Action != "markAsRead" && order.Action != "markAsUnread" {
		return c.fail(problem.BadRequest("action is markAsRead or markAsUnread."))
	}
	msg.read = order.Action == "markAsRead"
	return c.status(http.StatusNoContent)
}

// sent serves GET /ebox/sentMessages: what the enterprise published here, newest first.
func (m *messageRegistry) sent(c *call) response {
	var all []*message
	for _, b := range m.boxes {
		for _, msg := range b.messages {
			if msg.published && msg.orgID == c.enterprise.String() {
				all = append(all, msg)
			}
		}
	}
	slices.SortFunc(all, func(a, b *message) int {
		return cmp.Or(b.received.Compare(a.received), cmp.Compare(b.id, a.id))
	})
	return sendPage(c, all, m.listed)
}

// statistics serves GET /statistics: the counters of the enterprise's e-Box.
func (m *messageRegistry) statistics(c *call) response {
	total, unread := m.box(c.enterprise).count()
	return c.send(http.StatusOK, map[string]any{"enterpriseNumber": c.enterprise, "numberOfMessages": total,
		"numberOfUnreadMessages": unread})
}

// Draft is a message to put into an e-Box from outside the API.
type Draft struct {
	// Subject is used in all three languages; empty names the enterprise.
	Subject string
	// Sizes are of its attachments, in bytes; the first is the main content.
	Sizes []int64
	// Body gives it a body; without attachments that is the main content.
	Body string
}

// AddMessage puts a new message into the e-Box of an enterprise at a provider and
// returns its id. Its attachments have the ids "1", "2", … and any size: their
// bytes are generated while they are sent.
func (s *Simulator) AddMessage(provider string, e enterprise.Number, d Draft) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.registries[provider]
	if m == nil {
		return "", fmt.Errorf("adding a message: the simulator serves no provider %q", provider)
	}
	if d.Subject == "" {
		d.Subject = "New message for " + e.String()
	}
	msg := m.newMessage(e, m.nextID(), s.now())
	msg.subject = inAll(d.Subject)
	if d.Body != "" {
		msg.body, msg.bodyMain = inAll(d.Body), len(d.Sizes) == 0
	}
	for i, size := range d.Sizes {
		if size < 0 {
			return "", fmt.Errorf("adding a message: attachment %d has a size below zero", i+1)
		}
		msg.attachments = append(msg.attachments, m.generated(e, msg.id, i+1, size))
	}
	if !m.box(e).put(msg) {
		return "", fmt.Errorf("adding a message: the e-Box of %s is full", e)
	}
	return msg.id, nil
}

func inAll(text string) translated { return translated{"nl": text, "fr": text, "de": text} }
