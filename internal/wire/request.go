package wire

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// appendHead appends the head of a request and says how its body is framed: its length, or Chunked. With a nil body
// it is 0.
func (x *exchange) appendHead(b []byte, r *http.Request, p *pool) (_ []byte, length int64, err error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	if !IsToken(method) || method == http.MethodConnect {
		return b, 0, fmt.Errorf("%w: bad method", errRequest)
	}
	b = append(b, method...)
	b = append(b, ' ')
	if p.absolute {
		b = append(append(append(b, p.scheme...), "://"...), p.hostField...)
	}
	target := len(b)
	if r.URL.Opaque != "" {
		b = append(b, r.URL.RequestURI()...)
	} else {
		if path := r.URL.EscapedPath(); path == "" || path[0] != '/' {
			b = append(append(b, '/'), path...)
		} else {
			b = append(b, path...)
		}
		if r.URL.ForceQuery || r.URL.RawQuery != "" {
			b = append(append(b, '?'), r.URL.RawQuery...)
		}
	}
	for _, c := range b[target:] {
		if c <= ' ' || c == 0x7f {
			return b, 0, fmt.Errorf("%w: a blank or control character in its URL", errRequest)
		}
	}
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", p.hostField)

	length = r.ContentLength
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		length = 0
	case length <= 0:
		length = Chunked
	}
	switch {
	case length == Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			if b, err = AppendField(b, "Trailer", name); err != nil || !IsToken(name) ||
				!MayTrail(http.CanonicalHeaderKey(name)) {
				return b, 0, fmt.Errorf("%w: bad trailer name", errRequest)
			}
		}
	case length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, length, 10), "\r\n"...)
	}
	if r.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	if p.proxyAuth != "" {
		b = appendField(b, "Proxy-Authorization", p.proxyAuth)
	}
	if x.Authorization != "" {
		if !IsValue(x.Authorization) {
			return b, 0, fmt.Errorf("%w: bad value of a field", errRequest)
		}
		b = appendField(b, "Authorization", x.Authorization)
	}
	for name, values := range r.Header {
		switch {
		case equalFold(name, "host"), equalFold(name, "content-length"), equalFold(name, "transfer-encoding"),
			equalFold(name, "trailer"), equalFold(name, "authorization") && x.Authorization != "",
			// net/http's way to say that there is none.
			equalFold(name, "user-agent") && len(values) == 1 && values[0] == "":
			continue
		case equalFold(name, "expect"):
			x.expects = length != 0 && HasToken(values, "100-continue")
		case equalFold(name, "belgov-trace-id") && len(values) == 1:
			x.traceID = strings.ToLower(values[0])
		}
		if !IsToken(name) {
			return b, 0, fmt.Errorf("%w: bad field name", errRequest)
		}
		for _, v := range values {
			if !IsValue(v) {
				return b, 0, fmt.Errorf("%w: bad value of a field", errRequest)
			}
			b = appendField(b, name, v)
		}
	}
	return append(b, "\r\n"...), length, nil
}

// appendBody appends a body of a known length.
func appendBody(b []byte, body io.Reader, length int64) ([]byte, error) {
	at := len(b)
	b = b[:at+int(length)]
	if n, err := io.ReadFull(body, b[at:]); err != nil {
		return b[:at+n], short(err)
	}
	return b, atEnd(body)
}

// atEnd reads the end of a body whose last byte should have come.
func atEnd(body io.Reader) error {
	var one [1]byte
	for range 100 {
		switch n, err := body.Read(one[:]); {
		case n > 0:
			return errBodyLong
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errBodyShort
	}
	return err
}
