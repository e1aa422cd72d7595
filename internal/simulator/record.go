package simulator

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Recorded is one request as it was received, and what became of it.
type Recorded struct {
	// Seq counts all requests since Start, from 1.
	Seq uint64 `json:"seq"`
	// Time is when its headers had been read.
	Time time.Time `json:"time"`
	// Upstream is one of the Upstream… names, "provider:<id>", or empty if the
	// path belongs to none.
	Upstream string `json:"upstream"`
	// Method, Host and Proto are the request's; Target is the request target as
	// sent, byte for byte; Path is the escaped path below the upstream's base.
	Method string `json:"method"`
	Host   string `json:"host"`
	Proto  string `json:"proto"`
	Target string `json:"target"`
	Path   string `json:"path"`
	// Header is as received, in Go's canonical form, credentials included.
	Header http.Header `json:"header"`
	// BodyBytes and BodySHA256 (hex) are of the body as far as it was read.
	BodyBytes  int64  `json:"bodyBytes"`
	BodySHA256 string `json:"bodySha256,omitempty"`
	// Client and Scopes are those of the token, or of the assertion at the token
	// endpoint; TokenSHA256 (hex) is of the bearer token.
	Client      string   `json:"client,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	TokenSHA256 string   `json:"tokenSha256,omitempty"`
	// Enterprise is the on-behalf-of header as it came, several joined by ", ".
	Enterprise string `json:"enterprise,omitempty"`
	// Fault is the kind of fault that was applied.
	Fault FaultKind `json:"fault,omitempty"`
	// Status is the answer's, 0 while there is none; Done says that the exchange
	// is over.
	Status int  `json:"status"`
	Done   bool `json:"done"`
}

// record has the last requests, and counts all.
type record struct {
	seq    uint64
	list   []*Recorded
	counts map[string]uint64
}

// Requests returns the last 10,000 requests since Start or ResetRequests, oldest
// first, requests still being served among them.
func (s *Simulator) Requests() []Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Recorded
	for _, r := range s.record.list {
		list = append(list, *r)
	}
	return list
}

// RequestsTo returns those of one upstream.
func (s *Simulator) RequestsTo(upstream string) []Recorded {
	return slices.DeleteFunc(s.Requests(), func(r Recorded) bool { return r.Upstream != upstream })
}

// ResetRequests forgets the requests and the counts.
func (s *Simulator) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.list, s.record.counts = nil, nil
}

// RequestCount is the number of requests to an upstream since Start or
// ResetRequests, beyond those that are kept.
func (s *Simulator) RequestCount(upstream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.counts[upstream]
}

// begin enters a request. What is known of its token is entered before any fault,
// so that a request that meets one can be told from the others.
func (c *record) begin(call *call) *Recorded {
	r := call.r
	e := &Recorded{
		Time: call.s.now(), Upstream: call.upstream, Method: r.Method, Host: r.Host, Proto: r.Proto,
		Target: r.RequestURI, Path: call.below, Header: r.Header.Clone(),
		Enterprise: strings.Join(r.Header.Values(onBehalfOf), ", "),
	}
	if raw, ok := bearer(r); ok {
		if t := call.s.tokens[raw]; t != nil {
			e.Client, e.Scopes, e.TokenSHA256 = t.client.ID, t.scopes, t.sum
		}
	}
	if c.counts == nil {
		c.counts = map[string]uint64{}
	}
	c.counts[e.Upstream]++
	c.seq++
	e.Seq = c.seq
	c.list = append(c.list, e)
	c.list = c.list[max(0, len(c.list)-mostKept):]
	return e
}

// end enters how it went. body is nil for a request without one.
func (c *record) end(call *call, body *tap) {
	e := call.entry
	if body != nil {
		e.BodyBytes, e.BodySHA256 = body.n, hex.EncodeToString(body.hash.Sum(nil))
	}
	e.Status, e.Done = call.w.status, true
}
