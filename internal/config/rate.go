package config

// Rate is a token bucket.
type Rate struct {
	// PerSecond is how many calls a second in the long run.
	PerSecond float64 `yaml:"perSecond" jsonschema:"required"`
	// Burst is how many at once. Default: perSecond rounded up.
	Burst int `yaml:"burst"`
	// Scope says whose the rate is: of each replica by itself, or, with cluster, one
	// for all replicas, counted in Redis; each goes on with its share while Redis is
	// away. Default replica.
	Scope RateScope `yaml:"scope"`
}

// RateScope says who spends a rate together.
type RateScope string

// The scopes of rates.
const (
	// ReplicaRate is a rate that each replica has for itself.
	ReplicaRate RateScope = "replica"
	// ClusterRate is one rate for all replicas.
	ClusterRate RateScope = "cluster"
)

func (RateScope) words() []string { return []string{"replica", "cluster"} }

// rate completes and checks a rate. Of an enterprise's, the name in Redis would tell
// which enterprises are active, were it not made with an encryption key.
func (d *decoder) rate(at string, r *Rate, redis rateStore, enterprise bool) {
	if r == nil {
		return
	}
	if message := r.complete(d.given(at + ".burst")); message != "" && d.given(at+".perSecond") {
		d.fail(at, "%s", message)
	}
	switch {
	case r.Scope != ClusterRate:
	case !redis.there:
		d.fail(at+".scope", "a rate for all replicas needs redis.url")
	case enterprise && !redis.sealed:
		d.fail(at+".scope", "a rate of an enterprise for all replicas needs redis.encryptionKeys: nothing in Redis may "+
			"show which enterprises are active")
	}
}

// rateStore is what of Redis a rate for all replicas depends on.
type rateStore struct{ there, sealed bool }

func (k *check) rateStore() rateStore {
	return rateStore{
		there:  k.c.Redis.URL != "" || k.given("redis.url"),
		sealed: len(k.c.Redis.EncryptionKeys) > 0 || k.given("redis.encryptionKeys"),
	}
}

// complete fills in what is not given and says what is wrong.
func (r *Rate) complete(burstGiven bool) string {
	if r.Scope == "" {
		r.Scope = ReplicaRate
	}
	if r.PerSecond <= 0 || r.PerSecond > 1e6 {
		return "perSecond has to be more than 0 and at most 1000000"
	}
	if !burstGiven {
		r.Burst = int(r.PerSecond)
		if float64(r.Burst) < r.PerSecond {
			r.Burst++
		}
	}
	if r.Burst < 1 {
		return "burst has to be at least 1"
	}
	return ""
}
