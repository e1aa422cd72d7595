package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of RFC 9457.
const ContentType = "application/problem+json"

// Pseudonym is the name of the gateway in Via, Proxy-Status and Cache-Status.
const Pseudonym = "ebox-gateway"

// Write sends the problem as the answer to r. requestID is the UUID that the
// request has in the logs; tries is how often an upstream was tried for it. A
// HEAD request gets the headers without the body. A refusal of a request whose
// body nobody has read closes the connection, so that the rest of the body
// cannot be taken for the next request.
func Write(w http.ResponseWriter, r *http.Request, p *Problem, requestID string, tries int) {
	h := w.Header()
	for name, values := range p.Header {
		h[name] = values
	}
	body := p.Append(make([]byte, 0, 512), requestID)
	h["Content-Type"] = []string{ContentType}
	h["Content-Length"] = []string{itoa(int64(len(body)))}
	h["Cache-Control"] = []string{"no-store"}
	h["Proxy-Status"] = []string{ProxyStatus(p.ProxyError, 0, tries)}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		h["Connection"] = []string{"close"}
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a caller that went away is no error of ours
	}
}

// ProxyStatus writes a member of the Proxy-Status field of RFC 9209. With
// errorType the gateway is the author of the answer; with received, a status, an
// upstream is. tries is left out when nothing was sent.
func ProxyStatus(errorType string, received, tries int) string {
	s := Pseudonym
	if errorType != "" {
		s += "; error=" + errorType
	}
	if received != 0 {
		s += "; received-status=" + itoa(int64(received))
	}
	if tries != 0 {
		s += "; tries=" + itoa(int64(tries))
	}
	return s
}

// Append writes the problem as JSON, with urn:uuid:<requestID> as its instance.
func (p *Problem) Append(b []byte, requestID string) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, p.Type)
	if p.Href != "" {
		b = append(b, `,"href":`...)
		b = appendString(b, p.Href)
	}
	b = append(b, `,"title":`...)
	b = appendString(b, p.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b = append(b, `,"detail":`...)
	b = appendString(b, p.Detail)
	if requestID != "" {
		b = append(b, `,"instance":`...)
		b = appendString(b, "urn:uuid:"+requestID)
	}
	for _, m := range p.Members {
		b = append(b, ',')
		b = appendString(b, m.Name)
		b = append(b, ':')
		b = appendValue(b, m.Value)
	}
	if len(p.Issues) > 0 {
		b = append(b, `,"issues":[`...)
		for i, issue := range p.Issues {
			if i > 0 {
				b = append(b, ',')
			}
			b = issue.append(b)
		}
		b = append(b, ']')
	}
	return append(b, '}', '\n')
}

func (i Issue) append(b []byte) []byte {
	kind := i.Type
	if kind == "" {
		kind = IssueInvalidInput
	}
	b = append(b, `{"type":`...)
	b = appendString(b, issueType+kind)
	b = append(b, `,"href":`...)
	b = appendString(b, issuePage+kind+".html")
	for _, m := range [...]struct{ name, value string }{
		{"in", i.In}, {"name", i.Name}, {"value", i.Value}, {"detail", i.Detail},
	} {
		if m.value == "" {
			continue
		}
		b = append(b, `,"`...)
		b = append(b, m.name...)
		b = append(b, `":`...)
		b = appendString(b, m.value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte {
	if t, ok := v.(time.Time); ok {
		v = t.UTC().Format(time.RFC3339)
	}
	text, err := json.Marshal(v)
	if err != nil { // Member allows no value that fails
		return append(b, "null"...)
	}
	return append(b, text...)
}

func appendString(b []byte, s string) []byte { return appendValue(b, s) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
