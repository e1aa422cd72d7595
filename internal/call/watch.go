package call

import (
	"errors"
	"io"
	"net/http"
)

// Watch has found called with the body of an answer when the whole of it has passed to
// its reader. It is not called for a body of more than most bytes, nor for one that is cut
// short. What found is given belongs to it.
func Watch(answer *http.Response, most int, found func([]byte)) {
	if answer.ContentLength <= int64(most) {
		answer.Body = &watched{ReadCloser: answer.Body, size: answer.ContentLength, most: most, found: found}
	}
}

// watched keeps a short body as it passes.
type watched struct {
	io.ReadCloser
	text  []byte
	size  int64 // -1 if it is not known
	most  int
	found func([]byte) // nil when there is nothing more to wait for
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.found == nil {
		return n, err
	}
	b.text = append(b.text, p[:n]...)
	switch {
	case len(b.text) > b.most, err != nil && !errors.Is(err, io.EOF):
		b.found, b.text = nil, nil
	case err != nil || int64(len(b.text)) == b.size:
		b.found(b.text)
		b.found, b.text = nil, nil
	}
	return n, err
}
