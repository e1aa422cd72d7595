// Package inbox makes one e-Box of many: it asks every Document Provider for what an
// enterprise has there and answers with one list, as if there were one provider.
//
// A list is merged page by page. Each provider gives its messages newest first, so the
// newest of what is left is always at the head of one of them, and no more is read of
// a provider than the page at hand takes. Providers differ: in how many messages a
// page of theirs may hold, in whether they count them, in the version of the API
// (Message Registry 2.x and 3.x); one that cannot keep to its own API is named with a
// problem and spoils nothing for the others.
//
// What is missing is never hidden: it stands in the answer (RFC 9457), in the header
// X-EBox-Incomplete (RFC 9651), and makes it a refusal for who wants all or nothing.
//
// How a provider is asked is none of this package's business: an Asker does it, with
// whatever a call needs of tokens, limits and caches. Links are HAL, dates RFC 3339,
// changes RFC 7396.
package inbox

import (
	"context"
	"io"
	"sync"
	"time"

	"ebox-gateway/internal/problem"
)

// The paths below a provider's base URL, and below the gateway's own.
const (
	SummaryPath  = "/ebox"
	MessagesPath = "/ebox/messages"
)

// Provider is a Document Provider that an e-Box is made of.
type Provider struct {
	ID string
	// Refusal is why it is not asked, nil if it is; Reason the same as a token.
	Refusal *problem.Problem
	Reason  string
}

// Request is what one provider is asked.
type Request struct {
	Provider string
	// Method is GET or PATCH, Path one of the paths above, Query the raw query.
	Method, Path, Query string
	// ContentType and Body are those of a PATCH.
	ContentType []string
	Body        []byte
}

// Answer is what came back: the provider's own answer, or the gateway's word that
// there is none. Its links lead through the gateway.
type Answer struct {
	// ID names the call in the logs.
	ID     string
	Status int
	// ContentType and RetryAfter are header fields, empty if there are none.
	ContentType, RetryAfter string
	// Reason says as a token why the gateway has no answer of the provider; empty if
	// it has one.
	Reason string
	// Body is read by one goroutine and must be closed. What it returns at an answer
	// that was cut short is not io.EOF.
	Body io.ReadCloser
}

// Asker sends a request to a provider, as every other call of the same caller is
// sent. It is used by several goroutines. It waits for the header of the answer and
// no longer than ctx; an error is a problem.Reporter.
type Asker interface {
	Ask(ctx context.Context, r *Request) (*Answer, error)
}

// Options are what an Inbox needs.
type Options struct {
	// Timeout bounds the asking of all providers for one answer. What has come by then
	// is answered, and what has not is named.
	Timeout time.Duration
	Now     func() time.Time
}

// Inbox answers for all providers at once. It is immutable and safe for concurrent
// use.
type Inbox struct{ o Options }

// New makes an Inbox.
func New(o Options) *Inbox { return &Inbox{o: o} }

// each does something for every index from 0 to n-1, all at once, and returns when all
// is done. A panic ends the caller's goroutine rather than the program.
func each(n int, do func(int)) {
	var wg sync.WaitGroup
	var once sync.Once
	var fault any
	for i := range n {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					once.Do(func() { fault = v })
				}
			}()
			do(i)
		})
	}
	wg.Wait()
	if fault != nil {
		panic(fault)
	}
}
