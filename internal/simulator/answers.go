package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ebox-gateway/internal/problem"
)

// content is an answer that is no JSON.
type content struct {
	mediaType string
	bytes     []byte
}

// sender is an answer, or an error, that has a way of its own to be sent.
type sender interface{ send(*call) }

// answer sends what a handler gave: nothing, an answer that knows how, or else JSON; or the
// error, which is a sender or a problem.
func (c *call) answer(v any, err error) {
	var own sender
	switch {
	case errors.As(err, &own):
		own.send(c)
	case err != nil:
		c.fail(problem.From(err))
	case v == nil:
		c.w.WriteHeader(c.status)
	default:
		if own, ok := v.(sender); ok {
			own.send(c)
			return
		}
		c.sendJSON(c.status, v)
	}
}

func (b content) send(c *call) { c.send(c.status, b.mediaType, b.bytes) }

// sendJSON compresses what is long if the client takes that, so that one which rewrites it has
// to ask for it plain.
func (c *call) sendJSON(status int, v any) {
	body := encodeJSON(v)
	if c.old {
		// In JSON a slash can only stand in a string, so each may be escaped.
		body = bytes.ReplaceAll(inOtherVersion(body), []byte("/"), []byte(`\/`))
	}
	if status == http.StatusOK && isRead(c.r.Method) && len(body) > codedFrom {
		c.w.Header().Set("Vary", "Accept-Encoding")
		if takesGzip(c.r) {
			c.w.Header().Set("Content-Encoding", "gzip")
			var coded bytes.Buffer
			z := gzip.NewWriter(&coded)
			_, _ = z.Write(body) // memory does not fail
			_ = z.Close()
			body = coded.Bytes()
		}
	}
	c.send(status, plainJSON, body)
}

// codedFrom is the length from which JSON is compressed for those who take it, in bytes.
const codedFrom = 1024

// takesGzip is true for those who name gzip without a weight.
func takesGzip(r *http.Request) bool {
	codings := strings.Split(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",")
	return slices.ContainsFunc(codings, func(coding string) bool { return strings.TrimSpace(coding) == "gzip" })
}

// send gives a read that is answered 200 an entity tag and, if the client has that very
// answer already, 304.
func (c *call) send(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	if status == http.StatusOK && isRead(c.r.Method) {
		sum := sha256.Sum256(body)
		h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
		if h.Get("Cache-Control") == "" {
			h.Set("Cache-Control", "no-cache")
		}
		http.ServeContent(c.w, c.r, "", time.Time{}, bytes.NewReader(body))
		return
	}
	c.write(status, body)
}

func (c *call) write(status int, body []byte) {
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // a client that went away is no error of ours
	}
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // not of what the simulator answers
	}
	return b.Bytes()
}

// statusMessage is the error form of registries before version 3.
type statusMessage struct {
	ID          string `json:"id"`
	Code        string `json:"code"`
	Message     string `json:"message"`
	Contact     string `json:"contact"`
	Environment string `json:"environment"`
}

// fail answers with a problem document, or with a StatusMessage where the API is
// that old.
func (c *call) fail(p *problem.Problem) {
	h := c.w.Header()
	for name, values := range p.Header {
		h[name] = values
	}
	h.Set("Cache-Control", "no-store")
	if !c.old {
		c.send(p.Status, problem.ContentType, p.Append(nil, uuid.NewString()))
		return
	}
	message := p.Detail
	for _, issue := range p.Issues {
		message += " [" + issue.In + " " + issue.Name + ": " + issue.Detail + "]"
	}
	c.sendJSON(p.Status, statusMessage{
		ID: uuid.NewString(), Code: p.Type[strings.LastIndexByte(p.Type, ':')+1:], Message: message,
		Contact: "helpdesk@" + strings.TrimPrefix(c.upstream, "provider:") + ".example", Environment: "simulation",
	})
}

// refuse is a problem of the types that the platform has and the gateway never makes.
func refuse(status int, name, title, detail string) *problem.Problem {
	return &problem.Problem{
		Type: "urn:problem-type:belgif:" + name,
		Href: "https://www.belgif.be/specification/rest/api-guide/problems/" + name + ".html", Title: title,
		Status: status, Detail: detail,
	}
}
