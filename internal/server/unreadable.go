package server

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// A request that net/http cannot read never reaches a handler: the server writes a line
// of plain text to the connection and closes it. Callers of this gateway are promised a
// problem whenever it is the gateway that refuses, so that line is replaced on its way.
// It is known by its bytes, all of them in one write, while no handler answers: the body
// of an answer may have the same bytes. Should net/http ever write something else, that
// passes as it is. Over TLS it cannot be seen, and passes too.

// refusalHeader is what net/http puts between the status line and the text.
var refusalHeader = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

const statusLine = "HTTP/1.1 "

// refusal tells whether an answer is net/http's own to a request that it cannot read,
// with its status and what it says is wrong, if it says so.
func refusal(answer []byte) (status int, what string, ok bool) {
	const longest = 512
	if len(answer) > longest || !bytes.HasPrefix(answer, []byte(statusLine)) {
		return 0, "", false
	}
	line, _, ok := bytes.Cut(answer[len(statusLine):], refusalHeader)
	if !ok || len(line) < 3 || bytes.ContainsAny(line, "\r\n") {
		return 0, "", false
	}
	status, err := strconv.Atoi(string(line[:3]))
	if err != nil {
		return 0, "", false
	}
	_, what, _ = strings.Cut(string(line[3:]), ": ")
	return status, what, true
}

// unreadable is the problem of a request that cannot be read.
func unreadable(status int, what string) *problem.Problem {
	switch {
	case status == http.StatusRequestHeaderFieldsTooLarge:
		return problem.Unreadable(status, "The request line and the header fields are longer than this gateway takes. Send fewer or shorter ones, or have the platform team raise server.limits.maxHeaderBytes.")
	case status == http.StatusNotImplemented:
		return problem.Unreadable(status, "The request has a transfer coding that this gateway does not know. Send the body chunked or with a Content-Length.")
	case what == "":
		what = "it is not HTTP as RFC 9112 writes it"
	}
	return problem.Unreadable(status, "The request cannot be read: "+what+". Nothing was sent. Correct the request; the connection is closed.")
}

// refuse writes the problem in place of net/http's text.
func (c *accepted) refuse(status int, what string) error {
	id := call.NewID()
	var answer bytes.Buffer
	w := plainWriter{header: http.Header{"Connection": {"close"}, "X-Request-Id": {id}}, out: &answer}
	p := unreadable(status, what)
	problem.Write(&w, new(http.Request), p, id, 0)
	c.log.Info("a request could not be read", "requestId", id, "source", c.RemoteAddr().String(), "status", status, "detail", p.Detail)
	_, err := c.send(answer.Bytes())
	return err
}

// plainWriter writes one answer, without a server around it.
type plainWriter struct {
	header http.Header
	out    *bytes.Buffer
}

func (w *plainWriter) Header() http.Header { return w.header }

func (w *plainWriter) WriteHeader(status int) {
	w.out.WriteString(statusLine + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	_ = w.header.Write(w.out) // a buffer takes everything
	w.out.WriteString("\r\n")
}

func (w *plainWriter) Write(b []byte) (int, error) { return w.out.Write(b) }
