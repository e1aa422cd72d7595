package resilience

import (
	"io"
	"net/http"
	"sync/atomic"
)

// empty reports whether an answer has no body to wait for.
func empty(answer *http.Response) bool {
	return answer.Body == nil || answer.Body == http.NoBody || answer.ContentLength == 0
}

// endedBody tells once how an answer's body ended: with io.EOF or another error, or with nil
// if it was closed before.
type endedBody struct {
	io.ReadCloser
	end   func(error)
	ended atomic.Bool
}

// Read implements io.Reader.
func (b *endedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.ended.CompareAndSwap(false, true) {
		b.end(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *endedBody) Close() error {
	if b.ended.CompareAndSwap(false, true) {
		defer b.end(nil)
	}
	return b.ReadCloser.Close()
}

// uploadBody notes whether the caller's body could not be read: the transport
// returns such an error as if the exchange had failed.
type uploadBody struct {
	io.ReadCloser
	broken atomic.Bool
}

// Read implements io.Reader.
func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.Store(true)
	}
	return n, err
}

// watchUpload returns the request as it is to be sent, and its body, nil if it has none.
func watchUpload(r *http.Request) (*http.Request, *uploadBody) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	body := &uploadBody{ReadCloser: r.Body}
	sent := new(http.Request)
	*sent = *r
	sent.Body = body
	return sent, body
}

// failing reports whether an upstream, or a proxy in front of it, says by a status that it
// cannot serve.
func failing(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable ||
		status == http.StatusGatewayTimeout
}
