package call

import (
	"io"
	"net/http"

	"ebox-gateway/internal/memory"
)

// Watch has end called with the body of an answer when the whole of it has passed to its reader,
// to whom it belongs. A copy is kept meanwhile, and held by account. Of a body of more than most bytes, of one for
// which there is no room, and of one that does not come whole, the bytes are nil, and failed reports whether it was the
// answer's fault, rather than that of a reader who closed it early.
func Watch(answer *http.Response, most int64, account *memory.Account, end func(whole []byte, failed bool)) {
	if answer.ContentLength > most {
		end(nil, true)
		return
	}
	answer.Body = &watched{
		ReadCloser: answer.Body, size: answer.ContentLength, most: int(most), kept: account.Buffer(), end: end,
	}
}

// watched keeps a copy of a body as it passes. It never makes its reader wait.
type watched struct {
	io.ReadCloser
	size int64 // -1 if it is not known
	most int
	kept memory.Buffer
	end  func(whole []byte, failed bool) // nil once it was called
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.end == nil {
		return n, err
	}
	switch kept := b.kept.Append(p[:n], b.most); {
	case !kept, err != nil && err != io.EOF:
		b.finish(nil, true)
	case err == io.EOF, int64(len(b.kept.Bytes())) == b.size:
		b.finish(fitted(b.kept.Bytes()), false)
	}
	return n, err
}

// fitted gives bytes that take little more room than they need, and are not nil.
func fitted(b []byte) []byte {
	if b == nil || cap(b)-len(b) > len(b)/4 {
		return append(make([]byte, 0, len(b)), b...)
	}
	return b
}

// Close implements io.Closer. A body that was not read to its end is no whole one.
func (b *watched) Close() error {
	if b.end != nil {
		b.finish(nil, false)
	}
	return b.ReadCloser.Close()
}

func (b *watched) finish(whole []byte, failed bool) {
	end := b.end
	b.end = nil
	b.kept.Take()
	end(whole, failed)
}
