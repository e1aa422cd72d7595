package config

import "math"

// Rate is a token bucket.
type Rate struct {
	// PerSecond is how many calls a second in the long run.
	PerSecond float64 `yaml:"perSecond" jsonschema:"required" above:"0" most:"1000000"`
	// Burst is how many at once. Default: perSecond rounded up.
	Burst int `yaml:"burst" least:"1"`
	// Scope says whose the rate is: of each replica by itself, or, with cluster, one for all
	// replicas, counted in Redis; each goes on with its share while Redis is away.
	Scope RateScope `yaml:"scope" default:"replica"`
}

// check completes a rate and checks that Redis can hold it, if it is one for all replicas. Of
// an enterprise's, the name in Redis would tell which enterprises are active, were it not made
// with an encryption key.
func (r *Rate) check(k *check, d *decoder, at string, enterprise bool) {
	if r == nil {
		return
	}
	if !d.given(at + ".burst") {
		r.Burst = int(math.Ceil(r.PerSecond))
	}
	switch {
	case r.Scope != ClusterRate:
	case !k.given("redis.url"):
		d.fail(at+".scope", "a rate for all replicas needs redis.url")
	case enterprise && !k.given("redis.encryptionKeys"):
		d.fail(at+".scope", "a rate of an enterprise for all replicas needs redis.encryptionKeys: nothing in Redis may "+
			"show which enterprises are active")
	}
}
