package cache

import (
	"crypto/sha256"
	"encoding/binary"

	"ebox-gateway/internal/enterprise"
)

// Partition is whose answers these are. Two requests get each other's answers only if
// all of it is the same.
type Partition struct {
	// Route is the route's name, since routes may keep answers by different rules.
	Route string
	// Upstream is the upstream's base URL.
	Upstream string
	// Client is the OAuth client, Scopes what its token opens; both empty where no
	// token is sent.
	Client, Scopes string
	// Enterprise is the represented enterprise, 0 for none; Own says that the client
	// acts as itself.
	Enterprise enterprise.Number
	Own        bool

	shared bool
}

// SharedByAll gives the partition in which the enterprises of a route share answers.
// It is the only way to a partition without an enterprise of its own, for what a route
// may share: answers that the upstream marks public, or all if the operator says so.
func (p Partition) SharedByAll() Partition {
	p.Enterprise, p.Own, p.shared = 0, false, true
	return p
}

// Key names one resource in one partition. It is made by Partition.Key alone.
type Key struct {
	// id spells the partition and the target so that no two spell the same. It holds
	// them in plain text and stays in memory.
	id     string
	hash   uint64
	scopes [scopeKinds]Scope
	shared bool
}

// Key gives the key of a target, the escaped path below the upstream's base with its
// query. The method is no part of it: HEAD is answered from what GET got.
func (p Partition) Key(target string) Key {
	var buf [512]byte
	b := p.appendID(buf[:0])
	b = append(b, target...)
	k := Key{id: string(b), shared: p.shared}
	k.hash = hash(k.id)
	k.scopes = [...]Scope{p.Scope(), scopeOfResource(k.hash), ScopeOfEnterprise(p.Enterprise), ScopeOfRoute(p.Route), Everything}
	return k
}

// appendID spells the partition: numbers of fixed length, and texts with theirs in
// front.
func (p Partition) appendID(b []byte) []byte {
	var flags byte
	if p.Own {
		flags |= 1
	}
	if p.shared {
		flags |= 2
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Enterprise))
	for _, text := range [...]string{p.Route, p.Upstream, p.Client, p.Scopes} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// Digest is a name of fixed length that shows nothing in plain text. It is the same in
// every replica. A store that others can read should key it once more: the numbers of
// enterprises are few enough to be guessed.
func (k *Key) Digest() [sha256.Size]byte { return sha256.Sum256([]byte(k.id)) }

// Shared tells that what is kept under the key belongs to no enterprise.
func (k *Key) Shared() bool { return k.shared }

// Scopes are the epochs that count for what is kept under the key. All of them are
// counters that only grow, so their sum is the key's Mark.
func (k *Key) Scopes() []Scope { return k.scopes[:] }

// Resource is the scope of the key alone: what is kept under it, all variants.
func (k *Key) Resource() Scope { return scopeOfResource(k.hash) }
