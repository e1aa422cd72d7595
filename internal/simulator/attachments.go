package simulator

import (
	"fmt"
	"mime"
	"net/http"

	"ebox-gateway/internal/problem"
)

// attachmentView is the metadata of an attachment as the API shows it.
type attachmentView struct {
	ID       string     `json:"attachmentId"`
	Title    translated `json:"attachmentTitle,omitempty"`
	FileName string     `json:"fileName"`
	Main     bool       `json:"isMainContent"`
	Media    string     `json:"mediaType"`
	Size     float64    `json:"size"` // kB
	Digest   *digest    `json:"digest,omitempty"`
	Signed   bool       `json:"isAttachmentSigned"`
	Content  string     `json:"contentHref"`
}

// digest is a hash in base64url, as RFC 4648 §5 has it.
type digest struct {
	Value  string `json:"digestValue"`
	Method string `json:"digestMethod"`
	// of gives the value of one that is written: of a large document it takes a while, and
	// so waits until the lock is given back.
	of func() string
}

const digestMethod = "sha_256"

// MarshalJSON implements json.Marshaler.
func (d *digest) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"digestValue":%q,"digestMethod":%q}`, d.of(), digestMethod), nil
}

func (m *messageRegistry) attachmentViews(msg *message, whole bool) any {
	views := make([]attachmentView, len(msg.attachments))
	for i, a := range msg.attachments {
		views[i] = m.attachmentView(msg, a, whole)
	}
	return wholeList(m.api.plainPages, views)
}

func (m *messageRegistry) attachmentView(msg *message, a *attachment, whole bool) attachmentView {
	v := attachmentView{
		ID: a.id, Title: a.title, FileName: a.fileName, Media: a.mediaType, Size: float64(a.size) / 1024,
		Main: a.main, Signed: a.signed,
		Content: m.api.base() + "/ebox/messages/" + msg.id + "/attachments/" + a.id + "/content",
	}
	if whole {
		v.Digest = &digest{of: a.digest}
	}
	return v
}

// attachmentList serves GET /ebox/messages/{id}/attachments.
func (m *messageRegistry) attachmentList(c *call, msg *message) response {
	return c.send(http.StatusOK, m.attachmentViews(msg, true))
}

// ofAttachment serves the attachment of the path, or answers 404.
func (m *messageRegistry) ofAttachment(handle func(*call, *message, *attachment) response) func(*call) response {
	return m.of(func(c *call, msg *message) response {
		for _, a := range msg.attachments {
			if a.id == c.args[1] {
				return handle(c, msg, a)
			}
		}
		return c.fail(problem.NotFound("This message has no attachment of this id."))
	})
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
	msg.read = msg.read || a.main
	h := c.w.Header()
	h.Set("Content-Type", a.mediaType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.fileName}))
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", a.content.tag)
	return func() { http.ServeContent(c.w, c.r, "", msg.received, a.content.open()) }
}
