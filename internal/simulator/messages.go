package simulator

import (
	"fmt"
	"mime"
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
	*api
	s    *Simulator
	id   string
	zone *time.Location // of the dates it gives out
	seq  int            // numbers the messages that come in after the start

	boxes map[enterprise.Number]mailbox
	keys  ends // of publications that were accepted, with their clients
}

// mailbox is the e-Box of one enterprise at one provider, newest first.
type mailbox []*message

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
	Sender     *party     `json:"sender,omitempty"`               // only as it is shown, and in a publication
	AppID      string     `json:"senderApplicationId"`
	Partition  string     `json:"partition,omitempty"` // since version 3
	BodyMain   bool       `json:"isBodyMainContent"`
	Payment    any        `json:"paymentData,omitempty"`
	Replies    bool       `json:"isReplyAuthorized"`
	// Documents and Links are only there as it is shown.
	Documents any   `json:"attachments,omitempty"`
	Links     links `json:"_links,omitempty"`

	attachments []*attachment
	body        translated
}

// attachment is one document of a message.
type attachment struct {
	ID       string     `json:"attachmentId"`
	Title    translated `json:"attachmentTitle,omitempty"`
	FileName string     `json:"fileName"`
	Main     bool       `json:"isMainContent"`
	Media    string     `json:"mediaType"`
	Signed   bool       `json:"isAttachmentSigned"`
	// Size, in kB, Digest and Content are only there as it is shown.
	Size    float64 `json:"size"`
	Digest  any     `json:"digest,omitempty"`
	Content string  `json:"contentHref,omitempty"`

	content *document
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

// structuredData is a path below a message, which is our reading.
const structuredData = "/structuredData"

func newMessageRegistry(s *Simulator, at *site, id, path, version string) *messageRegistry {
	old := strings.HasPrefix(version, "1.") || strings.HasPrefix(version, "2.")
	m := &messageRegistry{
		api: &api{upstream: ProviderUpstream(id), site: at, path: path, representing: true, guard: s.guard, old: old,
			plainPages: !old},
		s: s, id: id, zone: time.UTC, boxes: map[enterprise.Number]mailbox{}, keys: ends{},
	}
	// What each operation asks for. A reply may be sent by those who read.
	summary, read, reference := []string{ScopeDocumentConsumer}, []string{ScopeDocumentConsumer},
		[]string{ScopeDocumentConsumer}
	if old {
		summary, read, reference = []string{ScopeSummaryOwnEbox}, []string{ScopeMessagesFull}, []string{ScopeReferenceData}
		m.zone = time.FixedZone("CET", 3600)
	}
	publish := slices.Concat(senders, read)
	m.endpoints = append(m.referenceEndpoints(reference),
		endpoint{"GET", "/ebox", summary, m.summary},
		endpoint{"GET", "/ebox/messages", read, m.list},
		endpoint{"PATCH", "/ebox/messages", read, onJSON(mergePatch, m.patch)},
		endpoint{"GET", "/ebox/messages/{}", read, m.of(func(_ *call, msg *message) (any, error) {
			return m.view(msg, true), nil
		})},
		endpoint{"GET", "/ebox/messages/{}/attachments", read, m.of(func(_ *call, msg *message) (any, error) {
			return m.attachmentViews(msg, true), nil
		})},
		endpoint{"GET", "/ebox/messages/{}/attachments/{}", read, m.ofAttachment(m.attachment)},
		endpoint{"GET", "/ebox/messages/{}/attachments/{}/content", read, m.ofAttachment(m.content)},
		endpoint{"GET", "/ebox/messages/{}/body", read, m.of(m.body)},
		endpoint{"GET", "/ebox/messages/{}/paymentData", read, m.of(m.payment)},
		endpoint{"POST", "/ebox/messages/{}/replies", read, m.of(m.reply)},
		endpoint{"POST", "/linkEboxMessage", senders, onJSON(plainJSON, m.link)},
		endpoint{"POST", "/searchMessageStatus", senders, onJSON(plainJSON, m.searchStatus)})
	if old {
		m.endpoints = append(m.endpoints, endpoint{"POST", "/publishMessage", publish, m.publish})
		return m
	}
	// The federation's samples write the slash at the end.
	m.endpoints = append(m.endpoints,
		endpoint{"POST", "/ebox/messages", publish, m.publish},
		endpoint{"POST", "/ebox/messages/", publish, m.publish},
		endpoint{"GET", "/ebox/messages/{}" + structuredData, read, m.of(m.structured)})
	return m
}

// box gives the e-Box of an enterprise, filled when it is first asked for.
func (m *messageRegistry) box(e enterprise.Number) mailbox {
	if m.boxes[e] == nil {
		m.boxes[e] = m.seedMessages(e)
	}
	return m.boxes[e]
}

// put adds a message to an e-Box as the newest.
func (m *messageRegistry) put(e enterprise.Number, msg *message) {
	b := slices.Insert(m.box(e), 0, msg)
	m.boxes[e] = b[:min(len(b), mostKept)]
}

// nextID is the id of a message that comes in now.
func (m *messageRegistry) nextID() string {
	m.seq++
	return strconv.Itoa(2_000_000 + m.seq)
}

// of serves the message of the path, or answers 404.
func (m *messageRegistry) of(handle func(*call, *message) (any, error)) handler {
	return func(c *call) (any, error) {
		if msg := m.box(c.enterprise).lookup(c.args[0]); msg != nil {
			return handle(c, msg)
		}
		return nil, problem.NotFound("There is no message of this id in the e-Box of enterprise " +
			c.enterprise.String() + ".")
	}
}

// ofAttachment serves the attachment of the path, or answers 404.
func (m *messageRegistry) ofAttachment(handle func(*call, *message, *attachment) (any, error)) handler {
	return m.of(func(c *call, msg *message) (any, error) {
		for _, a := range msg.attachments {
			if a.ID == c.args[1] {
				return handle(c, msg, a)
			}
		}
		return nil, problem.NotFound("This message has no attachment of this id.")
	})
}

func (b mailbox) lookup(id string) *message {
	for _, msg := range b {
		if msg.ID == id {
			return msg
		}
	}
	return nil
}

// unread counts the messages that were not read.
func (b mailbox) unread() (n int) {
	for _, msg := range b {
		if !msg.Read {
			n++
		}
	}
	return n
}

// summary serves GET /ebox.
func (m *messageRegistry) summary(c *call) (any, error) {
	b := m.box(c.enterprise)
	var size int64
	for _, msg := range b {
		for _, a := range msg.attachments {
			size += a.content.size
		}
	}
	return map[string]any{
		"numberOfMessages": len(b), "numberOfUnreadMessages": b.unread(), "eboxSize": float64(size) / 1024,
		"lastReceiptDate": b[0].Published.In(m.zone), // there is always one
		// Absolute paths here and absolute URLs elsewhere: both are seen in the wild.
		"_links": links{"self": {m.path + "/ebox"}, "messages": {m.path + "/ebox/messages"}},
	}, nil
}

// view shows a message; whole adds the digests of its attachments, which a list
// leaves out because they cost reading the documents.
func (m *messageRegistry) view(msg *message, whole bool) message {
	self := m.base() + "/ebox/messages/" + msg.ID
	v := *msg
	v.Links = links{"self": {self}, "attachments": {self + "/attachments"}}
	v.Published, v.Expires = msg.Published.In(m.zone), msg.Expires.In(m.zone)
	if m.old {
		v.Partition = ""
	} else {
		v.Sender, v.OrgID = &party{Type: "enterprise", Number: msg.OrgID, Partition: partitions[0]}, ""
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
func (m *messageRegistry) listed(msg *message) message { return m.view(msg, false) }

func (m *messageRegistry) attachmentViews(msg *message, whole bool) any {
	views := make([]attachment, len(msg.attachments))
	for i, a := range msg.attachments {
		views[i] = m.attachmentView(msg, a, whole)
	}
	total := "totalItems"
	if m.plainPages {
		total = "total"
	}
	return map[string]any{"items": views, total: len(views)}
}

func (m *messageRegistry) attachmentView(msg *message, a *attachment, whole bool) attachment {
	v := *a
	v.Size = float64(a.content.size) / 1024
	v.Content = m.base() + "/ebox/messages/" + msg.ID + "/attachments/" + a.ID + "/content"
	if whole {
		v.Digest = digestOf(a.content.digest)
	}
	return v
}

// list serves GET /ebox/messages.
func (m *messageRegistry) list(c *call) (any, error) {
	query := queryOf(c)
	accepts := query.filter()
	all := slices.DeleteFunc(slices.Clone(m.box(c.enterprise)), func(msg *message) bool { return !accepts(msg) })
	return onePage(query, all, m.listed)
}

// attachment serves GET /ebox/messages/{id}/attachments/{attachmentId}.
func (m *messageRegistry) attachment(_ *call, msg *message, a *attachment) (any, error) {
	return m.attachmentView(msg, a, true), nil
}

// content serves GET …/content: the bytes, with ranges (RFC 9110 §14) and an
// entity tag. Fetching the main content marks the message read, whatever part of
// it is fetched and even if the client has it already; so does HEAD.
func (m *messageRegistry) content(c *call, msg *message, a *attachment) (any, error) {
	if a.content.ReaderAt == nil {
		return nil, problem.NotFound("The simulator does not keep the content of so large a published document.")
	}
	msg.Read = msg.Read || a.Main
	h := c.w.Header()
	h.Set("Content-Type", a.Media)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.FileName}))
	h.Set("Cache-Control", "private, no-cache")
	return a.content, nil
}

// body serves GET /ebox/messages/{id}/body, which opens a message whose body is
// its main content.
func (m *messageRegistry) body(_ *call, msg *message) (any, error) {
	if msg.body == nil {
		return nil, problem.NotFound("This message has no body.")
	}
	msg.Read = msg.Read || msg.BodyMain
	return msg.body, nil
}

// payment serves GET /ebox/messages/{id}/paymentData.
func (m *messageRegistry) payment(_ *call, msg *message) (any, error) {
	if msg.Payment == nil {
		return nil, problem.NotFound("This message has no payment data.")
	}
	return msg.Payment, nil
}

// structured serves GET /ebox/messages/{id}/structuredData: what a program reads in
// place of the letter, which opens the message.
func (m *messageRegistry) structured(c *call, msg *message) (any, error) {
	msg.Read = true
	return map[string]any{"messageId": msg.ID, "messageTypeId": msg.TypeID, "enterpriseNumber": c.enterprise}, nil
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
func (m *messageRegistry) patch(c *call, changes messageChanges) (any, error) {
	if len(changes.Items) == 0 {
		return nil, problem.BadRequest("items is missing or empty.")
	}
	messages := make([]*message, len(changes.Items))
	for i, item := range changes.Items {
		messages[i] = m.box(c.enterprise).lookup(item.ID)
		moves := item.Partition != nil && !m.old
		switch {
		case moves && !slices.Contains(partitions, *item.Partition):
			return nil, problem.BadRequest("There is no partition " + *item.Partition + " in this e-Box.")
		case item.Visible == nil && !moves:
			return nil, problem.BadRequest("visible is missing for message " + item.ID + ".")
		case messages[i] == nil:
			return nil, problem.NotFound("There is no message " + item.ID + " in the e-Box of enterprise " +
				c.enterprise.String() + ". Nothing was changed.")
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
	return nil, nil
}
