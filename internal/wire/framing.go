package wire

import (
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
