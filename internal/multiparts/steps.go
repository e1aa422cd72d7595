package multiparts

import (
	"bytes"
	"io"
	"strings"
)

// mostBehind bounds the line ends behind the last boundary, in bytes.
const mostBehind = 64

// The steps. Each of them parses what stands at buf[at:], and reads more if that is not enough.
//
//	start ─▶ delimit ─▶ head ─▶ hold ─▶ pass ─▶ delimit …
//	             └────▶ behind    └────────────▶ delimit …

// start expects the first boundary at the very beginning, or behind one empty line.
func (r *Reader) start() error {
	if len(r.buf) < len("\r\n")+len(r.delimiter) && r.ended == nil {
		return r.more()
	}
	r.at = len(r.buf) - len(bytes.TrimPrefix(r.buf, []byte("\r\n")))
	if !bytes.HasPrefix(r.buf[r.at:], r.delimiter) {
		return refuse("it has to begin with its first boundary")
	}
	r.step = r.delimit
	return nil
}

// delimit stands at a boundary, and reads what is behind it.
func (r *Reader) delimit() error {
	rest := r.buf[r.at+len(r.delimiter):]
	switch {
	case len(rest) < len("\r\n"):
		return r.more()
	case rest[0] == '\r' && rest[1] == '\n':
		r.step = r.head
	case rest[0] == '-' && rest[1] == '-':
		r.last, r.step = true, r.behind
	default:
		return refuse("a boundary has to be followed by CRLF, and the last one by two hyphens")
	}
	r.at += len(r.delimiter) + len("\r\n")
	return nil
}

// behind lets the last boundary go on when the body has ended well.
func (r *Reader) behind() error {
	rest := r.buf[r.at:]
	if len(bytes.Trim(rest, "\r\n")) > 0 || len(rest) > mostBehind {
		return refuse("there is something behind its last boundary")
	}
	err := r.more()
	if err == io.EOF {
		r.safe = len(r.buf)
	}
	return err
}

// head reads the header of a part.
func (r *Reader) head() error {
	rest := r.buf[r.at:]
	end := headerEnd(rest)
	switch {
	case end > mostHeader || end < 0 && len(rest) > mostHeader:
		return refuse("a part's header is larger than 8 KiB")
	case end < 0:
		return r.more()
	case bytes.Contains(rest[:end], r.delimiter):
		return refuse("the boundary stands in a part's header")
	}
	part, err := parseHeader(rest[:end])
	if err != nil {
		return err
	}
	r.part, r.held, r.begun = part, part.JSON || r.o.Reads(part.Name), beginning{}
	r.at += end
	r.content, r.step = r.at, r.hold
	return nil
}

// headerEnd finds where the content begins behind a header, negative if that did not come yet.
func headerEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return len("\r\n")
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + len("\r\n\r\n")
	}
	return -1
}

// hold reads a part until it is whole, if it is held back, or until its beginning says that it
// need not be.
func (r *Reader) hold() error {
	end, err := r.boundary()
	if err != nil {
		return err
	}
	text := r.buf[r.content:]
	if end >= 0 {
		text = r.buf[r.content : end-len("\r\n")]
	}
	if !r.held {
		switch r.begun.read(text) {
		case asJSON:
			r.held, r.part.JSON = true, true
		case asOther:
			r.files, r.step = true, r.pass
			return nil
		}
	}
	switch {
	case r.read+len(text) > r.o.Most:
		return r.tooLarge()
	case end < 0:
		return r.more()
	}
	r.read += len(text)
	if r.held {
		if err := r.show(text); err != nil {
			return err
		}
	}
	r.safe, r.step = end, r.delimit
	return nil
}

// show has a part looked at. Of two with one name a server may read either.
func (r *Reader) show(content []byte) error {
	if name := strings.ToLower(r.part.Name); name != "" {
		if r.named[name] {
			return refuse("two parts have the same name")
		}
		r.named[name] = true
	}
	r.part.Content = content
	return r.o.Look(r.part)
}

// pass lets a part go on as it comes.
func (r *Reader) pass() error {
	end, err := r.boundary()
	switch {
	case err != nil:
		return err
	case end >= 0:
		r.safe, r.step = end, r.delimit
		return nil
	}
	// The line end in front of a boundary stays, to be seen with it.
	if safe := r.at - len("\r\n"); safe > r.safe {
		r.safe = safe
		return nil
	}
	return r.more()
}

// boundary looks for the end of the content in what was read, and moves to it: end is where
// the boundary begins, negative if there is none yet.
func (r *Reader) boundary() (end int, err error) {
	i := bytes.Index(r.buf[r.at:], r.delimiter)
	if i < 0 {
		// The last bytes may be the beginning of one.
		r.at = max(r.at, len(r.buf)-len(r.delimiter)+1)
		return -1, nil
	}
	r.at += i
	line := r.at - len("\r\n")
	if line < r.content || r.buf[line] != '\r' || r.buf[line+1] != '\n' {
		return -1, refuse("the boundary stands within a part, or on a line that does not begin behind CRLF")
	}
	return r.at, nil
}
