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
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/memory"
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

// Round is one request of a caller to all providers.
type Round struct {
	// ID names the caller's request in the logs.
	ID string
	// Providers are those that are active, with those that cannot be called now.
	Providers []Provider
	Asker     Asker
	// Timeout bounds the asking of all providers for one answer. What has come by then
	// is answered, and what has not is named.
	Timeout time.Duration
	// Memory is what may be held for the request.
	Memory *memory.Account
	Now    func() time.Time
}

// Result is what all answers have in common.
type Result struct {
	// Asked counts the providers that were asked; Missing are those of which the answer
	// lacks something, by id.
	Asked   int
	Missing []*Missing
	// Body is the answer, as JSON; Next is the URL of the next page, empty if there is none.
	Body []byte
	Next string
}

// begin sorts out who is asked, in the order of the ids.
func (r *Round) begin() (asked []Provider, result *Result) {
	result = new(Result)
	for _, p := range r.Providers {
		if p.Refusal != nil {
			result.Missing = append(result.Missing, r.notAsked(p))
			continue
		}
		asked = append(asked, p)
	}
	slices.SortFunc(asked, func(a, b Provider) int { return strings.Compare(a.ID, b.ID) })
	result.Asked = len(asked)
	return asked, result
}

// get asks a provider for something. It gives its answer, or what is missing without one.
func (r *Round) get(ctx context.Context, provider, path, query string) (*Answer, *Missing) {
	a, err := r.Asker.Ask(ctx, &Request{Provider: provider, Method: http.MethodGet, Path: path, Query: query})
	if err != nil {
		return nil, r.failed(provider, err)
	}
	return a, nil
}

// settle adds who has not answered, and gives the refusal if that leaves no answer to
// give. answered counts those who have something to give.
func (r *Round) settle(result *Result, more []*Missing, answered int, whole bool) error {
	result.Missing = append(result.Missing, more...)
	slices.SortFunc(result.Missing, func(a, b *Missing) int { return strings.Compare(a.Provider, b.Provider) })
	if answered == 0 || whole && len(result.Missing) > 0 {
		return r.refusal(result.Missing, answered > 0)
	}
	return nil
}

// isGone reports whether the caller is not there any more.
func isGone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

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
