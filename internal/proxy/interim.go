package proxy

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// interim hands the upstream's interim answers (1xx) on while the final one is awaited,
// as RFC 9110, section 15.2, demands of a proxy. 103 (Early Hints) names what a page will
// need, 102 says that a long call is alive. A 100 is another matter: it is the caller's
// only if the caller waits for one, and then it leaves when its body is read.
type interim struct {
	w http.ResponseWriter
	c *Call
	// source is the body of a caller that waits for a 100, nil if there is none.
	source *source
	// mu keeps the transport's goroutine from writing once the final answer is there:
	// over says so.
	mu   sync.Mutex
	over bool
	// passed counts what was handed on.
	passed int
	// http10 tells a caller that does not know of interim answers.
	http10 bool
	// hooks are what the transport calls.
	hooks httptrace.ClientTrace
}

// maxInterim is how many interim answers of one call are handed on. The transport takes
// as many as come, and a caller has to read them all: many clients give up on a flood.
const maxInterim = 100

// trace gives the context under which the call is sent.
func (i *interim) trace(ctx context.Context) context.Context {
	i.hooks.Got1xxResponse = i.got
	return httptrace.WithClientTrace(ctx, &i.hooks)
}

// got takes one interim answer. The transport calls it before RoundTrip returns, or
// after that if the call was given up.
func (i *interim) got(status int, header textproto.MIMEHeader) error {
	if i.source != nil {
		i.source.goOn(status == http.StatusContinue)
	}
	if status == http.StatusContinue || status == http.StatusSwitchingProtocols || i.http10 {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over || i.passed == maxInterim {
		return nil
	}
	i.passed++
	if i.source != nil {
		i.source.beside(func() { i.pass(status, header) })
		return nil
	}
	i.pass(status, header)
	return nil
}

// pass writes an interim answer. The fields of the final one wait in the same map.
func (i *interim) pass(status int, header textproto.MIMEHeader) {
	h := i.w.Header()
	final := maps.Clone(h)
	clear(h)
	for name, values := range header {
		if !dropsFromAnswer(name) {
			h[name] = values
		}
	}
	dropListed(h, http.Header(header))
	if v, ok := h["Link"]; ok && i.c.Upstream.RewriteLinks {
		m := linkMap{forms: &i.c.Upstream.links, base: i.c.Links}
		h["Link"] = m.linkHeader(v)
	}
	i.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, final)
}

// end has nothing more pass: the final answer is there, or none will be.
func (i *interim) end() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
}
