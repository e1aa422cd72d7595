package ebox

import (
	"errors"
	"net/http"
	"strings"

	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/printable"
)

// mostMessages is how many messages MessagesIn names at most, and mostMessageBytes how many bytes
// their ids have together: what a caller writes must fit in a record of the evidence, even with all
// of it escaped.
const (
	mostMessages     = 1000
	mostMessageBytes = 64 << 10
)

// MessagesIn gives the ids of the messages that the JSON body of a write is about, wherever
// messageId stands in it: of a change of several messages, in whatever form an upstream may take
// its path, and of linking one. more reports whether there are others, or the body could be
// read in two ways.
func MessagesIn(method string, path Path, body []byte) (ids []string, more bool) {
	switch last := path.last(); {
	case len(body) == 0:
		return nil, false
	case last == "messages" && method == http.MethodPatch, last == "linkeboxmessage" && method == http.MethodPost:
	default:
		return nil, false
	}
	var found messages
	err := jsonscan.Read(body, &found)
	return found.ids, found.more || err != nil
}

// messages is a jsonscan.Visitor.
type messages struct {
	ids    []string
	size   int // of ids, in bytes
	more   bool
	wanted bool // the value that comes is that of a messageId
}

var errTooMany = errors.New("reading the ids of messages: one record names no more")

// Member implements jsonscan.Visitor.
func (m *messages) Member(_ int, key []byte) { m.wanted = strings.EqualFold(string(key), "messageId") }

// Scalar implements jsonscan.Visitor.
func (m *messages) Scalar(_ int, raw []byte, _ func() string) error {
	if !m.wanted || raw[0] != '"' {
		return nil
	}
	id := jsonscan.Text(raw)
	switch {
	case len(m.ids) == mostMessages:
		return errTooMany
	case m.size+len(id) > mostMessageBytes:
		m.more = true // it is left out, and hides no other
	default:
		m.size += len(id)
		m.ids = append(m.ids, printable.Text(id, len(id)))
	}
	return nil
}
