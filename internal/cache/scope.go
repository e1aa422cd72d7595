package cache

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
)

// Scope is the number of an epoch: of everything of one enterprise at one upstream, of
// one resource, one enterprise or one route, or of everything. It is the same in every
// replica and tells nothing: scopes are places in a table of fixed size, so that neither
// memory nor Redis grows with the number of enterprises. Two of them may share a place;
// then an invalidation of one costs the other a miss, and nothing worse.
type Scope uint32

// Places in the table of epochs. Each kind has a stretch of its own, lest a purge of
// everything be a write of somebody's.
const (
	scopeKinds = 5

	tenantScopes     = 1 << 18
	resourceScopes   = 1 << 18
	enterpriseScopes = 1 << 16
	routeScopes      = 1 << 10

	resourceBase   = tenantScopes
	enterpriseBase = resourceBase + resourceScopes
	routeBase      = enterpriseBase + enterpriseScopes

	// Everything is the scope of all entries.
	Everything Scope = routeBase + routeScopes
	// ScopeCount is how many scopes there are: all are below it.
	ScopeCount = int(Everything) + 1
)

// Mark is the sum of the epochs of a key's scopes. It is the same only as long as
// none of them was bumped.
type Mark uint64

// ScopeOfEnterprise is everything of one enterprise, at all upstreams.
func ScopeOfEnterprise(n enterprise.Number) Scope {
	return enterpriseBase + Scope(mix(uint64(n))%enterpriseScopes)
}

// ScopeOfRoute is everything that a route keeps, of all enterprises.
func ScopeOfRoute(name string) Scope {
	return routeBase + Scope(hash([]byte(name))%routeScopes)
}

func scopeOfResource(hash uint64) Scope { return resourceBase + Scope(hash%resourceScopes) }

// scopeOf is everything of the partition's enterprise at its upstream, whatever the
// client, the scopes and the route. A shared partition has one of its own.
func scopeOf(p *call.Partition) Scope {
	who := uint64(p.Enterprise)
	if p.Own {
		who |= 1 << 40
	}
	if p.Shared() {
		who |= 1 << 41
	}
	var buf [128]byte // so that nothing is allocated
	return Scope(mix(who^hash(append(buf[:0], p.Upstream...))) % tenantScopes)
}

// hash is the same in every process and in every version of the gateway that shares a
// store. It need not withstand an adversary: what collides shares an epoch, no entry.
func hash(s []byte) uint64 {
	const a, b = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	h := uint64(len(s)) ^ a
	for ; len(s) >= 8; s = s[8:] {
		h = fold(h^binary.LittleEndian.Uint64(s), b)
	}
	var last [8]byte
	copy(last[:], s)
	return mix(fold(h^binary.LittleEndian.Uint64(last[:]), b))
}

func fold(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// mix spreads the bits of a number (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// epochs are the counters of this process. They begin anew with it, as its memory does.
type epochs [ScopeCount]atomic.Uint32

func (e *epochs) mark(k *Key) (m Mark) {
	for _, s := range k.scopes {
		m += Mark(e[s].Load())
	}
	return m
}

func (e *epochs) bump(s Scope) {
	if int(s) < ScopeCount { // another replica may say anything
		e[s].Add(1)
	}
}
