package problem

import (
	"cmp"
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
	document := struct {
		Type     string `json:"type"`
		Href     string `json:"href,omitempty"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Instance string `json:"instance,omitempty"`
	}{Type: p.Type, Href: p.Href, Title: p.Title, Status: p.Status, Detail: p.Detail}
	if requestID != "" {
		document.Instance = "urn:uuid:" + requestID
	}
	b = appendJSON(b, document)
	b = b[:len(b)-1] // its closing brace follows behind the other members
	for _, m := range p.Members {
		b = append(appendJSON(append(b, ','), m.Name), ':')
		if t, ok := m.Value.(time.Time); ok {
			m.Value = t.UTC().Format(time.RFC3339)
		}
		b = appendJSON(b, m.Value)
	}
	if len(p.Issues) > 0 {
		b = appendJSON(append(b, `,"issues":`...), p.Issues)
	}
	return append(b, '}', '\n')
}

// MarshalJSON implements json.Marshaler.
func (i Issue) MarshalJSON() ([]byte, error) {
	kind := cmp.Or(i.Type, IssueInvalidInput)
	return json.Marshal(struct {
		Type   string `json:"type"`
		Href   string `json:"href"`
		In     string `json:"in,omitempty"`
		Name   string `json:"name,omitempty"`
		Value  string `json:"value,omitempty"`
		Detail string `json:"detail,omitempty"`
	}{issueType + kind, issuePage + kind + ".html", i.In, i.Name, i.Value, i.Detail})
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // Member allows no value that fails
		return append(b, "null"...)
	}
	return append(b, text...)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
