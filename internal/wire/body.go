package wire

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// Lengths of a body that are no number.
const (
	Chunked    int64 = -1
	Undeclared int64 = -2 // none in a request, up to the connection's end in an answer
)

// Framing is how the body of a message is told from what follows it.
type Framing struct {
	Length int64 // in bytes, or Chunked or Undeclared
	// Close is set if Content-Length was there beside Transfer-Encoding. The latter holds, but the connection must not
	// be used afterwards (RFC 9112, section 6.1).
	Close bool
}

var (
	errLength = &SyntaxError{text: "malformed Content-Length"}
	errTE10   = &SyntaxError{text: "Transfer-Encoding in an HTTP/1.0 message"}

	// ErrCoding is a Transfer-Encoding other than chunked alone. Servers answer 501.
	ErrCoding error = &SyntaxError{text: "a transfer coding other than chunked"}
)

// ParseFraming reads the fields of h that frame a body (RFC 9112, section 6) and makes them plain: equal repeated
// lengths become one, Content-Length beside Transfer-Encoding goes, as does Transfer-Encoding itself, which is the
// connection's and not the message's. An error means that recipients could disagree where the message ends.
func ParseFraming(h http.Header, http10 bool) (Framing, error) {
	f := Framing{Length: Undeclared}
	lengths, given := h["Content-Length"]
	if given {
		n, err := parseLength(lengths)
		if err != nil {
			return f, err
		}
		f.Length = n
		if len(lengths) > 1 || strings.IndexByte(lengths[0], ',') >= 0 {
			h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
		}
	}
	codings, coded := h["Transfer-Encoding"]
	switch {
	case !coded:
		return f, nil
	case http10:
		return f, errTE10
	case len(codings) != 1 || !equalFold(codings[0], "chunked"):
		return f, ErrCoding
	}
	delete(h, "Transfer-Encoding")
	delete(h, "Content-Length")
	return Framing{Length: Chunked, Close: given}, nil
}

// parseLength reads lengths that are all the same (RFC 9110, section 8.6).
func parseLength(values []string) (int64, error) {
	length := int64(-1)
	for _, v := range values {
		for more := true; more; {
			var element string
			element, v, more = strings.Cut(v, ",")
			n, err := strconv.ParseUint(trimBlanks(element), 10, 63) // digits and nothing else
			if err != nil || length >= 0 && int64(n) != length {
				return 0, errLength
			}
			length = int64(n)
		}
	}
	return length, nil
}

// Body reads the body of a message. Errors are a *SyntaxError, io.ErrUnexpectedEOF or the connection's.
type Body struct {
	left   int64 // or Chunked or Undeclared
	chunks chunks
}

// NewBody reads the body that begins at r's next byte. Its length is that of a Framing.
func NewBody(r *Reader, length int64) Body { return Body{length, chunks{r: r}} }

// Read gives the last bytes together with io.EOF, if there is a length or the end is there.
func (b *Body) Read(p []byte) (n int, err error) {
	switch b.left {
	case Chunked:
		return b.chunks.Read(p)
	case Undeclared:
		return b.chunks.r.Read(p)
	case 0:
		return 0, io.EOF
	}
	n, err = b.chunks.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == nil && b.left == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// Trailer adds the fields of the trailer section, after Read has returned io.EOF, to those that were announced. Those
// that RFC 9110, section 6.5.1, lets nobody put there are not among them.
func (b *Body) Trailer(announced http.Header) http.Header {
	if announced == nil {
		return b.chunks.trailer
	}
	maps.Copy(announced, b.chunks.trailer)
	return announced
}

// skip takes out what is left of the body. It is false if that is not known to be buffered.
func (b *Body) skip() bool {
	r := b.chunks.r
	if b.left < 0 || b.left > int64(r.Buffered()) {
		return false
	}
	r.skip(int(b.left))
	return true
}
