package simulator

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"mime"
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
	// scopes are those that open any of the endpoints; a token with another one is refused.
	scopes []string
	// representing says that the API reads the on-behalf-of header.
	representing bool
	// old is for a Message Registry before version 3: errors are StatusMessages, the form
	// before problem documents, members have their former names, and slashes in JSON are
	// written "\/", as many Java and PHP servers do.
	old bool
	// plainPages writes pages in the form PagePlain.
	plainPages bool
	// guard, if set, may refuse in the place of every endpoint.
	guard     func(*call) error
	endpoints []endpoint
}

// endpoint is one operation.
type endpoint struct {
	method string // GET serves HEAD too
	// pattern is the path below the base, "{}" standing for one segment.
	pattern string
	// scopes open it, any one of them; none: no token is asked.
	scopes []string
	handle handler
}

// handler serves a call that was admitted and whose body was read. It holds the lock; what it
// gives is sent without the lock, so nothing in it may change any more: see call.answer.
type handler func(*call) (any, error)

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

	token      *issued           // nil where no token is asked
	enterprise enterprise.Number // whose e-Box it is about, on APIs that represent

	mediaType string       // of the body
	body      []byte       // the body, unless it is multipart
	published *publication // what a multipart body holds
	status    int          // of the answer, 200 if the handler does not say otherwise
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
	c := &call{s: s, r: r, w: &answer{ResponseWriter: w, request: r.Context()}, status: http.StatusOK}
	var body *tap
	if r.Body != http.NoBody {
		body = &tap{ReadCloser: r.Body, hash: sha256.New()}
		r.Body = body
	}
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
	c.answer(c.serve())
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

// mount puts an API below a path.
func (at *site) mount(prefix string, a *api) {
	for _, e := range a.endpoints {
		a.scopes = append(a.scopes, e.scopes...)
	}
	at.mounts[prefix] = a
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

func (c *call) serve() (any, error) {
	e, err := c.match()
	if err == nil {
		err = c.admit(e)
	}
	if err == nil {
		err = c.readBody()
	}
	if err != nil {
		return nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return e.handle(c)
}

// match finds the endpoint for the request.
func (c *call) match() (*endpoint, error) {
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allow []string
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
	if len(allow) == 0 {
		return nil, problem.NotFound("There is no resource at this path.")
	}
	slices.Sort(allow)
	p := problem.MethodNotAllowed(c.r.Method, slices.Compact(allow))
	p.Type = "urn:problem-type:simulator:methodNotAllowed" // not the gateway's word
	return nil, p
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

// admit makes the checks that come before the body is read.
func (c *call) admit(e *endpoint) (err error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if len(e.scopes) > 0 {
		err = c.authorize(e.scopes)
	}
	if err == nil && c.representing {
		err = c.represent()
	}
	if err == nil && c.guard != nil {
		err = c.guard(c)
	}
	return err
}

// onBehalfOf names the represented enterprise on the e-Box APIs.
const onBehalfOf = "On-Behalf-Of-Enterprise-Number"

// authorize checks the bearer token (RFC 6750): known, not expired, with one of
// the scopes that open the endpoint, and with none of another API.
func (c *call) authorize(scopes []string) error {
	raw, ok := bearer(c.r)
	if !ok {
		return unauthorized("", "noAccessToken", "No Access Token",
			"Send one access token in the header Authorization, as a Bearer.")
	}
	t := c.s.tokens[raw]
	switch {
	case t == nil:
		return unauthorized("invalid_token", "invalidAccessToken", "Invalid Access Token",
			"The access token is not known here. Get a new one.")
	case !c.s.now().Before(t.expires):
		return unauthorized("invalid_token", "expiredAccessToken", "Expired Access Token",
			"The access token has expired. Get a new one.")
	}
	c.token = t
	if !t.hasOneOf(scopes) {
		return missingScope(scopes, "The access token has no scope for this operation. Ask the Authorization Server for "+
			"one of: "+strings.Join(scopes, " ")+".")
	}
	for _, s := range t.scopes {
		if !slices.Contains(c.api.scopes, s) {
			return missingScope(scopes, "The access token carries a scope that is not meant for this API: "+s+
				". Ask for the scopes of this API alone.")
		}
	}
	return nil
}

// bearer gives the token of the one Authorization header.
func bearer(r *http.Request) (string, bool) {
	fields := r.Header.Values("Authorization")
	if len(fields) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(fields[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsAny(token, " ,")
}

func unauthorized(code, name, title, detail string) error {
	p := refuse(http.StatusUnauthorized, name, title, detail)
	challenge := `Bearer realm="simulator"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	p.Header = http.Header{"Www-Authenticate": {challenge}}
	return p
}

func missingScope(scopes []string, detail string) error {
	p := refuse(http.StatusForbidden, "missingScope", "Missing Scope", detail).With("requiredScopes", scopes)
	p.Header = http.Header{"Www-Authenticate": {`Bearer realm="simulator", error="insufficient_scope", scope="` +
		strings.Join(scopes, " ") + `"`}}
	return p
}

// represent finds whose e-Box the call is about: the enterprise of the header, in
// exactly ten digits and with a mandate, or the client's own without it.
func (c *call) represent() error {
	fields := c.r.Header.Values(onBehalfOf)
	if len(fields) == 0 {
		if c.enterprise = c.token.client.Enterprise; c.enterprise == 0 {
			return problem.Forbidden("The client has no e-Box of its own: no enterprise number is registered for it.")
		}
		return nil
	}
	n, err := readNumber("header", onBehalfOf, strings.Join(fields, ", "))
	if err != nil {
		return err
	}
	return c.representFor(n)
}

// representFor has the call be for an enterprise, if it is the client's own or has given
// it a mandate.
func (c *call) representFor(n enterprise.Number) error {
	if own := c.token.client.Enterprise; n != own {
		if why := c.s.refusal(n, own, mandateEbox); why != "" {
			return problem.Forbidden(why)
		}
	}
	c.enterprise = n
	return nil
}

// readNumber reads a number in exactly ten digits.
func readNumber(in, name, text string) (enterprise.Number, error) {
	n, err := enterprise.Parse(text)
	if err == nil && n.String() == text {
		return n, nil
	}
	return 0, problem.BadRequest("The enterprise number in the "+in+" is not valid.", problem.Issue{
		Type: problem.IssueInvalidInput, In: in, Name: name, Value: text,
		Detail: "expected once, as ten digits with valid check digits",
	})
}

// maxBody bounds a body that is not multipart, in bytes.
const maxBody = 1 << 20

// readBody reads the request's body: the parts of a multipart one as they come, any other whole.
func (c *call) readBody() error {
	mediaType, parameters, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")) // an unreadable one is another
	if c.mediaType = mediaType; mediaType == multipartForm && parameters["boundary"] != "" {
		return c.readParts(parameters["boundary"])
	}
	var err error
	switch c.body, err = io.ReadAll(io.LimitReader(c.r.Body, maxBody+1)); {
	case err != nil:
		return problem.BadRequest("The body breaks off.")
	case len(c.body) > maxBody:
		return problem.TooLarge(maxBody, "The body is too large.")
	}
	return nil
}

// The media types of bodies.
const (
	plainJSON     = "application/json"
	mergePatch    = "application/merge-patch+json" // RFC 7396
	multipartForm = "multipart/form-data"
)

// onJSON is an endpoint that takes JSON of a media type, in the names of the API's version.
func onJSON[T any](mediaType string, handle func(*call, T) (any, error)) handler {
	return func(c *call) (any, error) {
		var order T
		if c.mediaType != mediaType {
			return nil, refuse(http.StatusUnsupportedMediaType, "unsupportedMediaType", "Unsupported Media Type",
				"Send "+mediaType+".")
		}
		if c.unmarshal(c.body, &order) != nil {
			return nil, problem.BadRequest("The body is not the JSON that is expected.")
		}
		return handle(c, order)
	}
}

// tap counts and hashes a request body while a handler reads it.
type tap struct {
	io.ReadCloser
	hash hash.Hash
	n    int64
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.hash.Write(p[:n])
	t.n += int64(n)
	return n, err
}

// answer is the ResponseWriter of a call. It remembers the status and, when a
// fault asks for it, paces or cuts the body.
type answer struct {
	http.ResponseWriter
	request context.Context
	status  int
	shape   *Fault // slowBody, truncate or lost
	sent    int64
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
