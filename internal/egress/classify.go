package egress

// Failure is what went wrong between the gateway and an upstream.
type Failure struct {
	// Kind is the error type of RFC 9209, one of the problem.Proxy… constants.
	Kind string
	// Timeout is true if time ran out: a 504 instead of a 502.
	Timeout bool
	// Sent is true if the upstream could have seen the request. It is false only
	// if that is certain: no connection came about.
	Sent bool
	// Cancelled is true if the request's own context was cancelled: the caller
	// went away, and the upstream is not to blame.
	Cancelled bool
	// Proxy is true if the failing part was the egress proxy.
	Proxy bool
}

// Classify says what an error of Transport.RoundTrip, or of reading the body of
// its answer, is.
func Classify(err error) Failure { return Failure{} }
