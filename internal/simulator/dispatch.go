package simulator

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// api is one upstream: what stands below one base URL.
type api struct {
	// upstream is its name in faults and in the record.
	upstream string
	// site and path make its base URL.
	site *site
	path string
	// scopes are those that belong to this API; a token with any other is refused.
	scopes []string
	// representing says that the API reads the on-behalf-of header.
	representing bool
	// old is for a Message Registry before version 3: errors are StatusMessages, the form
	// before problem documents, members have their former names, and slashes in JSON are
	// written "\/", as many Java and PHP servers do.
	old bool
	// plainPages writes pages in the form PagePlain.
	plainPages bool
	// guard, if set, may answer in the place of every endpoint.
	guard     func(*call) response
	endpoints []endpoint
}

// endpoint is one operation.
type endpoint struct {
	method string // GET serves HEAD too
	// pattern is the path below the base, "{}" standing for one segment.
	pattern string
	// scopes open it, any one of them; none: no token is asked.
	scopes []string
	handle func(*call) response
}

// response sends an answer. Whoever makes one holds the lock, whoever sends it does not. Of a
// check, nil means that nothing is to be refused.
type response func()

// locked is an endpoint that needs nothing of the request's body.
func locked(handle func(*call) response) func(*call) response {
	return func(c *call) response {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return handle(c)
	}
}

// base is the API's URL, without a slash at the end.
func (a *api) base() string { return a.site.base + a.path }

// call is one request to one endpoint.
type call struct {
	*api
	s *Simulator
	w *answer
	r *http.Request

	entry *Recorded // guarded by the lock
	below string    // escaped path below the base
	args  []string  // what stands for the pattern's "{}", unescaped
	body  []byte    // of a call to grant/citizen, read whole

	token      *issued           // nil where no token is asked
	enterprise enterprise.Number // whose e-Box it is about, on APIs that represent
}

// find gives the API with the longest prefix of path that ends at a segment, or one without
// endpoints.
func (at *site) find(path string) *api {
	for prefix := path; prefix != ""; prefix = prefix[:strings.LastIndexByte(prefix, '/')] {
		if a := at.mounts[prefix]; a != nil {
			return a
		}
	}
	return &api{site: at}
}

// enter has Close wait for a request. It is false if the simulator is closed already.
func (s *Simulator) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.busy.Add(1)
	return true
}

// dispatch takes a request through record, faults and access checks to its endpoint.
func (s *Simulator) dispatch(at *site, w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.busy.Done()
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") { // "*", or an authority
		path = "/"
	}
	if at == s.main && (path == controlPath || strings.HasPrefix(path, controlPath+"/")) {
		s.control(w, r, strings.TrimPrefix(path, controlPath))
		return
	}
	// A copy gets the tap: net/http looks for its own body in the request it gave, and
	// without it would read what a refusal left, asking for it with a 100.
	r = r.WithContext(r.Context())
	c := &call{s: s, r: r, w: &answer{ResponseWriter: w, ctx: s.ctx, request: r.Context()}}
	body := newTap(r)
	h := w.Header()
	// By this clock assertions and tokens are judged.
	h.Set("Date", s.now().UTC().Format(http.TimeFormat))
	h.Set("BelGov-Trace-Id", uuid.NewString())
	if id := r.Header.Get("BelGov-Trace-Id"); id != "" {
		h.Set("BelGov-Related-Trace-Id", id)
	}
	s.mu.Lock()
	c.api = at.find(path)
	c.below = strings.TrimPrefix(path, c.path)
	c.entry = s.record.begin(c)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.record.end(c, body)
		s.mu.Unlock()
	}()
	if s.applyFaults(c) {
		return
	}
	c.serve()()
	if n := r.ContentLength; n > 0 && n <= smallBody {
		c.drain() // what was refused unread is still recorded
	}
}

// smallBody is the announced length up to which a body is read after the answer
// that did not need it, in bytes. The server would read it then anyway.
const smallBody = 64 << 10

func (c *call) serve() response {
	e, allow := c.match()
	switch {
	case e == nil && len(allow) > 0:
		slices.Sort(allow)
		p := problem.MethodNotAllowed(c.r.Method, slices.Compact(allow))
		p.Type = "urn:problem-type:simulator:methodNotAllowed" // not the gateway's word
		return c.fail(p)
	case e == nil:
		return c.fail(problem.NotFound("There is no resource at this path."))
	}
	if refusal := c.admit(e); refusal != nil {
		return refusal
	}
	return e.handle(c)
}

// admit makes the checks that come before an endpoint.
func (c *call) admit(e *endpoint) (refusal response) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if len(e.scopes) > 0 {
		refusal = c.authorize(e.scopes)
	}
	if refusal == nil && c.representing {
		refusal = c.represent()
	}
	if refusal == nil && c.guard != nil {
		refusal = c.guard(c)
	}
	return refusal
}

// match finds the endpoint for the request, or the methods that the path has.
func (c *call) match() (found *endpoint, allow []string) {
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range c.endpoints {
		e := &c.endpoints[i]
		args, ok := matchPath(e.pattern, c.below)
		if !ok {
			continue
		}
		if e.method == method {
			c.args = args
			return e, nil
		}
		if allow = append(allow, e.method); e.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	return nil, allow
}

// matchPath compares segment by segment. Case counts, an empty segment matches
// nothing, and an encoded slash stays within its segment.
func matchPath(pattern, path string) (args []string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	for i, segment := range want {
		if segment != "{}" {
			if segment != got[i] {
				return nil, false
			}
			continue
		}
		arg, err := url.PathUnescape(got[i])
		if err != nil || arg == "" {
			return nil, false
		}
		args = append(args, arg)
	}
	return args, true
}

// answer is the ResponseWriter of a call. It remembers the status and, when a
// fault asks for it, paces or cuts the body.
type answer struct {
	http.ResponseWriter
	ctx, request context.Context // the simulator's, and the request's
	status       int
	shape        *Fault // slowBody, truncate or lost
	sent         int64
}

// Unwrap serves http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answer) WriteHeader(status int) {
	if w.shape != nil && w.shape.Kind == FaultLost {
		panic(http.ErrAbortHandler)
	}
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.shape == nil {
		return w.ResponseWriter.Write(b)
	}
	return w.writeShaped(b)
}

// tap counts and hashes a request body while a handler reads it.
type tap struct {
	io.ReadCloser
	hash hash.Hash
	n    int64
}

func newTap(r *http.Request) *tap {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	t := &tap{ReadCloser: r.Body, hash: sha256.New()}
	r.Body = t
	return t
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.hash.Write(p[:n])
	t.n += int64(n)
	return n, err
}
