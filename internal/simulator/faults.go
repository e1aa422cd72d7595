package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Names of the upstreams, in faults and in the record of requests. A provider's
// is ProviderUpstream(id).
const (
	UpstreamToken      = "token"
	UpstreamRegistry   = "registry"
	UpstreamPartition  = "partition"
	UpstreamFederation = "federation"
	UpstreamGrant      = "grant"
)

var upstreams = []string{UpstreamToken, UpstreamRegistry, UpstreamPartition, UpstreamFederation, UpstreamGrant}

// ProviderUpstream is the upstream name of one provider's Message Registry.
func ProviderUpstream(id string) string { return "provider:" + id }

// FaultKind is a way for an upstream to fail.
type FaultKind string

// The kinds of faults.
const (
	// FaultLatency waits Delay, then answers as usual (or meets the next fault).
	FaultLatency FaultKind = "latency"
	// FaultStatus answers Status with Body, ContentType and Header.
	FaultStatus FaultKind = "status"
	// FaultReset sends a TCP reset instead of an answer.
	FaultReset FaultKind = "reset"
	// FaultClose reads the request and closes without an answer.
	FaultClose FaultKind = "close"
	// FaultLost does what was asked and closes without an answer.
	FaultLost FaultKind = "lost"
	// FaultFreeze accepts the request and never answers, until the client goes
	// or the simulator is closed.
	FaultFreeze FaultKind = "freeze"
	// FaultSlowBody sends the body in pieces of Bytes (default 1024), each after Delay.
	FaultSlowBody FaultKind = "slowBody"
	// FaultTruncate cuts the connection after Bytes bytes of the body. A shorter
	// body arrives whole.
	FaultTruncate FaultKind = "truncate"
	// FaultSurplus answers 200 with a body, to a HEAD too, and once more after Delay: what
	// comes behind the answer belongs to nobody.
	FaultSurplus FaultKind = "surplus"
	// FaultMalformed sends bytes that are no HTTP.
	FaultMalformed FaultKind = "malformed"
	// FaultMalformedJSON answers 200 with JSON that breaks off.
	FaultMalformedJSON FaultKind = "malformedJSON"
	// FaultUnauthorized refuses the token: 401 in the form of the upstream; at the
	// token endpoint, invalid_client.
	FaultUnauthorized FaultKind = "unauthorized"
	// FaultRedirect answers Status (default 307) with the Location in Header,
	// or to a host that does not exist.
	FaultRedirect FaultKind = "redirect"
)

var faultKinds = []FaultKind{
	FaultLatency, FaultStatus, FaultReset, FaultClose, FaultFreeze, FaultSlowBody,
	FaultTruncate, FaultLost, FaultSurplus, FaultMalformed, FaultMalformedJSON, FaultUnauthorized, FaultRedirect,
}

// Fault is something that goes wrong, and for which requests. Faults are tried in
// the order in which they were laid; the first that matches applies, a latency
// besides the next one.
type Fault struct {
	// ID is set by the simulator, for taking one fault away again.
	ID int `json:"id,omitempty"`
	// Upstream is one of the Upstream… names or "provider:<id>"; empty or "*": all.
	Upstream string `json:"upstream,omitempty"`
	// Method is the request's; empty: all.
	Method string `json:"method,omitempty"`
	// Path is a prefix of the escaped path below the upstream's base: "/ebox/messages".
	Path string `json:"path,omitempty"`
	// Count is how many requests it applies to; 0: all until it is taken away.
	Count int `json:"count,omitempty"`
	// Kind is what happens.
	Kind FaultKind `json:"kind"`
	// Delay belongs to latency, slowBody and surplus. In JSON it is a text: "250ms".
	Delay time.Duration `json:"-"`
	// Status, Body, ContentType and Header belong to status and redirect. Without a
	// body the upstream's own form of an error is sent.
	Status      int         `json:"status,omitempty"`
	Body        string      `json:"body,omitempty"`
	ContentType string      `json:"contentType,omitempty"`
	Header      http.Header `json:"header,omitempty"`
	// RetryAfter is sent as the header Retry-After, seconds or a date.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Bytes belongs to truncate and slowBody.
	Bytes int64 `json:"bytes,omitempty"`
	// Hits counts the requests it was applied to; set by the simulator.
	Hits int `json:"hits"`
}

// Fault lays a fault and returns its id. A kind or upstream that does not exist is an error,
// since it would never show.
func (s *Simulator) Fault(f Fault) (int, error) {
	if !slices.Contains(faultKinds, f.Kind) {
		return 0, fmt.Errorf("laying a fault: there is no kind %q, use one of %v", f.Kind, faultKinds)
	}
	known := slices.Contains(upstreams, f.Upstream) || strings.HasPrefix(f.Upstream, ProviderUpstream(""))
	if !known && f.Upstream != "" && f.Upstream != "*" { // of all
		return 0, fmt.Errorf("laying a fault: there is no upstream %q, use one of %v or provider:ID", f.Upstream, upstreams)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextFault++
	f.ID, f.Hits = s.nextFault, 0
	f.Header = f.Header.Clone()
	s.faults = append(s.faults, &f)
	return f.ID, nil
}

// ClearFaults takes all faults away. Requests that are frozen stay so.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// RemoveFault takes one fault away and tells whether it was there.
func (s *Simulator) RemoveFault(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return f.ID == id })
	return len(s.faults) < n
}

// Faults lists the faults in force, those used up among them.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		list[i] = *f
	}
	return list
}

// takeFaults finds the faults for a request and counts and records them as applied: at most
// one latency and one other.
func (c *call) takeFaults() (latency, other *Fault) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, f := range c.s.faults {
		if f.Kind == FaultLatency && latency != nil || !f.matches(c.upstream, c.r.Method, c.below) {
			continue
		}
		f.Hits++
		c.entry.Fault = f.Kind
		copied := *f
		if f.Kind == FaultLatency {
			latency = &copied
			continue
		}
		return latency, &copied
	}
	return latency, nil
}

func (f *Fault) matches(upstream, method, path string) bool {
	return (f.Upstream == "" || f.Upstream == "*" || f.Upstream == upstream) &&
		(f.Method == "" || f.Method == method) &&
		strings.HasPrefix(path, f.Path) &&
		(f.Count == 0 || f.Hits < f.Count)
}
