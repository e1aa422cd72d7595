package cache

import (
	"crypto/sha256"
	"encoding/binary"

	"ebox-gateway/internal/call"
)

// Key names one resource in one partition. It is made by KeyOf alone, from a
// partition, which has the represented enterprise in it.
type Key struct {
	id     digest
	scopes [scopeKinds]Scope
	shared bool
}

// KeyOf gives the key of a target, the escaped path below the upstream's base with its
// query, in a partition. The method is no part of it: HEAD is answered from what GET got.
func KeyOf(p call.Partition, target string) Key {
	var buf [512]byte
	b := append(appendPartition(buf[:0], &p), target...)
	return Key{
		id: sha256.Sum256(b), shared: p.Shared(),
		scopes: [...]Scope{
			scopeOf(&p), scopeOfResource(hash(b)), ScopeOfEnterprise(p.Enterprise), ScopeOfRoute(p.Route), Everything,
		},
	}
}

// appendPartition spells the partition so that no two spell the same, whatever follows:
// numbers of fixed length, and texts with theirs in front.
func appendPartition(b []byte, p *call.Partition) []byte {
	var flags byte
	if p.Own {
		flags |= 1
	}
	if p.Shared() {
		flags |= 2
	}
	b = binary.BigEndian.AppendUint32(append(b, flags), uint32(p.Enterprise))
	for _, text := range [...]string{p.Route, p.Upstream, p.Client, p.Scopes} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// Digest is a name of fixed length that shows nothing in plain text. It is the same in
// every replica. A store that others can read should key it once more: the numbers of
// enterprises are few enough to be guessed.
func (k *Key) Digest() [sha256.Size]byte { return k.id }

// Shared reports whether what is kept under the key belongs to no enterprise.
func (k *Key) Shared() bool { return k.shared }

// Scopes are the epochs that count for what is kept under the key. All of them are
// counters that only grow, so their sum is the key's Mark.
func (k *Key) Scopes() []Scope { return k.scopes[:] }

// Resource is the scope of the key alone: what is kept under it, all variants.
func (k *Key) Resource() Scope { return k.scopes[1] }
