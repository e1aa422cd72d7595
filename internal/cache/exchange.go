package cache

import (
	"context"
	"net/http"

	"ebox-gateway/internal/exchange"
)

// Exchange is one request of a caller, with the ways to answer it. It is handed in by
// whoever knows how requests are sent and answers are delivered.
type Exchange interface {
	// Request is the caller's.
	Request() *http.Request
	// Field gives a field of the request as the upstream gets it, in canonical form.
	Field(name string) []string
	// Answer delivers an answer whose body is at hand; resp.Body is not read. extra goes
	// on top of its header. Neither header nor body is changed.
	Answer(resp *http.Response, body []byte, extra *Extra)
	// Forward sends the request and delivers what receive makes of what came back: an
	// answer, or an error. prepare, unless nil, may change the header that is sent.
	Forward(prepare func(http.Header), receive func(*http.Response, error) (*http.Response, error))
	// Again prepares to send the request once more, after the exchange has ended if need
	// be, and not for the caller.
	Again() Again
	// Failing tells whether an error of the way to the upstream is a reason to give what
	// is there instead.
	Failing(err error) bool
	// Note has Cache-Status on the gateway's own answer, should there be one.
	Note(status string)
	// Refuse answers that there is nothing stored (504) to a caller that wants nothing
	// else.
	Refuse()
	// Locate gives the target, as in Task, of a URL reference that the answer to this
	// request holds; false if it leads elsewhere.
	Locate(reference string) (target string, ok bool)
}

// Again is a request that is sent in the background.
type Again struct {
	// Send sends it, once, under a context of its own.
	Send func(ctx context.Context, prepare func(http.Header)) (*http.Response, error)
	// Record is its own record. End is called when all is done and written there.
	Record *exchange.Record
	End    func()
}

// Extra are the fields that an answer from the cache has beside its own.
type Extra struct {
	// Status is the cache's entry in Cache-Status, Age the value of Age; either may be
	// empty.
	Status, Age string
}

// Task is what the cache is to do with an exchange.
type Task struct {
	Partition Partition
	// Target is the escaped path below the upstream's base with its query.
	Target string
	// Policy is how the answers of the target are kept; nil if they are not.
	Policy *Policy
	// Shares says that the route shares answers, of whatever target.
	Shares bool
	// Opening says that the request opens a document: it is never answered from here,
	// and since it marks the document read, it counts as a write.
	Opening bool
}
