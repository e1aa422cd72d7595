// Package ebox knows what a call to the e-Box and grant/citizen APIs means: which
// calls list, which open a document, which change, reply or publish.
//
// Opening a document (the content of an attachment, the body of a message) marks
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
// base URL.
//
// A multipart publication that names an originalMessageId is a reply that the path
// does not show; it counts as publishing, since its body is not read.
func Classify(method, path string) Action {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		if opens(path) {
			return Open
		}
		return List
	case "POST":
		return classifyPost(Segments(path))
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
// known than that it speaks HTTP: safe methods read, all others change.
func ClassifyPlain(method, _ string) Action {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return List
	default:
		return Change
	}
}

func classifyPost(s []string) Action {
	if len(s) == 0 {
		return Change
	}
	switch last := s[len(s)-1]; {
	case last == "search": // eboxPreferences/search reads by a list of ids
		return List
	case last == "publishmessage", last == "linkeboxmessage", last == "searchmessagestatus":
		return Publish // the Document Sender's calls, its status query among them
	}
	for i, name := range s {
		if name == "messages" {
			if i+1 < len(s) {
				return Reply // POST below one message
			}
			return Publish
		}
	}
	return Change
}

// opens tells whether a GET of path marks a document read: …/content below a
// message or …/body. The images of the reference data end in /content as well and
// mark nothing.
func opens(path string) bool {
	// Most paths are told at a glance, without taking them apart.
	if !mayOpen(path) {
		return false
	}
	s := Segments(path)
	if len(s) < 2 {
		return false
	}
	last := s[len(s)-1]
	if last != "content" && last != "body" {
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

// mayOpen is false only if no reading of path ends in "content" or "body": its
// last letters, whatever their case, would have to be there, or an escape.
func mayOpen(path string) bool {
	if strings.IndexByte(path, ';') >= 0 || strings.IndexByte(path, '%') >= 0 {
		return true
	}
	i := strings.LastIndexByte(strings.TrimRight(path, "/"), '/')
	last := path[i+1:]
	return hasFold(last, "content") || hasFold(last, "body")
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
