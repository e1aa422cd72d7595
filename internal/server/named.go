package server

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

// mostRead is how many bytes of a body that names enterprises are read at most.
const mostRead = 4 << 20

// named adds to the claim the enterprises that a call names in its path, its query and its
// body, and gives the body if it was read. What can be refused without the body is, before the caller is asked for it.
// most bounds the body, in bytes; 0 for no bound but that of what is read.
func (x *exchange) named(caller *tenancy.Caller, route *Route, path ebox.Path, claim *tenancy.Claim, most int64,
) (body []byte, err error) {
	c := x.c
	if route.EnterpriseIn != "" {
		if claim.Target, _, err = ebox.EnterpriseIn(route.EnterpriseIn, path); err != nil {
			return nil, err
		}
		if claim.Target != 0 {
			c.Record.Named = []string{claim.Target.String()}
			if c.Claimed == "" {
				c.Claimed = claim.Target.String()
			}
		}
	}
	switch {
	case route.Kind == config.KindMandates:
		return nil, x.namedInMandate(caller, route, claim, most)
	case !route.namesEnterprises:
		return nil, nil
	case !c.HasBody:
		return nil, x.readNames(path, nil, claim)
	}
	if err := x.check(caller, route, *claim); err != nil {
		return nil, err
	}
	if most == 0 {
		most = mostRead
	}
	most = min(most, mostRead)
	if x.isPublication() {
		if err := x.readNames(path, nil, claim); err != nil {
			return nil, err
		}
		return nil, x.publish(caller, route, path, *claim, int(most))
	}
	if body, err = x.readJSON(caller, most); err != nil {
		return nil, err
	}
	c.Record.Messages, c.Record.MoreMessages = ebox.MessagesIn(c.Method, path, body)
	return body, x.readNames(path, body, claim)
}

// namedInMandate reads a call of grant/citizen, whose body goes on from memory.
func (x *exchange) namedInMandate(caller *tenancy.Caller, route *Route, claim *tenancy.Claim, most int64) (err error) {
	c := x.c
	if claim.Query, err = tenancy.NamedInQuery(c.Query); err != nil {
		return err
	}
	if err := x.check(caller, route, *claim); err != nil {
		return err
	}
	if c.Body, err = x.readBody(caller, most); err != nil {
		return err
	}
	c.BodyRead = true
	media, coding := media(x.r.Header)
	claim.Body, err = tenancy.NamedInBody(c.Body, media, coding)
	return err
}

// media gives the headers that say how a body is to be read.
func media(h http.Header) (contentType, contentEncoding string) {
	return strings.Join(h["Content-Type"], ","), strings.Join(h["Content-Encoding"], ",")
}

// checkCoding refuses a body with a content coding.
func (x *exchange) checkCoding() error {
	_, coding := media(x.r.Header)
	return tenancy.CheckMedia("", coding)
}

// readJSON reads a body whole, which goes on from memory, framed and with trailers as it came.
func (x *exchange) readJSON(caller *tenancy.Caller, limit int64) ([]byte, error) {
	if err := tenancy.CheckMedia(media(x.r.Header)); err != nil {
		return nil, err
	}
	trailer := maps.Clone(x.r.Trailer) // reading adds those that were not announced
	body, err := x.readBody(caller, limit)
	if err != nil {
		return nil, err
	}
	for name := range trailer {
		trailer[name] = x.r.Trailer[name]
	}
	x.r.Trailer, x.r.Body = trailer, io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// readNames reads query and body for the enterprises that they name, and notes them.
func (x *exchange) readNames(path ebox.Path, body []byte, claim *tenancy.Claim) (err error) {
	c := x.c
	if c.Query == "" && len(body) == 0 {
		return nil
	}
	if claim.Named, err = ebox.NamedIn(c.Action, path, c.Query, body); err != nil {
		return err
	}
	noted := map[enterprise.Number]bool{claim.Target: true}
	for i := range claim.Named {
		if n := claim.Named[i].Number; !noted[n] {
			noted[n] = true
			c.Record.Named = append(c.Record.Named, n.String())
		}
	}
	return nil
}

// readBody reads a body whole, since what it says decides whether it may be sent. The
// caller's rate is spent before: reading costs memory. A body that is too large by its own
// word is refused before it is asked for.
func (x *exchange) readBody(caller *tenancy.Caller, limit int64) ([]byte, error) {
	r := x.r
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	tooLarge := func() error {
		return problem.TooLarge(limit, "The body is larger than this route takes.")
	}
	if limit > 0 && r.ContentLength > limit {
		return nil, tooLarge()
	}
	if err := x.checkCoding(); err != nil {
		return nil, err
	}
	if err := x.admitCaller(caller); err != nil {
		return nil, err
	}
	src := io.Reader(r.Body)
	if limit > 0 {
		src = io.LimitReader(r.Body, limit+1)
	}
	body, err := x.memory.ReadAll(src, r.ContentLength)
	if err != nil {
		return nil, x.unread(err)
	}
	if limit > 0 && int64(len(body)) > limit {
		return nil, tooLarge()
	}
	return body, nil
}

// unread is the answer to a body that could not be read, nil for nil.
func (x *exchange) unread(err error) error {
	var own *problem.Problem
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem.Slow().Because(err)
	case errors.Is(err, x.r.Context().Err()):
		return problem.BadRequest("The request's body ended early.").Because(err)
	}
	return problem.BadRequest("The request's body could not be read to its end. Send the whole of it.").Because(err)
}
