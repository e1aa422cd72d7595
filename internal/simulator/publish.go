package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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
	// expiry is how long a message stands in an e-Box.
	expiry = 2 * 365 * 24 * time.Hour

	descriptionPart = "messageToPublish"
)

// publication is the JSON part of a multipart publication, in the names of version 3.
type publication struct {
	Recipient   *party       `json:"recipient"`
	Attention   *attention   `json:"forTheAttentionOf"`
	Original    string       `json:"originalMessageId"`
	Subject     translated   `json:"subject"`
	TypeID      string       `json:"messageTypeId"`
	Expires     time.Time    `json:"expirationDate"`
	OrgID       string       `json:"senderOrganizationId"`
	Sender      *party       `json:"sender"`
	AppID       string       `json:"senderApplicationId"`
	Registered  bool         `json:"registeredMail"`
	Attachments []fileToSend `json:"attachments"`
	BodyMain    *bool        `json:"isBodyMainContent"`
	Body        translated   `json:"bodyContent"`
	Payment     *payment     `json:"paymentData"`
	Replies     *bool        `json:"isReplyAuthorized"`

	// unknown are its members that have the name of another version.
	unknown []string
}

type fileToSend struct {
	Title  translated `json:"attachmentTitle"`
	Part   string     `json:"httpPartName"`
	Main   bool       `json:"isMainContent"`
	Digest *digest    `json:"digest"`
	Signed bool       `json:"isAttachmentSigned"`
}

// enterprise gives the number of a party that is an enterprise.
func (p *party) enterprise() (enterprise.Number, bool) {
	n, err := enterprise.Parse(p.Number)
	return n, err == nil && p.Type == "enterprise" && n.String() == p.Number && p.Value == "" && p.SSIN == ""
}

// senders are the scopes of those who publish.
var senders = []string{ScopePublicationSender, ScopeRepresentativePublication, ScopeRepresentativeElsewhere}

// maySend checks that the token is one for sending, for oneself or for another as the call is.
func (c *call) maySend() response {
	wanted := senders[1:]
	if c.enterprise == c.token.client.Enterprise {
		wanted = senders[:1]
	}
	if slices.ContainsFunc(c.token.scopes, func(s string) bool { return slices.Contains(wanted, s) }) {
		return nil
	}
	return c.missingScope(wanted, "The access token has no scope for publishing on this enterprise's behalf. Ask the "+
		"Authorization Server for one of: "+strings.Join(wanted, " ")+".")
}

// received is a file part that has passed through.
type received struct {
	name, fileName, mediaType string
	size                      int64
	digest                    string
	kept                      []byte // nil if it was too large
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
func (m *messageRegistry) publish(c *call, p *publication, files []received) response {
	var refusal response
	if p.Original == "" {
		refusal = c.maySend()
	} else {
		refusal = m.mayReply(c, p.Original)
	}
	if refusal != nil {
		return refusal
	}
	return m.accept(c, p, files)
}

// reply is POST /ebox/messages/{id}/replies: a publication whose original is the message of
// the path and whose recipient is its sender unless it names one. A message that takes no
// replies refuses it before the body is read.
func (m *messageRegistry) reply() func(*call) response {
	check := locked(func(c *call) response { return m.mayReply(c, c.args[0]) })
	take := onPublication(func(c *call, p *publication, files []received) response {
		if p.Original != "" && p.Original != c.args[0] {
			return c.fail(problem.BadRequest("originalMessageId is not the message of the path."))
		}
		p.Original = c.args[0]
		if p.Recipient == nil {
			p.Recipient = &party{Type: "enterprise", Number: m.box(c.enterprise).lookup(p.Original).orgID}
		}
		return m.accept(c, p, files)
	})
	return func(c *call) response {
		if refusal := check(c); refusal != nil {
			return refusal
		}
		return take(c)
	}
}

func (m *messageRegistry) mayReply(c *call, original string) response {
	msg := m.box(c.enterprise).lookup(original)
	switch {
	case msg == nil:
		return c.fail(problem.NotFound("There is no message to reply to of the id " + original + "."))
	case !msg.replies:
		return c.fail(problem.Forbidden("This message allows no replies."))
	}
	return nil
}

// accept checks the publication as a whole and puts it into the recipient's e-Box.
func (m *messageRegistry) accept(c *call, p *publication, files []received) response {
	recipient, issues := p.check(files, m.old)
	if s := p.Sender; s != nil {
		if n, ok := s.enterprise(); !ok || n != c.enterprise {
			issues = append(issues, problem.Issue{Type: problem.IssueInvalidInput, In: "body", Name: "/sender",
				Detail: "is not the enterprise that the call is for"})
		}
	}
	if len(issues) > 0 {
		return c.fail(problem.BadRequest("The message to publish is not valid.", issues...))
	}
	key, refusal := m.key(c)
	if refusal != nil {
		return refusal
	}
	msg := m.newMessage(recipient, m.nextID(), m.s.now())
	msg.original, msg.subject, msg.attention, msg.registered = p.Original, p.Subject, p.Attention, p.Registered
	msg.body, msg.bodyMain, msg.payment, msg.replies = p.Body, isTrue(p.BodyMain), p.Payment, *p.Replies
	msg.orgID, msg.published = c.enterprise.String(), true
	if p.TypeID != "" {
		msg.typeID = p.TypeID
	}
	if p.AppID != "" {
		msg.appID = p.AppID
	}
	if !p.Expires.IsZero() {
		msg.expires = p.Expires
	}
	for i, f := range files {
		a := &attachment{id: fmt.Sprint(i + 1), fileName: f.fileName, mediaType: f.mediaType, size: f.size,
			digest: func() string { return f.digest }}
		about := p.Attachments[slices.IndexFunc(p.Attachments, func(t fileToSend) bool { return t.Part == f.name })]
		a.title, a.main, a.signed = about.Title, about.Main, about.Signed
		if f.kept != nil {
			a.content = keptDocument(f.kept)
		}
		msg.attachments = append(msg.attachments, a)
	}
	if !m.box(recipient).put(msg) {
		return c.fail(refuse(http.StatusInsufficientStorage, "internalServerError", "Insufficient Storage",
			"The e-Box of the recipient is full."))
	}
	if len(m.keys) >= keptMessages {
		clear(m.keys)
	}
	if key != "" {
		m.keys[key] = true
	}
	location := m.api.base()
	if m.old {
		location = m.api.path // an absolute path, which RFC 9110 §10.2.2 allows
	}
	c.w.Header().Set("Location", location+"/ebox/messages/"+msg.id)
	out := published{msg.id, msg.expires.In(m.zone), "PUBLISHED", "The message was published."}
	if !c.s.inMahis(recipient) {
		out.Code, out.Message = "NO_DIGITAL_USER", "The message was published; the recipient has never opened its e-Box."
	}
	return c.send(http.StatusCreated, out)
}

// key gives the Idempotency-Key of a publication with its client, "" without one. It is
// refused if the client's publication with that key was accepted before, whatever that held.
func (m *messageRegistry) key(c *call) (string, response) {
	fields := c.r.Header.Values("Idempotency-Key")
	if len(fields) == 0 {
		return "", nil
	}
	key := c.token.client.ID + " " + fields[0]
	switch {
	case len(fields) > 1 || !quoted.MatchString(fields[0]):
		return "", c.fail(problem.BadRequest("The header Idempotency-Key is not valid.", problem.Issue{
			Type: problem.IssueInvalidInput, In: "header", Name: "Idempotency-Key", Detail: "one quoted string is expected",
		}))
	case m.keys[key]:
		return "", c.fail(refuse(http.StatusConflict, "conflict", "Conflict",
			"A publication with this Idempotency-Key was accepted before."))
	}
	return key, nil
}

var quoted = regexp.MustCompile(`^"[^"]+"$`)

func isTrue(b *bool) bool { return b != nil && *b }

// onPublication is an endpoint that takes a publication. Its parts are read as they come; the
// description and a bounded beginning of each file are kept.
func onPublication(handle func(*call, *publication, []received) response) func(*call) response {
	return func(c *call) response {
		mediaType, parameters, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
		if err != nil || mediaType != "multipart/form-data" || parameters["boundary"] == "" {
			return c.fail(refuse(http.StatusUnsupportedMediaType, "unsupportedMediaType", "Unsupported Media Type",
				"Send multipart/form-data with a boundary."))
		}
		p, files, err := c.readParts(multipart.NewReader(c.r.Body, parameters["boundary"]))
		if err != nil {
			return c.fail(problem.BadRequest("The multipart body is not valid: " + err.Error() + "."))
		}
		// What follows the last boundary means nothing, but the trailers come after it.
		_, _ = io.Copy(io.Discard, c.r.Body)
		if p == nil {
			return c.fail(problem.BadRequest("The part " + descriptionPart + " is missing."))
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return handle(c, p, files)
	}
}

func (c *call) readParts(parts *multipart.Reader) (p *publication, files []received, err error) {
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return p, files, nil
		case err != nil:
			return nil, nil, err
		case part.FormName() == descriptionPart && p == nil:
			p, err = c.readDescription(part)
		case part.FormName() == "" || part.FormName() == descriptionPart:
			err = errors.New("each part needs a name of its own")
		case len(files) == maxFiles:
			err = errors.New("at most six files are allowed")
		default:
			var f received
			f, err = readFile(part)
			files = append(files, f)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func (c *call) readDescription(part io.Reader) (*publication, error) {
	text, err := io.ReadAll(io.LimitReader(part, maxDescription+1))
	switch {
	case err != nil:
		return nil, errors.New("the part " + descriptionPart + " breaks off")
	case len(text) > maxDescription:
		return nil, errors.New("the part " + descriptionPart + " is too long")
	}
	p := publication{unknown: namesNotOf(c.old, text)}
	if err := c.unmarshal(text, &p); err != nil {
		return nil, errors.New("the part " + descriptionPart + " is not the JSON that is expected")
	}
	return &p, nil
}

func readFile(part *multipart.Part) (received, error) {
	f := received{name: part.FormName(), fileName: part.FileName()}
	f.mediaType, _, _ = mime.ParseMediaType(part.Header.Get("Content-Type")) // an unreadable one is judged with the others
	var kept bytes.Buffer
	hash := sha256.New()
	first, err := io.Copy(io.MultiWriter(hash, &kept), io.LimitReader(part, keptFile))
	if err == nil {
		f.size, err = io.Copy(hash, part)
	}
	if err != nil {
		return f, errors.New("the part " + f.name + " breaks off")
	}
	if f.size == 0 {
		f.kept = append([]byte{}, kept.Bytes()...)
	}
	f.size += first
	f.digest = base64.RawURLEncoding.EncodeToString(hash.Sum(nil))
	return f, nil
}

// check compares the description with the files that came with it.
func (p *publication) check(files []received, old bool) (recipient enterprise.Number, issues []problem.Issue) {
	wrong := func(kind, name, detail string) {
		issues = append(issues, problem.Issue{Type: kind, In: "body", Name: name, Detail: detail})
	}
	for _, name := range p.unknown {
		wrong(problem.IssueInvalidInput, name, "this version of the API does not know it")
	}
	switch who := p.Attention; {
	case old && p.Sender != nil:
		wrong(problem.IssueInvalidInput, "/sender", "this version of the API does not know it")
	case !old && p.OrgID != "":
		wrong(problem.IssueInvalidInput, "/senderOrganizationId", "this version of the API does not know it")
	case who != nil && (old && who.SSIN+who.Label != "" || !old && who.ID+who.Type+who.Name != ""):
		wrong(problem.IssueInvalidInput, "/forTheAttentionOf", "has members that this version of the API does not know")
	}
	if p.Recipient == nil {
		wrong(problem.IssueRequiredInput, "/recipient", "is required")
	} else {
		var ok bool
		if recipient, ok = p.Recipient.enterprise(); !ok {
			wrong(problem.IssueInvalidInput, "/recipient", "eboxType enterprise and a ten-digit enterprise number are "+
				"expected, in the name of this version")
		}
	}
	if len(p.Subject) == 0 {
		wrong(problem.IssueRequiredInput, "/subject", "is required in at least one language")
	}
	if old && p.BodyMain == nil { // version 3 takes it from whether there is a body
		wrong(problem.IssueRequiredInput, "/bodyMainContent", "is required")
	}
	if p.Replies == nil {
		name := "isReplyAuthorized"
		if old {
			name = otherName[name]
		}
		wrong(problem.IssueRequiredInput, "/"+name, "is required")
	}
	main := isTrue(p.BodyMain) && len(p.Body) > 0
	for i, a := range p.Attachments {
		name := fmt.Sprintf("/attachments/%d", i)
		at := slices.IndexFunc(files, func(f received) bool { return f.name == a.Part })
		if at < 0 {
			wrong(problem.IssueInvalidInput, name+"/httpPartName", "there is no such part")
			continue
		}
		main = main || a.Main
		if d := a.Digest; d != nil && (d.Method != digestMethod || strings.TrimRight(d.Value, "=") != files[at].digest) {
			wrong(problem.IssueInvalidInput, name+"/digest", "does not match the bytes received; the base64url of "+
				"their SHA-256 is expected")
		}
	}
	for i, f := range files {
		switch {
		case !slices.ContainsFunc(p.Attachments, func(a fileToSend) bool { return a.Part == f.name }):
			wrong(problem.IssueInvalidInput, f.name, "no attachment names this part")
		case slices.ContainsFunc(files[:i], func(g received) bool { return g.name == f.name }):
			wrong(problem.IssueInvalidInput, f.name, "the part is there twice")
		case f.fileName == "":
			wrong(problem.IssueRequiredInput, f.name, "the part needs a file name")
		case !slices.Contains(mediaTypes, f.mediaType):
			wrong(problem.IssueInvalidInput, f.name, "the content type is none of those that e-Box takes")
		}
	}
	if !main {
		wrong(problem.IssueRequiredInput, "/attachments", "one attachment or the body must be the main content")
	}
	return recipient, issues
}
