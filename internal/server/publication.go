package server

import (
	"io"
	"strings"
	"sync"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/multiparts"
	"ebox-gateway/internal/tenancy"
)

// publication is a multipart publication that streams. Its parts in JSON name enterprises:
// each is held back until they were checked. What comes before the first file is read before
// anything is sent. What comes behind it is read as it goes up, by the goroutine that sends
// the body: there a refusal cuts the request, and the upstream never gets its end.
type publication struct {
	x      *exchange
	caller *tenancy.Caller
	route  *Route
	claim  tenancy.Claim
	names  *ebox.Parts

	mu    sync.Mutex
	known map[string]bool // the numbers that were found, as ten digits
	found []string        // those that are not in the record yet
}

// isPublication reports whether the body is one of parts that is published, by exactly one field.
func (x *exchange) isPublication() bool {
	const prefix = "multipart/"
	types := x.r.Header["Content-Type"]
	return (x.c.Action == ebox.Publish || x.c.Action == ebox.Reply) && len(types) == 1 && len(types[0]) > len(prefix) &&
		strings.EqualFold(types[0][:len(prefix)], prefix)
}

// publish has the body read on its way, and at once as far as the first file.
func (x *exchange) publish(caller *tenancy.Caller, route *Route, path ebox.Path, claim tenancy.Claim, most int) error {
	boundary, err := multiparts.Boundary(x.r.Header["Content-Type"])
	if err != nil {
		return err
	}
	if err := x.checkCoding(); err != nil {
		return err
	}
	if err := x.admitCaller(caller); err != nil {
		return err
	}
	p := &publication{x: x, caller: caller, route: route, claim: claim, names: ebox.PartsOf(x.c.Action, path),
		known: make(map[string]bool)}
	for _, number := range x.c.Record.Named {
		p.known[number] = true
	}
	r := multiparts.New(multiparts.Options{
		Body: x.r.Body, Boundary: boundary, Most: most, Memory: &x.memory, Reads: p.names.Reads, Look: p.look,
	})
	x.r.Body = struct {
		io.Reader
		io.Closer
	}{r, x.r.Body}
	x.publication = p
	if len(x.r.Header["Expect"]) > 0 {
		return nil // the upstream says whether it wants the body
	}
	err = r.Lead()
	p.note(x.c.Record)
	return x.unread(err)
}

// look checks the enterprises that a part names.
func (p *publication) look(part multiparts.Part) error {
	named, err := p.names.Read(part.Name, part.JSON, part.Content)
	if err != nil {
		return err
	}
	p.mu.Lock()
	for _, n := range named {
		if number := n.Number.String(); !p.known[number] {
			p.known[number] = true
			p.found = append(p.found, number)
		}
	}
	p.mu.Unlock()
	claim := p.claim
	claim.Named = named
	_, err = p.x.resolve(p.caller, &p.route.Route, claim)
	return err
}

// note adds to the record what was found.
func (p *publication) note(rec *call.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec.Named = append(rec.Named, p.found...)
	p.found = nil
}
