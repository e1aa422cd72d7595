package config

// callerCredentials checks that a caller's own credentials go nowhere but to an upstream
// of the operator's own: never beside a token of the gateway's, never to a system of the
// e-Box, and not for an enterprise, which such an upstream knows nothing of.
func (k *check) callerCredentials(at string, r *Route) {
	if !r.CallerCredentials {
		return
	}
	at += ".callerCredentials"
	switch {
	case r.Kind != KindPlain || r.Registry:
		k.fail(at, "only a route of kind plain, to an upstream of your own, can pass them on: leave it false")
	case len(r.Scopes)+len(r.Rules) > 0 || r.Client != "":
		k.fail(at, "this route sends a token of the gateway's, and a call has one credential: leave it false, or write "+
			"scopes: [] and no rules or client")
	case r.Enterprise != None:
		k.fail(at, "an upstream that knows its callers itself is not told of enterprises: write enterprise: "+
			"none, or leave it false")
	}
}
