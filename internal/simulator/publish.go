package simulator

import (
	"bytes"
	"cmp"
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
	message
	Recipient   *party       `json:"recipient"`
	Sender      *party       `json:"sender"`
	Attachments []fileToSend `json:"attachments"`
	BodyMain    *bool        `json:"isBodyMainContent"`
	Body        translated   `json:"bodyContent"`
	Replies     *bool        `json:"isReplyAuthorized"`

	// unknown are its members that have the name of another version.
	unknown []string
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
	refusal := c.maySend
	if p.Original != "" {
		refusal = func() response { return m.mayReply(c, p.Original) }
	}
	if refused := refusal(); refused != nil {
		return refused
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
			p.Recipient = &party{Type: "enterprise", Number: m.box(c.enterprise).lookup(p.Original).OrgID}
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
	case !msg.Replies:
		return c.fail(problem.Forbidden("This message allows no replies."))
	}
	return nil
}

// accept checks the publication as a whole and puts it into the recipient's e-Box.
func (m *messageRegistry) accept(c *call, p *publication, files []received) response {
	recipient, issues := c.check(p, files)
	if len(issues) > 0 {
		return c.fail(problem.BadRequest("The message to publish is not valid.", issues...))
	}
	key, refusal := m.key(c)
	if refusal != nil {
		return refusal
	}
	msg := m.newMessage(recipient, m.nextID(), m.s.now())
	msg.Original, msg.Subject, msg.Attention, msg.Registered = p.Original, p.Subject, p.Attention, p.Registered
	msg.body, msg.BodyMain, msg.Payment, msg.Replies = p.Body, isTrue(p.BodyMain), p.Payment, *p.Replies
	msg.OrgID = c.enterprise.String()
	msg.TypeID, msg.AppID = cmp.Or(p.TypeID, msg.TypeID), cmp.Or(p.AppID, msg.AppID)
	if !p.Expires.IsZero() {
		msg.Expires = p.Expires
	}
	for i, f := range files {
		about := p.Attachments[slices.IndexFunc(p.Attachments, func(t fileToSend) bool { return t.Part == f.name })]
		a := &attachment{
			ID: fmt.Sprint(i + 1), Title: about.Title, FileName: f.fileName, Main: about.Main, Media: f.mediaType,
			Size: float64(f.size) / 1024, Signed: about.Signed, digest: func() string { return f.digest },
		}
		if f.kept != nil {
			a.content = keptDocument(f.kept)
		}
		msg.attachments = append(msg.attachments, a)
	}
	m.box(recipient).put(msg)
	if len(m.keys) >= mostKept {
		clear(m.keys)
	}
	if key != "" {
		m.keys[key] = true
	}
	location := m.api.base()
	if m.old {
		location = m.api.path // an absolute path, which RFC 9110 §10.2.2 allows
	}
	c.w.Header().Set("Location", location+"/ebox/messages/"+msg.ID)
	out := published{msg.ID, msg.Expires.In(m.zone), "PUBLISHED", "The message was published."}
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
		// What follows the last boundary means nothing, but is recorded.
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
	p := publication{unknown: c.namesOfOther(text)}
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

// check compares the description with the files that came with it, with the version of the
// API and with the enterprise that the call is for.
func (c *call) check(p *publication, files []received) (recipient enterprise.Number, issues []problem.Issue) {
	refuseIf := func(wrong bool, kind, name, detail string) {
		if wrong {
			issues = append(issues, problem.Issue{Type: kind, In: "body", Name: name, Detail: detail})
		}
	}
	const invalid, missing = problem.IssueInvalidInput, problem.IssueRequiredInput
	const notKnown = "this version of the API does not know it"
	for _, name := range p.unknown {
		refuseIf(true, invalid, name, notKnown)
	}
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
	refuseIf(p.Replies == nil, missing, "/"+c.memberName("isReplyAuthorized"), "is required")
	main := isTrue(p.BodyMain) && len(p.Body) > 0
	for i, a := range p.Attachments {
		main = main || a.Main
		name := fmt.Sprintf("/attachments/%d", i)
		at := slices.IndexFunc(files, func(f received) bool { return f.name == a.Part })
		if refuseIf(at < 0, invalid, name+"/httpPartName", "there is no such part"); at >= 0 && a.Digest != nil {
			refuseIf(a.Digest.Method != digestMethod || strings.TrimRight(a.Digest.Value, "=") != files[at].digest, invalid,
				name+"/digest", "does not match the bytes received; the base64url of their SHA-256 is expected")
		}
	}
	for i, f := range files {
		refuseIf(!slices.ContainsFunc(p.Attachments, func(a fileToSend) bool { return a.Part == f.name }), invalid, f.name,
			"no attachment names this part")
		refuseIf(slices.ContainsFunc(files[:i], func(g received) bool { return g.name == f.name }), invalid, f.name,
			"the part is there twice")
		refuseIf(f.fileName == "", missing, f.name, "the part needs a file name")
		refuseIf(!slices.Contains(mediaTypes, f.mediaType), invalid, f.name,
			"the content type is none of those that e-Box takes")
	}
	refuseIf(!main, missing, "/attachments", "one attachment or the body must be the main content")
	return recipient, issues
}
