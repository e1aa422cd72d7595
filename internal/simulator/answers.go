package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"ebox-gateway/internal/problem"
)

// send answers with v as JSON, compressed if it is long and the client takes that, so that
// one which rewrites it has to ask for it plain. A GET that is answered 200 gets an entity
// tag and, if the client has that very answer already, 304. What v refers to must not change
// any more.
func (c *call) send(status int, v any) response {
	return func() {
		body, err := encodeJSON(v)
		if err != nil {
			c.fail(problem.Internal(err))()
			return
		}
		if c.old {
			// In JSON a slash can only stand in a string, so each may be escaped.
			body = bytes.ReplaceAll(inOtherVersion(body), []byte("/"), []byte(`\/`))
		}
		if status == http.StatusOK && isRead(c.r.Method) && len(body) > codedFrom {
			c.w.Header().Set("Vary", "Accept-Encoding")
			if wantsGzip(c.r) {
				c.w.Header().Set("Content-Encoding", "gzip")
				body = compress(body)
			}
		}
		c.sendBytes(status, "application/json", body)()
	}
}

// status answers without a body.
func (c *call) status(status int) response { return func() { c.w.WriteHeader(status) } }

// codedFrom is the length from which JSON is compressed for those who take it, in bytes.
const codedFrom = 1024

func wantsGzip(r *http.Request) bool {
	for _, field := range r.Header.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(field, ",") {
			coding, q, _ := strings.Cut(strings.ReplaceAll(one, " ", ""), ";")
			if strings.EqualFold(coding, "gzip") && strings.TrimRight(q, "0.") != "q=" {
				return true
			}
		}
	}
	return false
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body) // memory does not fail
	_ = z.Close()
	return b.Bytes()
}

func (c *call) sendBytes(status int, contentType string, body []byte) response {
	h := c.w.Header()
	return func() {
		h.Set("Content-Type", contentType)
		if status == http.StatusOK && isRead(c.r.Method) {
			sum := sha256.Sum256(body)
			tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
			h.Set("ETag", tag)
			if h.Get("Cache-Control") == "" {
				h.Set("Cache-Control", "no-cache")
			}
			if tagMatches(c.r.Header.Values("If-None-Match"), tag) {
				h.Del("Content-Type")
				c.w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		c.w.WriteHeader(status)
		if c.r.Method != http.MethodHead {
			_, _ = c.w.Write(body) // a client that went away is no error of ours
		}
	}
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// tagMatches compares weakly, as RFC 9110 §13.1.2 has it.
func tagMatches(fields []string, tag string) bool {
	for _, field := range fields {
		for one := range strings.SplitSeq(field, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
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
func (c *call) fail(p *problem.Problem) response {
	h := c.w.Header()
	for name, values := range p.Header {
		h[name] = values
	}
	h.Set("Cache-Control", "no-store")
	if !c.old {
		return c.sendBytes(p.Status, problem.ContentType, p.Append(nil, uuid.NewString()))
	}
	message := p.Detail
	for _, issue := range p.Issues {
		message += " [" + issue.In + " " + issue.Name + ": " + issue.Detail + "]"
	}
	return c.send(p.Status, statusMessage{
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
