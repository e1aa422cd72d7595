package call

import (
	"fmt"
	"net/url"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/links"
)

// Upstream is one base URL and the stack of layers that leads there. It is long-lived and
// safe for concurrent use; make it with NewUpstream.
type Upstream struct {
	// Name is the upstream's name in logs and metrics.
	Name string
	// Base is the base URL, with scheme, host and path and nothing else.
	Base *url.URL
	// Stack sends the request: retries, token, limits, credentials, transport.
	Stack Sender
	// RewriteLinks turns links of the upstream into links of the gateway.
	RewriteLinks bool
	// CallerCredentials lets the caller's own Authorization and Cookie go to this
	// upstream, and its Set-Cookie come back. It is for an upstream that gets no token
	// of the gateway's and knows its callers itself.
	CallerCredentials bool
	// Forms are the forms that links into the upstream may have.
	Forms links.Forms

	basePath string // escaped, without a trailing slash
}

// NewUpstream prepares an upstream. The base must be an absolute http or https URL
// without user information, query or fragment, and without dot segments.
func NewUpstream(name string, base *url.URL, stack Sender, rewriteLinks bool) (*Upstream, error) {
	switch {
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("preparing upstream %s: base URL has scheme %q, give it https", name, base.Scheme)
	case base.Host == "":
		return nil, fmt.Errorf("preparing upstream %s: base URL has no host", name)
	case base.User != nil, base.RawQuery != "", base.ForceQuery, base.Fragment != "":
		return nil, fmt.Errorf("preparing upstream %s: base URL has user information, a query or a fragment, remove it", name)
	}
	path := strings.TrimRight(base.EscapedPath(), "/")
	if err := CheckPath(path); err != nil {
		return nil, fmt.Errorf("preparing upstream %s: base URL has a path that cannot be joined to: %w", name, err)
	}
	return &Upstream{
		Name: name, Base: base, Stack: stack, RewriteLinks: rewriteLinks,
		basePath: path, Forms: links.NewForms(base, path),
	}, nil
}

// URL is where the call goes. Its EscapedPath is the escaped base path, without a trailing
// slash, followed by the target, byte for byte, so it cannot leave the base. It fails with a
// *problem.Problem (400) for a target that would become a host ("//host/…"), below a base
// without a path.
func (c *Call) URL() (*url.URL, error) {
	if c.To.basePath == "" && strings.HasPrefix(c.Target, "//") {
		return nil, badPath("It begins with two slashes.")
	}
	raw := c.To.basePath + c.Target
	path, err := url.PathUnescape(raw)
	if err != nil { // CheckPath lets no such target pass
		return nil, badPath("It cannot be decoded.")
	}
	return &url.URL{Scheme: c.To.Base.Scheme, Host: c.To.Base.Host, Path: path, RawPath: raw, RawQuery: c.Query,
		ForceQuery: c.BareQuery}, nil
}

// Locate gives the target with its query, as TargetAndQuery does, of a URL reference that
// the answer to this call holds; false if it leads elsewhere.
func (c *Call) Locate(reference string) (target string, ok bool) {
	ref, err := url.Parse(reference)
	if err != nil {
		return "", false
	}
	from, err := c.URL()
	if err != nil {
		return "", false
	}
	path, query, ok := c.To.Forms.Under(from.ResolveReference(ref))
	if query != "" {
		path += "?" + query
	}
	return path, ok
}

// Keep is how answers to a call are kept: in whose partition, and by which policy.
type Keep struct {
	// Partition is whose answers these are. Policy is how they are kept; nil if they are
	// not, and the cache is only told of what the call changes.
	Partition Partition
	Policy    *Policy
	// Told says that the cache is told what the call changes, Reads that the route keeps
	// answers to reads, Shares that it shares those of some target or other.
	Told, Reads, Shares bool
}

// Partition is whose answers these are. Two requests get each other's answers only if
// all of it is the same.
type Partition struct {
	// Route is the route's name, since routes may keep answers by different rules.
	Route string
	// Upstream is the upstream's base URL.
	Upstream string
	// Client is the OAuth client, Scopes what its token opens; both empty where no
	// token is sent.
	Client, Scopes string
	// Enterprise is the represented enterprise, 0 for none; Own says that the client
	// acts as itself.
	Enterprise enterprise.Number
	Own        bool

	shared bool
}

// SharedByAll gives the partition in which the enterprises of a route share answers.
// It is the only way to a partition without an enterprise of its own, for what a route
// may share: answers that the upstream marks public, or all if the operator says so.
func (p Partition) SharedByAll() Partition {
	p.Enterprise, p.Own, p.shared = 0, false, true
	return p
}

// Shared reports whether the partition belongs to no enterprise.
func (p *Partition) Shared() bool { return p.shared }

// Policy is what a route says about answers, beside what they say of themselves.
type Policy struct {
	config.CachePolicy
	// Heuristics and MaxBody are the route's, whatever the path.
	Heuristics bool
	MaxBody    config.Size
	// Cookies says that the upstream's cookies reach the callers, and so are kept.
	Cookies bool
}
