package wire

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// ErrTooLong is a body that has more bytes than its reader takes.
var ErrTooLong = errors.New("it is longer than the limit")

// ErrContentCoding is a body in a coding that is not known here, or not in the one that it claims. The coding's name is
// the upstream's and not in the text.
var ErrContentCoding = errors.New("its Content-Encoding is unknown or wrong; only gzip and deflate are known")

// Coded gives the content coding of a message, in lower case, "" if there is none. Servers are known to write
// "identity", "none" or the name of a character set there, which are no codings. Several are given as they stand.
func Coded(h http.Header) string {
	var codings []string
	for coding := range Elements(h["Content-Encoding"]) {
		switch coding = strings.ToLower(coding); {
		case coding == "identity", coding == "none", coding == "binary", strings.HasPrefix(coding, "utf"),
			strings.HasPrefix(coding, "iso-8859"), strings.HasPrefix(coding, "windows-"),
			coding == "us-ascii", coding == "ascii", coding == "latin1":
		default:
			codings = append(codings, strings.TrimPrefix(coding, "x-"))
		}
	}
	return strings.Join(codings, ",")
}

// Plain gives a body with gzip or deflate (RFC 9110, section 8.4.1) undone, as it comes. Other codings are refused.
func Plain(h http.Header, body io.Reader) (io.Reader, error) {
	coding := Coded(h)
	var plain io.Reader
	var err error
	switch coding {
	case "":
		return body, nil
	case "gzip":
		plain, err = gzip.NewReader(body)
	case "deflate":
		// Defined as zlib's format; some servers send the bare stream.
		in := bufio.NewReader(body)
		begun, _ := in.Peek(2) // an error comes again
		if len(begun) == 2 && begun[0]&0x0f == 8 && (int(begun[0])<<8|int(begun[1]))%31 == 0 {
			plain, err = zlib.NewReader(in)
		} else {
			plain = flate.NewReader(in)
		}
	default:
		return nil, ErrContentCoding
	}
	switch {
	case errors.Is(err, gzip.ErrHeader):
		return nil, ErrContentCoding
	case err != nil:
		return nil, fmt.Errorf("reading its %s: %w", coding, err)
	}
	return plain, nil
}

// Uncoded reads the JSON of an answer whole: at most limit bytes, as Plain gives them, and without a byte order mark,
// which RFC 8259, section 8.1, lets a reader ignore. ErrTooLong is what has more bytes, coded or not.
func Uncoded(h http.Header, body io.Reader, limit int64) ([]byte, error) {
	plain, err := Plain(h, io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(plain, limit+1))
	switch {
	case int64(len(text)) > limit:
		return nil, ErrTooLong
	case err != nil:
		return nil, err
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}
