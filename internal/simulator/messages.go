package simulator

import (
	"cmp"
	"fmt"
	"mime"
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

// message is a message in one e-Box, in the member names of version 3 where they are public:
// what a sender describes and a client reads.
type message struct {
	ID         string     `json:"messageId"`
	Original   string     `json:"originalMessageId,omitempty"`
	Subject    translated `json:"subject"`
	Published  time.Time  `json:"publicationDate"`
	Expires    time.Time  `json:"expirationDate"`
	Read       bool       `json:"readStatus"`
	Visible    bool       `json:"visible"`
	Registered bool       `json:"registeredMail"`
	Attention  any        `json:"forTheAttentionOf,omitempty"`
	TypeID     string     `json:"messageTypeId"`
	OrgID      string     `json:"senderOrganizationId,omitempty"` // Sender since version 3
	AppID      string     `json:"senderApplicationId"`
	Partition  string     `json:"partition,omitempty"` // since version 3
	BodyMain   bool       `json:"isBodyMainContent"`
	Payment    any        `json:"paymentData,omitempty"`
	Replies    bool       `json:"isReplyAuthorized"`

	attachments []*attachment
	body        translated
}

// messageView is a message as the API shows it.
type messageView struct {
	message
	Sender    *party `json:"sender,omitempty"`
	Documents any    `json:"attachments,omitempty"`
	Links     links  `json:"_links"`
}

// attachment is one document of a message.
type attachment struct {
	ID       string     `json:"attachmentId"`
	Title    translated `json:"attachmentTitle,omitempty"`
	FileName string     `json:"fileName"`
	Main     bool       `json:"isMainContent"`
	Media    string     `json:"mediaType"`
	Size     float64    `json:"size"` // kB
	Signed   bool       `json:"isAttachmentSigned"`

	content *document // nil if it was too large to keep
	digest  digestOf
}

type attachmentView struct {
	attachment
	Digest  any    `json:"digest,omitempty"`
	Content string `json:"contentHref"`
}

// digestOf gives a SHA-256 in base64url. Of a large document that takes a while, and so it is
// called when the answer is written, after the lock was given back.
type digestOf func() string

const digestMethod = "sha_256"

// MarshalJSON implements json.Marshaler.
func (d digestOf) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"digestValue":%q,"digestMethod":%q}`, d(), digestMethod), nil
}

// translated is a text by language: nl, fr, de.
type translated map[string]string

// party is who sends or gets a message; eboxIdValue is the number's name before version 3.
type party struct {
	Type      string `json:"eboxType"`
	Value     string `json:"eboxIdValue,omitempty"`
	Number    string `json:"enterpriseNumber,omitempty"`
	SSIN      string `json:"ssin,omitempty"`
	Partition string `json:"partition,omitempty"`
}

const (
	contentPattern = "/ebox/messages/{}/attachments/{}/content"
	bodyPattern    = "/ebox/messages/{}/body"
	// That structuredData is a path below a message is our reading.
	structuredData    = "/structuredData"
	structuredPattern = "/ebox/messages/{}" + structuredData
)

func newMessageRegistry(s *Simulator, at *site, id, path, version string) *messageRegistry {
	m := &messageRegistry{s: s, id: id, zone: time.UTC, boxes: map[enterprise.Number]*mailbox{}, keys: map[string]bool{}}
	m.old = strings.HasPrefix(version, "1.") || strings.HasPrefix(version, "2.")
	m.api = &api{upstream: ProviderUpstream(id), site: at, path: path, representing: true, guard: s.guard, old: m.old,
		plainPages: !m.old}
	// What each operation asks for. A reply may be sent by those who read.
	summary, read, reference := []string{ScopeDocumentConsumer}, []string{ScopeDocumentConsumer},
		[]string{ScopeDocumentConsumer}
	if m.old {
		summary, read, reference = []string{ScopeSummaryOwnEbox}, []string{ScopeMessagesFull}, []string{ScopeReferenceData}
		m.zone = time.FixedZone("CET", 3600)
	}
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

// of serves the message of the path, or answers 404.
func (m *messageRegistry) of(handle func(*call, *message) response) func(*call) response {
	return locked(func(c *call) response {
		if msg := m.box(c.enterprise).lookup(c.args[0]); msg != nil {
			return handle(c, msg)
		}
		return c.noMessage()
	})
}

func (c *call) noMessage() response {
	return c.fail(problem.NotFound("There is no message of this id in the e-Box of enterprise " +
		c.enterprise.String() + "."))
}

// ofAttachment serves the attachment of the path, or answers 404.
func (m *messageRegistry) ofAttachment(handle func(*call, *message, *attachment) response) func(*call) response {
	return m.of(func(c *call, msg *message) response {
		for _, a := range msg.attachments {
			if a.ID == c.args[1] {
				return handle(c, msg, a)
			}
		}
		return c.fail(problem.NotFound("This message has no attachment of this id."))
	})
}

func (b *mailbox) lookup(id string) *message {
	for _, msg := range b.messages {
		if msg.ID == id {
			return msg
		}
	}
	return nil
}

// put adds a message as the newest.
func (b *mailbox) put(msg *message) {
	b.messages = slices.Insert(b.messages, 0, msg)
	b.messages = b.messages[:min(len(b.messages), mostKept)]
}

// count counts the messages of a box.
func (b *mailbox) count() (total, unread int) {
	for _, msg := range b.messages {
		if !msg.Read {
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
			at := msg.Published.In(m.zone)
			out.Receipt = &at
		}
		for _, a := range msg.attachments {
			out.Size += a.Size
		}
	}
	return c.send(http.StatusOK, out)
}

// view shows a message; whole adds the digests of its attachments, which a list
// leaves out because they cost reading the documents.
func (m *messageRegistry) view(msg *message, whole bool) messageView {
	self := m.api.base() + "/ebox/messages/" + msg.ID
	v := messageView{message: *msg, Links: links{"self": {self}, "attachments": {self + "/attachments"}}}
	v.Published, v.Expires = msg.Published.In(m.zone), msg.Expires.In(m.zone)
	if m.old {
		v.Partition = ""
	} else {
		v.Sender, v.OrgID = &party{Type: "enterprise", Number: msg.OrgID, Partition: partitions[0].ID}, ""
		v.Links["structuredData"] = link{self + structuredData}
	}
	if len(msg.attachments) > 0 {
		v.Documents = m.attachmentViews(msg, whole)
	}
	if msg.body != nil {
		v.Links["body"] = link{self + "/body"}
	}
	return v
}

// listed shows a message in a list.
func (m *messageRegistry) listed(msg *message) messageView { return m.view(msg, false) }

func (m *messageRegistry) attachmentViews(msg *message, whole bool) any {
	views := make([]attachmentView, len(msg.attachments))
	for i, a := range msg.attachments {
		views[i] = m.attachmentView(msg, a, whole)
	}
	return wholeList(m.api.plainPages, views)
}

func (m *messageRegistry) attachmentView(msg *message, a *attachment, whole bool) attachmentView {
	v := attachmentView{attachment: *a,
		Content: m.api.base() + "/ebox/messages/" + msg.ID + "/attachments/" + a.ID + "/content"}
	if whole {
		v.Digest = a.digest
	}
	return v
}

// list serves GET /ebox/messages.
func (m *messageRegistry) list(c *call) response {
	r := queryReader{query: c.r.URL.Query(), dateTimes: !m.old}
	p, accepts := r.page(), r.filter()
	if refusal := c.refuseQuery(&r); refusal != nil {
		return refusal
	}
	all := slices.DeleteFunc(slices.Clone(m.box(c.enterprise).messages), func(msg *message) bool { return !accepts(msg) })
	return c.send(http.StatusOK, pageOf(c, p, all, m.listed))
}

// one serves GET /ebox/messages/{id}.
func (m *messageRegistry) one(c *call, msg *message) response {
	return c.send(http.StatusOK, m.view(msg, true))
}

// attachmentList serves GET /ebox/messages/{id}/attachments.
func (m *messageRegistry) attachmentList(c *call, msg *message) response {
	return c.send(http.StatusOK, m.attachmentViews(msg, true))
}

// attachment serves GET /ebox/messages/{id}/attachments/{attachmentId}.
func (m *messageRegistry) attachment(c *call, msg *message, a *attachment) response {
	return c.send(http.StatusOK, m.attachmentView(msg, a, true))
}

// content serves GET …/content: the bytes, with ranges (RFC 9110 §14) and an
// entity tag. Fetching the main content marks the message read, whatever part of
// it is fetched and even if the client has it already; so does HEAD.
func (m *messageRegistry) content(c *call, msg *message, a *attachment) response {
	if a.content == nil {
		return c.fail(problem.NotFound("The simulator does not keep the content of so large a published document."))
	}
	msg.Read = msg.Read || a.Main
	h := c.w.Header()
	h.Set("Content-Type", a.Media)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.FileName}))
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", a.content.tag)
	return func() { http.ServeContent(c.w, c.r, "", msg.Published, a.content.open()) }
}

// body serves GET /ebox/messages/{id}/body, which opens a message whose body is
// its main content.
func (m *messageRegistry) body(c *call, msg *message) response {
	if msg.body == nil {
		return c.fail(problem.NotFound("This message has no body."))
	}
	msg.Read = msg.Read || msg.BodyMain
	return c.send(http.StatusOK, msg.body)
}

// payment serves GET /ebox/messages/{id}/paymentData.
func (m *messageRegistry) payment(c *call, msg *message) response {
	if msg.Payment == nil {
		return c.fail(problem.NotFound("This message has no payment data."))
	}
	return c.send(http.StatusOK, msg.Payment)
}

// structured serves GET /ebox/messages/{id}/structuredData: what a program reads in
// place of the letter, which opens the message.
func (m *messageRegistry) structured(c *call, msg *message) response {
	msg.Read = true
	return c.send(http.StatusOK, map[string]any{"messageId": msg.ID, "messageTypeId": msg.TypeID,
		"enterpriseNumber": c.enterprise})
}

type action struct {
	Action string `json:"action"`
}

// act serves POST /ebox/messages/{id}/actions: a message is marked read or unread.
func (m *messageRegistry) act(c *call, order action) response {
	msg := m.box(c.enterprise).lookup(c.args[0])
	switch {
	case msg == nil:
		return c.noMessage()
	case order.Action != "markAsRead" && order.Action != "markAsUnread":
		return c.fail(problem.BadRequest("action is markAsRead or markAsUnread."))
	}
	msg.Read = order.Action == "markAsRead"
	return c.status(http.StatusNoContent)
}

// sent serves GET /ebox/sentMessages: what the enterprise published here, newest first.
func (m *messageRegistry) sent(c *call) response {
	var all []*message
	for _, b := range m.boxes {
		for _, msg := range b.messages {
			if msg.OrgID == c.enterprise.String() {
				all = append(all, msg)
			}
		}
	}
	slices.SortFunc(all, func(a, b *message) int {
		return cmp.Or(b.Published.Compare(a.Published), cmp.Compare(b.ID, a.ID))
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
	msg := m.newMessage(e, m.nextID(), s.now())
	if d.Subject != "" {
		msg.Subject = inAll(d.Subject)
	}
	if d.Body != "" {
		msg.body, msg.BodyMain = inAll(d.Body), len(d.Sizes) == 0
	}
	for i, size := range d.Sizes {
		if size < 0 {
			return "", fmt.Errorf("adding a message: attachment %d has a size below zero", i+1)
		}
		msg.attachments = append(msg.attachments, m.generated(e, msg.ID, i+1, size))
	}
	m.box(e).put(msg)
	return msg.ID, nil
}

func inAll(text string) translated { return translated{"nl": text, "fr": text, "de": text} }
