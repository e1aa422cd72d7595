package wire

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

var (
	errChunkSize = &SyntaxError{text: "malformed chunk size"}
	errChunkEnd  = &SyntaxError{text: "a chunk does not end where its size says"}
	errChunkLine = &SyntaxError{text: "too much chunk extension"}
)

const (
	mostChunkLine     = 4 << 10  // one line of size and extensions
	mostChunkOverhead = 16 << 10 // what sizes and extensions may take beyond a reasonable share
)

// trailerLimits are those of a trailer section.
var trailerLimits = Limits{Bytes: 16 << 10, Line: 8 << 10, Fields: 64}

// chunks reads a body in the chunked coding (RFC 9112, section 7.1). It reads no byte from the connection that it can
// know to be beyond the body's end. Errors are a *SyntaxError, io.ErrUnexpectedEOF or the connection's.
type chunks struct {
	r        *Reader
	left     int64       // of the current chunk
	inside   bool        // a chunk's data, or its line end, comes next
	overhead int64       // bytes that are not data, beyond a reasonable share
	last     bool        // the trailer section comes next
	trailer  http.Header // its fields, without those that nobody may put there; nil if there were none
	err      error
}

// Read waits for the connection only while it has nothing to give. It gives the last bytes together with io.EOF if
// the end of the body is already there.
func (c *chunks) Read(p []byte) (n int, err error) {
	for c.err == nil {
		if c.left > 0 {
			if n == len(p) {
				return n, nil
			}
			if c.r.Buffered() == 0 && n > 0 {
				return n, nil
			}
			m, err := c.r.Read(p[n:min(int64(len(p)), int64(n)+c.left)])
			n += m
			c.left -= int64(m)
			c.err = unexpected(err)
			continue
		}
		complete, err := c.step()
		switch {
		case err != nil:
			c.err = err
		case complete:
		case n > 0:
			return n, nil
		default:
			c.err = unexpected(c.r.Fill())
		}
	}
	if c.err != io.EOF && n > 0 {
		return n, nil // the error comes with the next Read
	}
	return n, c.err
}

// step takes what is between the data of two chunks, or after the last, if it is buffered as a whole.
func (c *chunks) step() (complete bool, err error) {
	b := c.r.buf[c.r.r:c.r.w]
	switch {
	case c.inside:
		if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return false, errChunkEnd
		}
		if len(b) < 2 {
			return false, nil
		}
		c.r.skip(2)
		c.inside = false
	case c.last:
		return c.end(b)
	default:
		end := bytes.IndexByte(b, '\n')
		if end < 0 && len(b) > mostChunkLine || end > mostChunkLine {
			return false, errChunkLine
		}
		if end < 0 {
			return false, nil
		}
		if c.left, err = chunkSize(b[:end]); err != nil {
			return false, err
		}
		// A sender that wraps every byte in an extension of kilobytes makes work out of nothing.
		if c.overhead = max(0, c.overhead+int64(end)-16-2*c.left); c.overhead > mostChunkOverhead {
			return false, errChunkLine
		}
		c.r.skip(end + 1)
		c.last = c.left == 0
		c.inside = !c.last
	}
	return true, nil
}

// end takes the trailer section and its empty line.
func (c *chunks) end(b []byte) (complete bool, err error) {
	var size int
	switch {
	case len(b) > 0 && b[0] == '\n':
		return false, errChunkEnd
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		size = 2
	default:
		size = sectionEnd(b, 0)
	}
	if size > trailerLimits.Bytes || size == 0 && len(b) > trailerLimits.Bytes {
		return false, errHeadSize
	}
	if size == 0 {
		return false, nil
	}
	if size > 2 {
		if !bytes.HasSuffix(b[:size], []byte("\r\n\r\n")) {
			return false, errChunkEnd
		}
		c.trailer = make(http.Header)
		if err := parseFields(string(b[:size]), c.trailer, trailerLimits); err != nil {
			return false, err
		}
		for name := range c.trailer {
			if !MayTrail(name) {
				delete(c.trailer, name)
			}
		}
	}
	c.r.skip(size)
	return false, io.EOF
}

// chunkSize reads a line without its LF. Only CR LF ends it: recipients differ about a bare LF here, and attackers
// have used that. Nothing is made of extensions, but they hold no control characters.
func chunkSize(line []byte) (n int64, err error) {
	if len(line) == 0 || line[len(line)-1] != '\r' {
		return 0, errChunkSize
	}
	digits, rest := line[:len(line)-1], []byte(nil)
	if i := bytes.IndexAny(digits, " \t;"); i >= 0 {
		digits, rest = digits[:i], bytes.TrimLeft(digits[i:], " \t")
	}
	size, err := strconv.ParseUint(string(digits), 16, 60)
	if err != nil || len(digits) > 15 || len(rest) > 0 && rest[0] != ';' || !IsValue(string(rest)) {
		return 0, errChunkSize
	}
	return int64(size), nil
}

// MayTrail reports whether a field, by its canonical name, may be in a trailer section: nothing that frames or routes
// the message, or that its reader had to know at the beginning (RFC 9110, section 6.5.1).
func MayTrail(name string) bool {
	switch name {
	case "Transfer-Encoding", "Content-Length", "Host", "Trailer", "Connection", "Keep-Alive", "Te", "Upgrade",
		"Proxy-Connection", "Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Www-Authenticate", "Cookie",
		"Set-Cookie", "Content-Encoding", "Content-Type", "Content-Range", "Cache-Control", "Pragma", "Age", "Expires",
		"Date", "Vary", "Location", "Retry-After", "Expect", "Range", "Max-Forwards", "If-Match", "If-None-Match",
		"If-Modified-Since", "If-Unmodified-Since", "If-Range", "Accept-Encoding", "User-Agent":
		return false
	}
	return true
}

// unexpected is for a connection that ends where more must come.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendChunkSize appends the line that begins a chunk of n bytes, which "\r\n" has to follow.
func AppendChunkSize(b []byte, n int) []byte {
	return append(strconv.AppendUint(b, uint64(n), 16), "\r\n"...)
}

// appendLastChunk appends the end of a chunked body, with the fields of its trailer section.
func appendLastChunk(b []byte, trailer http.Header) (_ []byte, err error) {
	b = append(b, "0\r\n"...)
	for name, values := range trailer {
		for _, v := range values {
			if b, err = AppendField(b, name, v); err != nil {
				return b, err
			}
		}
	}
	return append(b, "\r\n"...), nil
}
