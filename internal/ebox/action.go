// Package ebox says what a call to the e-Box and grant/citizen APIs means: which
// calls list, which open a document, which change, reply or publish.
//
// Opening a document (the content of an attachment, the body of a message, its
// structured data) marks
// it read for good. So a call is taken for an opening whenever an upstream could
// take it for one: the path is compared after decoding, without regard to case,
// empty segments, matrix parameters and format suffixes, all of which common
// server frameworks ignore, and without what follows an encoded "?" or "#", which
// rewriting proxies have been known to send on decoded.
package ebox

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Action is what a call does, in the words of a caller rule's "may".
type Action uint8

// The actions. None is for calls that need no permission, as grant/citizen's
// /health.
const (
	None Action = iota
	List
	Open
	Change
	Reply
	Publish
	Mandates
)

var names = [...]string{"", "list", "open", "change", "reply", "publish", "mandates"}

// String gives the word that the configuration uses.
func (a Action) String() string { return names[a] }

// ParseAction reads the word that the configuration uses.
func ParseAction(s string) (Action, bool) {
	i := slices.Index(names[1:], s) + 1
	return Action(i), i > 0
}

// Actions is a set of actions.
type Actions uint8

// All is the set of all actions.
const All Actions = 1<<List | 1<<Open | 1<<Change | 1<<Reply | 1<<Publish | 1<<Mandates

// With returns the set with a in it.
func (s Actions) With(a Action) Actions { return s | 1<<a }

// Has reports whether a is in the set; None is in every set.
func (s Actions) Has(a Action) bool { return a == None || s&(1<<a) != 0 }

// Classify says what a call to a Message Registry, to the Provider Registry, the
// Partition or the Federation API does. path is the escaped path below the API's
// base URL; reads are those that the route names.
//
// A multipart publication that names an originalMessageId is a reply that the path
// does not show; it counts as publishing.
func Classify(method string, path Path, reads Reads) Action {
	switch {
	case method == "GET", method == "HEAD", method == "OPTIONS":
		if opens(path.Segments) {
			return Open
		}
		return List
	case method == "POST":
		return classifyPost(path, reads)
	case reads.Name(method, path.Escaped):
		return reading(path.Segments)
	default:
		return Change
	}
}

// ClassifyMandates says the same of a call to grant/citizen. What needs no
// permission is compared exactly: here a lenient reading would be the one that opens.
func ClassifyMandates(method string, path Path) Action {
	if (path.Escaped == "/health" || path.Escaped == "/health/") && (method == "GET" || method == "HEAD") {
		return None
	}
	return Mandates
}

// ClassifyPlain says what a call does to an upstream of which nothing more is
// known than that it speaks HTTP and may follow the Belgif guide: safe methods read, and
// so do the guide's reads by POST and those that the route names; all others change.
func ClassifyPlain(method string, path Path, reads Reads) Action {
	switch {
	case method == "GET", method == "HEAD", method == "OPTIONS", reads.Name(method, path.Escaped),
		method == "POST" && plainRead(path.Escaped):
		return List
	default:
		return Change
	}
}

// classifyPost knows a publication whatever stands around it, and a read only if its path
// is exactly one that is known to be: who may only list must not publish by a path that
// some server takes for another.
func classifyPost(path Path, reads Reads) Action {
	s := path.Segments
	if len(s) == 0 {
		return Change
	}
	for _, name := range s {
		switch name {
		case "publishmessage", "linkeboxmessage", "searchmessagestatus":
			return Publish // the Document Sender's calls, its status query among them
		}
	}
	if knownRead(path.Escaped) || reads.Name("POST", path.Escaped) {
		return reading(s)
	}
	switch last := s[len(s)-1]; {
	case readsByPost(last) && opens(s[:len(s)-1]):
		return Open // a document, asked for by POST
	case last == "update", last == "delete":
		return Change
	}
	for i, name := range s {
		if name != "messages" {
			continue
		}
		switch {
		case i+1 == len(s):
			return Publish
		case i+2 < len(s) && s[i+2] == "actions":
			return Change // marks a message, or does what else is done with one
		}
		return Reply // POST below one message
	}
	return Change
}

// reading is what a read by another method than GET does: it may still open.
func reading(s []string) Action {
	if n := len(s); n > 0 && readsByPost(s[n-1]) {
		s = s[:n-1]
	}
	if opens(s) {
		return Open
	}
	return List
}

// opens reports whether a GET of a path marks a document read: …/content below a
// message, …/body or version 3's …/structuredData, of which nobody has said that it does
// not. The images of the reference data end in /content as well and mark nothing.
func opens(s []string) bool {
	if len(s) < 2 {
		return false
	}
	switch s[len(s)-1] {
	case "content", "body", "structureddata":
	default:
		return false
	}
	for _, name := range s[:len(s)-1] {
		switch name {
		case "messages":
			return true // what stands behind is an id, however it reads
		case "referencedata":
			return false
		}
	}
	return true
}

// IsDocument reports whether the path is that of a document's bytes (…/content), of
// an attachment or of an image: what comes back is nobody's to rewrite.
func IsDocument(path Path) bool { return path.last() == "content" }

// Path is the escaped path of a call below an API's base URL, taken apart once.
type Path struct {
	// Escaped is the path as it is sent.
	Escaped string
	// Segments are those that the most lenient server would read; see Segments.
	Segments []string
}

// ParsePath takes a path apart.
func ParsePath(escaped string) Path { return Path{escaped, Segments(escaped)} }

// Matches compares the segments of a pattern with those of a path: "*" is any one that is not
// empty, "**" at the end any number.
func Matches(pattern, path []string) bool {
	for i, p := range pattern {
		if p == "**" && i == len(pattern)-1 {
			return true
		}
		if i >= len(path) || p != path[i] && (p != "*" || path[i] == "") {
			return false
		}
	}
	return len(pattern) == len(path)
}

// last is the last segment, empty for none.
func (p Path) last() string {
	if n := len(p.Segments); n > 0 {
		return p.Segments[n-1]
	}
	return ""
}

// Segments gives the segments of a path as the most lenient server would read
// them: decoded, in lower case, up to an encoded "?" or "#", without empty ones,
// matrix parameters, blanks around them and the suffix of the last.
func Segments(path string) []string {
	kept := make([]string, 0, strings.Count(path, "/")+1)
	for path != "" {
		var segment string
		if segment, path = nextSegment(path); segment != "" {
			kept = append(kept, folded(segment))
		}
	}
	if n := len(kept); n > 0 {
		if i := strings.IndexByte(kept[n-1], '.'); i > 0 { // body.json
			kept[n-1] = kept[n-1][:i]
		}
	}
	return kept
}

// nextSegment gives the first segment of a path that is not empty, as the most lenient server
// would read it but for its case and suffix, and what is behind it.
func nextSegment(path string) (segment, rest string) {
	for path != "" && segment == "" {
		segment, path, _ = strings.Cut(path, "/")
		segment, _, _ = strings.Cut(segment, ";")
		if strings.IndexByte(segment, '%') >= 0 {
			if decoded, err := url.PathUnescape(segment); err == nil {
				segment, _, _ = strings.Cut(decoded, ";")
			}
			if end := strings.IndexAny(segment, "?#"); end >= 0 {
				segment, path = segment[:end], ""
			}
		}
		segment = strings.TrimSpace(segment)
	}
	return segment, path
}

// folded is s in lower case. Beyond ASCII it goes by the upper case, since to servers that
// compare so a long s is an s.
func folded(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		s = strings.ToUpper(s)
	}
	return strings.ToLower(s)
}
