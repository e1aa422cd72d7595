package proxy

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Answer gives the caller an answer of the upstream that was kept, by the same rules as
// one that has just come: links lead where this caller can follow them. extra goes on
// top of its header. resp.Body is not read, and neither resp.Header nor body is changed.
// It panics as Serve does when the caller is gone.
func (p *Proxy) Answer(w http.ResponseWriter, r *http.Request, c *Call, resp *http.Response, body []byte, extra []Field) {
	rec := exchange.From(r.Context())
	rec.Upstream, rec.UpstreamHost, rec.Opening = c.Upstream.Name, c.Upstream.Base.Host, c.Opening
	start := p.o.Now()
	d := delivery{p: p, w: w, r: r, c: c, resp: resp, rec: rec, extra: extra}
	d.links = linkMap{forms: &c.Upstream.links, base: c.Links}
	d.rewritten = rewritesBody(resp, c)
	if hasBody(r.Method, resp.StatusCode) {
		d.whole(body)
	} else {
		d.header(-1)
	}
	rec.Phases.Body = p.o.Now().Sub(start)
}

// Send sends a call without a body beside the exchange that r belongs to, or after it,
// and answers nobody. ctx carries what the stack looks for; prepare is as in Call.
func (p *Proxy) Send(ctx context.Context, r *http.Request, c *Call, prepare func(http.Header)) (*http.Response, error) {
	target := join(c.Upstream.Base, c.Upstream.basePath, c.Path)
	if target == nil {
		return nil, errDoubleSlash
	}
	target.RawQuery, target.ForceQuery = c.RawQuery, c.ForceQuery
	beside := *c
	beside.Prepare = prepare
	out := p.outgoing(ctx, r, &beside, target)
	out.Method, out.ContentLength = http.MethodGet, 0
	resp, err := c.Upstream.Stack.RoundTrip(out)
	if err == nil && resp.StatusCode < http.StatusOK {
		resp.Body.Close()
		err = errAnswerUnusable
	}
	return resp, err
}

// Refuse answers with a problem of the gateway's own.
func (p *Proxy) Refuse(w http.ResponseWriter, r *http.Request, what *problem.Problem) {
	p.refuse(w, r, what)
}

// RequestField gives a field of the request, named in canonical form, as the upstream
// gets it.
func (c *Call) RequestField(r *http.Request, name string) []string {
	for i := range c.Set {
		if c.Set[i].Name == name {
			return c.Set[i].Values
		}
	}
	if c.Upstream.RewriteLinks && !c.Document {
		switch name {
		case "Accept-Encoding":
			return identityToken
		case "Range", "If-Range":
			return nil
		}
	}
	values, ok := r.Header[name]
	if !ok || c.Upstream.dropsFromRequest(name) || connectionNames(r.Header, name) {
		return nil
	}
	return values
}

func connectionNames(h http.Header, name string) bool {
	for _, list := range h["Connection"] {
		for list != "" {
			var item string
			item, list, _ = strings.Cut(list, ",")
			if strings.EqualFold(strings.Trim(item, " \t"), name) {
				return true
			}
		}
	}
	return false
}

// Locate gives the path and query, below the upstream's base, of a reference that the
// answer to this call holds; false if it leads elsewhere.
func (c *Call) Locate(reference string) (path, query string, ok bool) {
	ref, err := url.Parse(reference)
	if err != nil {
		return "", "", false
	}
	from := join(c.Upstream.Base, c.Upstream.basePath, c.Path)
	if from == nil {
		return "", "", false
	}
	to := from.ResolveReference(ref)
	forms := &c.Upstream.links
	host, port := splitPort(strings.ToLower(to.Host))
	if port == defaultPort(to.Scheme == "https") {
		port = ""
	}
	path, under := strings.CutPrefix(to.EscapedPath(), c.Upstream.basePath)
	if host != forms.host || port != forms.port || (to.Scheme == "https") != forms.https || !under || path != "" && path[0] != '/' {
		return "", "", false
	}
	return path, to.RawQuery, true
}
