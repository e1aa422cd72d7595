package wire

import (
	"io"
	"maps"
	"net/http"
)

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
