package call

import (
	"context"
	"io"
	"net/http"
)

// Answer is what the caller gets of an upstream: an answer that has just come, one that
// was kept, or one that was kept and that the upstream has confirmed.
type Answer struct {
	Status int
	// Header is the upstream's own and may belong to an answer that is kept: nobody
	// changes it. Cache and Age, unless empty, go on top of it, as this gateway's member of
	// Cache-Status and as Age.
	Header     http.Header
	Cache, Age string
	// ProtoMajor and ProtoMinor are the version in which the answer came, for Via.
	ProtoMajor, ProtoMinor int

	// Body is the body as it comes, nil for none. Length is how many bytes it has, -1 if that
	// is not known. The body must be closed.
	Body   io.ReadCloser
	Length int64
	// Trailer is filled when Body has ended.
	Trailer http.Header
}

// AnswerOf makes an Answer of what has just come.
func AnswerOf(resp *http.Response) *Answer {
	return &Answer{
		Status: resp.StatusCode, Header: resp.Header, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Body: resp.Body, Length: resp.ContentLength, Trailer: resp.Trailer,
	}
}

// Close closes the body.
func (a *Answer) Close() {
	if a.Body != nil {
		_ = a.Body.Close()
	}
}

// Question is how the cache has a call sent otherwise than its caller wrote it: to ask
// whether what is kept still holds, or for the whole in place of a part.
type Question struct {
	// IfNoneMatch and IfModifiedSince are the conditions that go in place of the
	// caller's; nil for none. Range and If-Range are left out.
	IfNoneMatch, IfModifiedSince []string
}

// Apply writes the question into the header that is about to be sent. A nil Question is
// none.
func (q *Question) Apply(h http.Header) {
	if q == nil {
		return
	}
	for name, values := range map[string][]string{
		"Range": nil, "If-Range": nil, "If-None-Match": q.IfNoneMatch, "If-Modified-Since": q.IfModifiedSince,
	} {
		delete(h, name)
		if values != nil {
			h[name] = values
		}
	}
}

// Send sends a call, as a question if that is not nil, and gives what came back.
type Send func(ctx context.Context, c *Call, q *Question) (*http.Response, error)
