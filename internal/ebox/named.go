package ebox

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/problem"
)

// Part is what an enterprise has to do with the call that names it.
type Part uint8

const (
	// Asked is an enterprise whose e-Box is read. The caller must be allowed to represent
	// it, or be allowed to act for the office itself if it is that one.
	Asked Part = iota
	// Changed is one whose e-Box is changed. It must be, besides, the one that path or
	// header name.
	Changed
	// Sender is in whose name a message is published: the enterprise that the call is
	// for, or the office itself.
	Sender
	// Recipient is who gets a message. It can be anybody.
	Recipient
	// Mandatary is whose mandate is asked about: the office itself, or one of those that the
	// caller may represent.
	Mandatary
)

// String names the part for problems and records.
func (p Part) String() string {
	return [...]string{"asked", "changed", "sender", "recipient", "mandatary"}[p]
}

// Named is an enterprise that the body or the query of a call names.
type Named struct {
	Number enterprise.Number
	Part   Part
	// In is "body" or "query", At the JSON pointer of the value or the parameter's name.
	In, At string
}

// mostNamed bounds how many enterprises one call may name: an office asks about all of
// its customers at once, and the evidence names them in one line.
const mostNamed = 50_000

// context is what the names around a value say of it.
type context struct {
	part Part
	held bool // a name says that the value holds numbers
	free bool // a name says that numbers in it are nobody's concern
}

// NamedIn gives the enterprises that a call to an e-Box API names in its query and in its
// body, which is empty or JSON, each once for each part. action is what the call does, by Classify. What the
// operations of the API files make of them:
//
//	POST  /eboxPreferences/search            eboxIdValueList: Asked
//	POST  /citizenEboxConsents/search        eboxIdValueList: citizens; what is a CBE number all the same: Asked
//	PATCH /eboxPreferences                   eboxId: Changed
//	POST  /publishMessage, /ebox/messages    recipient: Recipient; sender, senderOrganizationId: Sender
//	POST  …/{messageId}/replies              the same
//	POST  /linkEboxMessage                   recipients: Recipient
//	POST  /searchMessageStatus               eboxId: Recipient, of what the caller itself sent
//	POST  /ebox/messages/search (and query)  sender, senderOrganizationId: a filter, nobody's part; the rest: Asked
//	PATCH /ebox/messages                     none; what is there all the same: Changed
//	GET   …/hasMandate                       mandataryEnterpriseNumber: Mandatary
//	any other                                Asked in a read, Changed in all others
//
// It is read on the principle that the upstream must not find a number where the gateway
// finds none: names are compared by jsonscan.Letters, and at any depth. A value that
// is written as a CBE number in any form counts. One that some reader could take for one
// (enterprise.IsAmbiguous) is refused: it would have to be guessed what an upstream takes it
// for. Any other value passes, for the upstream's own 400.
//
// The error is a *problem.Problem, 400: that value; a body that could be read in two
// ways (see jsonscan.Read); a JSON Patch (RFC 6902) of such a member; more than 50,000
// enterprises. A multipart publication is not JSON: see Parts.
func NamedIn(action Action, path Path, query string, body []byte) ([]Named, error) {
	n := namingOf(action, path)
	if query != "" {
		if err := n.query(query); err != nil {
			return nil, err
		}
	}
	if len(body) > 0 {
		if err := n.json(body, n.base); err != nil {
			return nil, err
		}
	}
	return n.list, nil
}

func namingOf(action Action, path Path) naming {
	n := naming{citizens: len(path.Segments) > 0 && path.Segments[0] == "citizeneboxconsents"}
	switch action {
	case List, Open:
		n.base = context{part: Asked}
		n.filter = true
	case Publish, Reply:
		n.base = context{part: Recipient}
	default:
		n.base = context{part: Changed}
	}
	return n
}

// json notes what a JSON text names. around is what stands around it.
func (n *naming) json(text []byte, around context) error {
	n.around[0] = around
	err := jsonscan.Read(text, n)
	var fault *jsonscan.Fault
	if errors.As(err, &fault) {
		return unreadable(problem.Issue{
			Type: problem.IssueSchemaViolation, In: "body", Name: fault.At, Detail: fault.Detail,
		})
	}
	return err
}

// Parts reads a multipart publication or reply for the enterprises that its parts name. The
// rules are those of NamedIn, for each part that is JSON; of another one the name counts as
// that of a member with a value.
type Parts struct{ n naming }

// PartsOf makes a Parts for a call to a path whose action is Publish or Reply.
func PartsOf(action Action, path Path) *Parts { return &Parts{namingOf(action, path)} }

// Reads reports whether a part of a name has to be read whatever it is: messageToPublish,
// which is the message (version 2 of the Message Registry; that of version 3 is not public),
// and those that say that a value holds enterprises.
func (p *Parts) Reads(name string) bool {
	var room jsonscan.Name
	return string(jsonscan.Letters([]byte(name), &room)) == "messagetopublish" || p.n.named(name).held
}

// Read gives the enterprises that a part names and none before it did. The error is as
// NamedIn's.
func (p *Parts) Read(name string, json bool, content []byte) ([]Named, error) {
	before, around := len(p.n.list), p.n.named(name)
	var err error
	if json || !around.held {
		err = p.n.json(content, around)
	} else {
		err = p.n.note("body", func() string { return name }, string(content), around)
	}
	return p.n.list[before:len(p.n.list):len(p.n.list)], err
}

// named gives the context of a value under a dotted or bracketed name: eboxId.eboxIdValue
// means what one of its parts means.
func (n *naming) named(name string) context {
	c := n.base
	for part := range jsonscan.Segments(name) {
		c = n.below(c, []byte(part))
	}
	return c
}

func unreadable(issue problem.Issue) error {
	return problem.BadRequest("The enterprises that the request names cannot be told for certain. Correct it "+
		"and send it again.", issue)
}

// naming collects what a call names. It is the visitor of its body.
type naming struct {
	base     context
	filter   bool // senders are what is looked for
	citizens bool // eleven digits are an SSIN
	list     []Named
	seen     map[place]struct{}
	// around is what the names say of the value at each depth.
	around [jsonscan.Depths]context
}

// place is what is listed once.
type place struct {
	number enterprise.Number
	part   Part
}

// below gives the context of the values under a name. Version 2 and the Federation API
// have eboxIdValue and eboxId around it, version 3 has enterpriseNumber.
func (n *naming) below(c context, name []byte) context {
	var room jsonscan.Name
	switch string(jsonscan.Letters(name, &room)) {
	case "mandataryenterprisenumber":
		return context{part: Mandatary, held: true}
	case "recipient", "recipients":
		if n.base.part == Recipient {
			return context{part: Recipient}
		}
	case "sender":
		return context{part: Sender, free: n.filter}
	case "senderorganizationid", "senderorganizationids":
		return context{part: Sender, held: true, free: n.filter}
	case "eboxid", "eboxids", "eboxidvalue", "eboxidvaluelist", "eboxidlist",
		"enterprisenumber", "enterprisenumbers", "enterprisenumberlist",
		"representedenterprisenumber", "onbehalfofenterprisenumber", "cbenumber", "cbenumberlist":
		c.held = true
	}
	return c
}

// Member implements jsonscan.Visitor.
func (n *naming) Member(depth int, key []byte) {
	c := n.around[depth-1]
	if key != nil {
		c = n.below(c, key)
	}
	n.around[depth] = c
}

// Scalar implements jsonscan.Visitor.
func (n *naming) Scalar(depth int, raw []byte, at func() string) error {
	c := n.around[depth]
	counts := c.held && !c.free
	switch raw[0] {
	case '"':
		mayPoint := raw[1] == '/' || raw[1] == '\\'
		if !counts && !mayPoint {
			return nil
		}
		text := jsonscan.Text(raw)
		if mayPoint && strings.HasPrefix(text, "/") && n.points(text) {
			return unreadable(problem.Issue{Type: problem.IssueInvalidInput, In: "body", Name: at(),
				Detail: "a JSON Patch of an enterprise is not understood here: send a merge patch (RFC 7396)"})
		}
		if !counts {
			return nil
		}
		return n.note("body", at, text, c)
	case 't', 'f', 'n':
		return nil
	}
	if !counts {
		return nil
	}
	return n.note("body", at, string(raw), c)
}

// points reports whether a JSON pointer leads to, or below, a member with a number.
func (n *naming) points(pointer string) bool {
	for segment := range strings.SplitSeq(pointer, "/") {
		if n.below(context{}, []byte(segment)).held {
			return true
		}
	}
	return false
}

// query notes what a query names, also for a server that decodes it once more than it is
// encoded. A broken escape is refused; what decodes to one is not.
func (n *naming) query(raw string) error {
	if _, err := url.QueryUnescape(raw); err != nil {
		return unreadable(problem.Issue{Type: problem.IssueSchemaViolation, In: "query",
			Detail: "a percent sign must be followed by two hexadecimal digits"})
	}
	for range 4 {
		if err := n.pairs(raw); err != nil {
			return err
		}
		again := Unescape(raw)
		if again == raw {
			return nil
		}
		raw = again
	}
	return unreadable(problem.Issue{Type: problem.IssueSchemaViolation, In: "query",
		Detail: "it is encoded several times: encode it once"})
}

// Unescape decodes every percent escape that is one, and leaves what is none.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// pairs notes what the parameters of a query name. Some servers part them by semicolons too.
func (n *naming) pairs(raw string) error {
	for pair := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, value := Unescape(strings.ReplaceAll(rawName, "+", " ")), Unescape(strings.ReplaceAll(rawValue, "+", " "))
		c := n.named(name)
		for one := range strings.SplitSeq(value, ",") {
			if err := n.note("query", func() string { return name }, one, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// note records a value, if it is a number.
func (n *naming) note(in string, at func() string, text string, c context) error {
	if !c.held || c.free {
		return nil
	}
	number, err := enterprise.Parse(text)
	if err != nil {
		isSSIN := n.citizens && len(text) == 11 && isDigits(text)
		if isSSIN || !enterprise.IsAmbiguous(text) {
			return nil
		}
		if len(text) > 32 {
			text = "" // whatever it is, it is no number to repeat
		}
		return unreadable(problem.Issue{
			Type: problem.IssueInvalidInput, In: in, Name: at(), Value: strings.ToValidUTF8(text, ""),
			Detail: "write an enterprise number as ten digits with valid check digits",
		})
	}
	once := place{number, c.part}
	if _, there := n.seen[once]; there {
		return nil
	}
	if len(n.list) == mostNamed {
		return unreadable(problem.Issue{
			Type: problem.IssueInvalidInput, In: in, Name: at(),
			Detail: "the request names more than " + strconv.Itoa(mostNamed) + " enterprises: send several",
		})
	}
	if n.seen == nil {
		n.seen = make(map[place]struct{})
	}
	n.seen[once] = struct{}{}
	n.list = append(n.list, Named{number, c.part, in, at()})
	return nil
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// EnterpriseIn finds the enterprise that a path names where a template says, as
// /ebox/{enterpriseNumber} for the Partition API; what stands below is of no concern.
// found is false for a path that does not begin like the template, by however lenient a
// reading. The error is a *problem.Problem, 400: the path is one that only some servers
// take for such a path, or the number is none.
func EnterpriseIn(template string, path Path) (n enterprise.Number, found bool, err error) {
	names := strings.Split(template+"/**", "/")[1:]
	at := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, "{") })
	names[at] = "*"
	if !Matches(Segments(strings.Join(names, "/")), path.Segments) {
		return 0, false, nil
	}
	issue := problem.Issue{Type: problem.IssueInvalidInput, In: "path", Name: "enterpriseNumber",
		Detail: "expected as ten digits with valid check digits"}
	written := strings.Split(path.Escaped, "/")[1:]
	if !Matches(names, written) {
		issue.Detail = "write the path as " + template + ", without escapes, parameters and empty segments"
		return 0, true, unreadable(issue)
	}
	if n, err = enterprise.Parse(written[at]); err != nil || n.String() != written[at] {
		issue.Value = written[at]
		return 0, true, unreadable(issue)
	}
	return n, true, nil
}
