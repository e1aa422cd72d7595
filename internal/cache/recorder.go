package cache

import (
	"io"

	held "ebox-gateway/internal/memory" // the package has a type of that name
)

// recorder is a body on its way to the caller, of which a copy is kept. It never makes
// the caller wait, and it keeps nothing but a whole: what ends early, or is larger than
// it may be, is forgotten.
type recorder struct {
	io.ReadCloser
	limit int64
	copy  []byte
	// memory is what may be held for the request: what has no room there is not kept.
	memory *held.Account
	// end is told once how it ended: with the whole body, or with nil and whether the
	// upstream is to blame.
	end func(whole []byte, failed bool)
}

func newRecorder(body io.ReadCloser, limit int64, account *held.Account, end func([]byte, bool)) *recorder {
	return &recorder{ReadCloser: body, limit: limit, memory: account, end: end}
}

// Read implements io.Reader.
func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.end == nil {
		return n, err
	}
	if int64(len(r.copy)+n) > r.limit || !r.grow(n) {
		r.finish(nil, true)
		return n, err
	}
	r.copy = append(r.copy, p[:n]...)
	switch {
	case err == io.EOF:
		if cap(r.copy)-len(r.copy) > len(r.copy)/4 {
			r.copy = append(make([]byte, 0, len(r.copy)), r.copy...)
		}
		whole := r.copy
		if whole == nil {
			whole = []byte{}
		}
		r.finish(whole, false)
	case err != nil:
		r.finish(nil, true)
	}
	return n, err
}

// grow makes room for n more bytes.
func (r *recorder) grow(n int) bool {
	need := len(r.copy) + n
	if need <= cap(r.copy) {
		return true
	}
	size := max(need, min(2*cap(r.copy), int(r.limit)))
	if !r.memory.Hold(int64(size - cap(r.copy))) {
		return false
	}
	r.copy = append(make([]byte, 0, size), r.copy...)
	return true
}

// Close implements io.Closer. A body that was not read to its end is no whole one.
func (r *recorder) Close() error {
	if r.end != nil {
		r.finish(nil, false)
	}
	return r.ReadCloser.Close()
}

func (r *recorder) finish(whole []byte, failed bool) {
	end := r.end
	r.memory.Give(int64(cap(r.copy))) // from here on it is the cache's
	r.end, r.copy = nil, nil
	end(whole, failed)
}
