package simulator

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

const (
	// maxFiles is how many documents a publication may have.
	maxFiles = 6
	// maxDescription bounds the JSON part of a publication, in bytes.
	maxDescription = 1 << 20
	// keptFile is how much of a published file is kept to be read again, in bytes.
	keptFile = 1 << 20
	// keyKnown is how long the Idempotency-Key of a publication is remembered.
	keyKnown = 24 * time.Hour
	// expiry is how long a message stands in an e-Box.
	expiry = 2 * 365 * 24 * time.Hour

	descriptionPart = "messageToPublish"
)

// publication is the JSON part of a multipart publication, in the names of version 3.
type publication struct {
	message
	Recipient   *party       `json:"recipient"`
	Attachments []fileToSend `json:"attachments"`
	BodyMain    *bool        `json:"isBodyMainContent"`
	Body        translated   `json:"bodyContent"`
	Replies     *bool        `json:"isReplyAuthorized"`

	described bool                   // this JSON was there
	files     map[string]*attachment // by the names of their parts
}

type fileToSend struct {
	attachment
	Part   string `json:"httpPartName"`
	Digest *struct {
		Value  string `json:"digestValue"`
		Method string `json:"digestMethod"`
	} `json:"digest"`
}

// enterprise gives the number of a party that is an enterprise.
func (p *party) enterprise() (enterprise.Number, bool) {
	n, err := enterprise.Parse(p.Number)
	return n, err == nil && p.Type == "enterprise" && n.String() == p.Number && p.Value == "" && p.SSIN == ""
}

// senders are the scopes of those who publish.
var senders = []string{ScopePublicationSender, ScopeRepresentativePublication, ScopeRepresentativeElsewhere}

// maySend checks that the token is one for sending, for oneself or for another as the call is.
func (c *call) maySend() error {
	wanted := senders[1:]
	if c.enterprise == c.token.client.Enterprise {
		wanted = senders[:1]
	}
	if c.token.hasOneOf(wanted) {
		return nil
	}
	return missingScope(wanted, "The access token has no scope for publishing on this enterprise's behalf. Ask the "+
		"Authorization Server for one of: "+strings.Join(wanted, " ")+".")
}

type published struct {
	ID      string    `json:"messageId"`
	Expires time.Time `json:"expirationDate"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
}

// mediaTypes are the formats that a document may have.
var mediaTypes = []string{
	"application/pdf", "application/zip", "text/csv", "text/html", "text/plain", "text/xml",
	"application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
	"application/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.graphics",
	"application/vnd.ms-excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"application/vnd.ms-powerpoint", "application/msword",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}

// publish serves POST /ebox/messages and, on older registries, POST
// /publishMessage. Those who only read may reply with it, and no more.
func (m *messageRegistry) publish(c *call) (any, error) {
	p, err := c.publication()
	switch {
	case err != nil:
		return nil, err
	case p.Original == "":
		err = c.maySend()
	default:
		original := m.box(c.enterprise).lookup(p.Original)
		if original == nil {
			err = problem.NotFound("There is no message of this id to reply to.")
		} else if !original.Replies {
			err = problem.Forbidden("This message allows no replies.")
		}
	}
	if err != nil {
		return nil, err
	}
	return m.accept(c, p)
}

// reply serves POST /ebox/messages/{id}/replies: a publication whose original is the message of
// the path.
func (m *messageRegistry) reply(c *call, original *message) (any, error) {
	p, err := c.publication()
	if err != nil {
		return nil, err
	}
	if p.Original != "" && p.Original != original.ID {
		return nil, problem.BadRequest("originalMessageId is not the message of the path.")
	}
	p.Original = original.ID
	return m.publish(c)
}

// accept checks the publication as a whole and puts it into the recipient's e-Box.
func (m *messageRegistry) accept(c *call, p *publication) (any, error) {
	recipient, issues := c.check(p)
	if len(issues) > 0 {
		return nil, problem.BadRequest("The message to publish is not valid.", issues...)
	}
	key, err := m.key(c)
	if err != nil {
		return nil, err
	}
	msg := m.newMessage(recipient, m.nextID(), m.s.now())
	msg.Original, msg.Subject, msg.Attention, msg.Registered = p.Original, p.Subject, p.Attention, p.Registered
	msg.body, msg.BodyMain, msg.Payment, msg.Replies = p.Body, isTrue(p.BodyMain), p.Payment, *p.Replies
	msg.OrgID = c.enterprise.String()
	msg.TypeID, msg.AppID = cmp.Or(p.TypeID, msg.TypeID), cmp.Or(p.AppID, msg.AppID)
	if !p.Expires.IsZero() {
		msg.Expires = p.Expires
	}
	for i, about := range p.Attachments {
		f := p.files[about.Part]
		f.ID, f.Title, f.Main, f.Signed = fmt.Sprint(i+1), about.Title, about.Main, about.Signed
		msg.attachments = append(msg.attachments, f)
	}
	m.put(recipient, msg)
	if key != "" {
		m.keys[key] = m.s.now().Add(keyKnown)
	}
	location := m.base()
	if m.old {
		location = m.path // an absolute path, which RFC 9110 §10.2.2 allows
	}
	c.w.Header().Set("Location", location+"/ebox/messages/"+msg.ID)
	out := published{msg.ID, msg.Expires.In(m.zone), "PUBLISHED", "The message was published."}
	if !c.s.inMahis(recipient) {
		out.Code, out.Message = "NO_DIGITAL_USER", "The message was published; the recipient has never opened its e-Box."
	}
	c.status = http.StatusCreated
	return out, nil
}

// key gives the Idempotency-Key of a publication with its client, "" without one. It is
// refused if the client's publication with that key was accepted before, whatever that held.
func (m *messageRegistry) key(c *call) (string, error) {
	fields := c.r.Header.Values("Idempotency-Key")
	if len(fields) == 0 {
		return "", nil
	}
	key := c.token.client.ID + " " + fields[0]
	switch {
	case len(fields) > 1 || !quoted.MatchString(fields[0]):
		return "", problem.BadRequest("The header Idempotency-Key is not valid.", problem.Issue{
			Type: problem.IssueInvalidInput, In: "header", Name: "Idempotency-Key", Detail: "one quoted string is expected",
		})
	case m.keys.has(key, m.s.now()):
		return "", refuse(http.StatusConflict, "conflict", "Conflict",
			"A publication with this Idempotency-Key was accepted before.")
	}
	return key, nil
}

var quoted = regexp.MustCompile(`^"[^"]+"$`)

func isTrue(b *bool) bool { return b != nil && *b }

// publication gives the publication that the body held.
func (c *call) publication() (*publication, error) {
	if c.published == nil {
		return nil, refuse(http.StatusUnsupportedMediaType, "unsupportedMediaType", "Unsupported Media Type",
			"Send multipart/form-data with a boundary.")
	}
	return c.published, nil
}

// readParts reads a publication's parts as they come; the description and a bounded beginning of
// each file are kept.
func (c *call) readParts(boundary string) error {
	p := publication{files: map[string]*attachment{}}
	parts := multipart.NewReader(c.r.Body, boundary)
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF) && !p.described:
			return problem.BadRequest("The part " + descriptionPart + " is missing.")
		case errors.Is(err, io.EOF):
			c.published = &p
			// What follows the last boundary means nothing, but is recorded.
			_, _ = io.Copy(io.Discard, c.r.Body)
			return nil
		case err != nil:
		case part.FormName() == descriptionPart && !p.described:
			err = c.readDescription(&p, part)
		case part.FormName() == "" || part.FormName() == descriptionPart || p.files[part.FormName()] != nil:
			err = errors.New("each part needs a name of its own")
		case len(p.files) == maxFiles:
			err = errors.New("at most six files are allowed")
		default:
			p.files[part.FormName()], err = readFile(part)
		}
		if err != nil {
			return problem.BadRequest("The multipart body is not valid: " + err.Error() + ".")
		}
	}
}

func (c *call) readDescription(p *publication, part io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(part, maxDescription+1))
	switch {
	case err != nil:
		return errors.New("the part " + descriptionPart + " breaks off")
	case len(text) > maxDescription:
		return errors.New("the part " + descriptionPart + " is too long")
	case c.unmarshal(text, p) != nil:
		return errors.New("the part " + descriptionPart + " is not the JSON that is expected")
	}
	p.described = true
	return nil
}

// readFile reads a document as it passes through.
func readFile(part *multipart.Part) (*attachment, error) {
	var kept bytes.Buffer
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(hash, &kept), io.LimitReader(part, keptFile))
	var rest int64
	if err == nil {
		rest, err = io.Copy(hash, part)
	}
	if err != nil {
		return nil, errors.New("the part " + part.FormName() + " breaks off")
	}
	digest := base64.RawURLEncoding.EncodeToString(hash.Sum(nil))
	mediaType, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")) // an unreadable one is judged with the others
	content := &document{size: size + rest, digest: func() string { return digest }}
	if rest == 0 {
		content = keptDocument(kept.Bytes())
	}
	return &attachment{FileName: part.FileName(), Media: mediaType, content: content}, nil
}

// check compares the description with the files that came with it, with the version of the
// API and with the enterprise that the call is for.
func (c *call) check(p *publication) (recipient enterprise.Number, issues []problem.Issue) {
	refuseIf := func(wrong bool, kind, name, detail string) {
		if wrong {
			issues = append(issues, problem.Issue{Type: kind, In: "body", Name: name, Detail: detail})
		}
	}
	const invalid, missing = problem.IssueInvalidInput, problem.IssueRequiredInput
	const notKnown = "this version of the API does not know it"
	refuseIf(!c.old && p.OrgID != "", invalid, "/senderOrganizationId", notKnown)
	if p.Sender != nil {
		n, ok := p.Sender.enterprise()
		refuseIf(c.old, invalid, "/sender", notKnown)
		refuseIf(!ok || n != c.enterprise, invalid, "/sender", "is not the enterprise that the call is for")
	}
	if refuseIf(p.Recipient == nil, missing, "/recipient", "is required"); p.Recipient != nil {
		var ok bool
		recipient, ok = p.Recipient.enterprise()
		refuseIf(!ok, invalid, "/recipient", "eboxType enterprise and a ten-digit enterprise number are expected, "+
			"in the name of this version")
	}
	refuseIf(len(p.Subject) == 0, missing, "/subject", "is required in at least one language")
	// Version 3 takes it from whether there is a body.
	refuseIf(c.old && p.BodyMain == nil, missing, "/bodyMainContent", "is required")
	refuseIf(p.Replies == nil, missing, "/isReplyAuthorized (replyAuthorized before version 3)", "is required")
	main := isTrue(p.BodyMain) && len(p.Body) > 0
	unnamed := maps.Clone(p.files)
	for i, a := range p.Attachments {
		main = main || a.Main
		name := fmt.Sprintf("/attachments/%d", i)
		f := unnamed[a.Part]
		if f == nil {
			refuseIf(true, invalid, name+"/httpPartName", "there is no such part, or another attachment names it")
			continue
		}
		delete(unnamed, a.Part)
		refuseIf(f.FileName == "", missing, a.Part, "the part needs a file name")
		refuseIf(!slices.Contains(mediaTypes, f.Media), invalid, a.Part, "the content type is none of those that e-Box takes")
		if d := a.Digest; d != nil {
			refuseIf(d.Method != digestMethod || strings.TrimRight(d.Value, "=") != f.content.digest(), invalid,
				name+"/digest", "does not match the bytes received; the base64url of their SHA-256 is expected")
		}
	}
	for _, part := range slices.Sorted(maps.Keys(unnamed)) {
		refuseIf(true, invalid, part, "no attachment names this part")
	}
	refuseIf(!main, missing, "/attachments", "one attachment or the body must be the main content")
	return recipient, issues
}

type linkOrder struct {
	ID         string  `json:"messageId"`
	Recipients []party `json:"recipients"`
}

// link serves POST /linkEboxMessage: a message that the sender published goes
// into further e-Boxes.
func (m *messageRegistry) link(c *call, order linkOrder) (any, error) {
	if err := c.maySend(); err != nil {
		return nil, err
	}
	original := m.sentBy(c.enterprise, order.ID)
	switch {
	case len(order.Recipients) == 0:
		return nil, problem.BadRequest("recipients is missing or empty.")
	case original == nil:
		return nil, problem.NotFound("This sender has published no message of the id " + order.ID + ".")
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
			m.put(n, &linked)
			out.Links++
		} else {
			out.Errors = append(out.Errors, to)
		}
	}
	c.status = http.StatusCreated
	return out, nil
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
func (m *messageRegistry) searchStatus(c *call, asked []statusQuestion) (any, error) {
	if err := c.maySend(); err != nil {
		return nil, err
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
		return nil, problem.NotFound("This sender has published none of these messages.")
	}
	c.status = http.StatusCreated
	return out, nil
}
