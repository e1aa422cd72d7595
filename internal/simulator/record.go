package simulator

import (
	"net/http"
	"sync"
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
	// Trailer is what followed the body.
	Trailer http.Header `json:"trailer,omitempty"`
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
	// Opening says that it asked for a document: attachment content or body.
	Opening bool `json:"opening,omitempty"`
	// Fault is the kind of fault that was applied.
	Fault FaultKind `json:"fault,omitempty"`
	// Status is the answer's, 0 while there is none; Done says that the exchange
	// is over.
	Status int  `json:"status"`
	Done   bool `json:"done"`
}

// keptRequests bounds the record.
const keptRequests = 10_000

// record is a ring of the last keptRequests requests.
type record struct {
	mu     sync.Mutex
	seq    uint64
	ring   []*Recorded
	counts map[string]uint64
}

// Requests returns the last 10,000 requests since Start or ResetRequests, oldest
// first, requests still being served among them.
func (s *Simulator) Requests() []Recorded { return s.record.list() }

// RequestsTo returns those of one upstream.
func (s *Simulator) RequestsTo(upstream string) []Recorded {
	all := s.record.list()
	kept := all[:0]
	for _, r := range all {
		if r.Upstream == upstream {
			kept = append(kept, r)
		}
	}
	return kept
}

// ResetRequests forgets the requests and the counts.
func (s *Simulator) ResetRequests() { s.record.reset() }

// RequestCount is the number of requests to an upstream since Start or
// ResetRequests, beyond those that are kept.
func (s *Simulator) RequestCount(upstream string) uint64 { return s.record.count(upstream) }

func (c *record) list() []Recorded {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Recorded, 0, len(c.ring))
	for i := range c.ring {
		// Once the ring is full its oldest entry stands where the next one goes.
		at := i
		if len(c.ring) == keptRequests {
			at = (int(c.seq%keptRequests) + i) % keptRequests
		}
		list = append(list, *c.ring[at])
	}
	return list
}

func (c *record) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring, c.counts = nil, nil
}

func (c *record) count(upstream string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[upstream]
}
