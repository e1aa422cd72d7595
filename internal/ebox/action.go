// Package ebox knows what a call to the e-Box and grant/citizen APIs means: which
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
	"strings"
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
	for i, n := range names[1:] {
		if n == s {
			return Action(i + 1), true
		}
	}
	return None, false
}

// Actions is a set of actions.
type Actions uint8

// All is the set of all actions.
const All Actions = 1<<List | 1<<Open | 1<<Change | 1<<Reply | 1<<Publish | 1<<Mandates

// With returns the set with a in it.
func (s Actions) With(a Action) Actions { return s | 1<<a }

// Has tells whether a is in the set; None is in every set.
func (s Actions) Has(a Action) bool { return a == None || s&(1<<a) != 0 }

// Classify tells what a call to a Message Registry, to the Provider Registry, the
// Partition or the Federation API does. path is the escaped path below the API's
// base URL; reads are those that the route names.
//
// A multipart publication that names an originalMessageId is a reply that the path
// does not show; it counts as publishing, since its body is not read.
func Classify(method, path string, reads Reads) Action {
	switch {
	case method == "GET", method == "HEAD", method == "OPTIONS":
		if opens(path) {
			return Open
		}
		return List
	case method == "POST":
		return classifyPost(path, reads)
	case reads.Name(method, path):
		return reading(path)
	default:
		return Change
	}
}

// ClassifyMandates tells the same of a call to grant/citizen. What needs no
// permission is compared exactly: here a lenient reading would be the one that opens.
func ClassifyMandates(method, path string) Action {
	if (path == "/health" || path == "/health/") && (method == "GET" || method == "HEAD") {
		return None
	}
	return Mandates
}

// ClassifyPlain tells what a call does to an upstream of which nothing more is
// known than that it speaks HTTP and may follow the Belgif guide: safe methods read, and
// so do the guide's reads by POST and those that the route names; all others change.
func ClassifyPlain(method, path string, reads Reads) Action {
	switch {
	case method == "GET", method == "HEAD", method == "OPTIONS", reads.Name(method, path),
		method == "POST" && PlainRead(path):
		return List
	default:
		return Change
	}
}

// classifyPost knows a publication whatever stands around it, and a read only if its path
// is exactly one that is known to be: who may only list must not publish by a path that
// some server takes for another.
func classifyPost(path string, reads Reads) Action {
	s := Segments(path)
	if len(s) == 0 {
		return Change
	}
	for _, name := range s {
		switch name {
		case "publishmessage", "linkeboxmessage", "searchmessagestatus":
			return Publish // the Document Sender's calls, its status query among them
		}
	}
	if KnownRead(path) || reads.Name("POST", path) {
		return reading(path)
	}
	switch last := s[len(s)-1]; {
	case readsByPost(last) && opens(strings.Join(s[:len(s)-1], "/")):
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
func reading(path string) Action {
	s := Segments(path)
	if n := len(s); n > 0 && readsByPost(s[n-1]) {
		s = s[:n-1]
	}
	if opens(strings.Join(s, "/")) {
		return Open
	}
	return List
}

// opens tells whether a GET of path marks a document read: …/content below a
// message, …/body or version 3's …/structuredData, of which nobody has said that it does
// not. The images of the reference data end in /content as well and mark nothing.
func opens(path string) bool {
	// Most paths are told at a glance, without taking them apart.
	if !mayOpen(path) {
		return false
	}
	s := Segments(path)
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

// IsDocument tells whether the path is that of a document's bytes (…/content), of
// an attachment or of an image: what comes back is nobody's to rewrite.
func IsDocument(path string) bool {
	if !mayOpen(path) {
		return false
	}
	s := Segments(path)
	return len(s) > 0 && s[len(s)-1] == "content"
}

// mayOpen is false only if no reading of path ends in the name of a document: its
// last letters, whatever their case, would have to be there, or an escape.
func mayOpen(path string) bool {
	if strings.IndexByte(path, ';') >= 0 || strings.IndexByte(path, '%') >= 0 {
		return true
	}
	i := strings.LastIndexByte(strings.TrimRight(path, "/"), '/')
	last := path[i+1:]
	return hasFold(last, "content") || hasFold(last, "body") || hasFold(last, "structuredData")
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Segments gives the segments of a path as the most lenient server would read
// them: decoded, in lower case, up to an encoded "?" or "#", without empty ones,
// matrix parameters, blanks around them and the suffix of the last.
func Segments(path string) []string {
	parts := strings.Split(path, "/")
	kept := parts[:0]
	for _, p := range parts {
		if i := strings.IndexByte(p, ';'); i >= 0 {
			p = p[:i]
		}
		if decoded, err := url.PathUnescape(p); err == nil {
			p = decoded
		}
		if i := strings.IndexByte(p, ';'); i >= 0 {
			p = p[:i]
		}
		end := strings.IndexAny(p, "?#")
		if end >= 0 {
			p = p[:end]
		}
		p = strings.ToLower(strings.TrimSpace(p))
		if p != "" {
			kept = append(kept, p)
		}
		if end >= 0 {
			break
		}
	}
	if n := len(kept); n > 0 {
		if i := strings.IndexByte(kept[n-1], '.'); i > 0 { // body.json
			kept[n-1] = kept[n-1][:i]
		}
	}
	return kept
}
