package replicas

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// A circuit that opened in one replica is told to the others as a hint. It takes a
// channel of its own beside the invalidations, of which none may be missed: a hint that
// is lost, or cannot be read, is not there.

// Circuit tells that the circuit of an upstream has opened in some replica.
type Circuit struct {
	Upstream UpstreamID
	// Open is for how long it has opened.
	Open time.Duration
}

// UpstreamID is what replicas call an upstream among themselves.
type UpstreamID [16]byte

// IdentifyUpstream gives the id of an upstream by its name and base URL, which are the
// same in replicas of the same configuration.
func IdentifyUpstream(name, base string) (id UpstreamID) {
	sum := sha256.Sum256([]byte("upstream\x00" + name + "\x00" + base))
	copy(id[:], sum[:])
	return id
}

const (
	// longestHint bounds for how long a hint is believed.
	longestHint = 5 * time.Minute
	// unpublished are how many hints wait to be told; more are dropped.
	unpublished = 64
)

// Warn tells the other replicas of a circuit that has opened here. It does not wait.
func (r *Redis) Warn(c Circuit) {
	select {
	case r.warnings <- c:
	default:
	}
}

// Heed has the circuits that other replicas warn of told to f, from Run on.
func (r *Redis) Heed(f func(Circuit)) {
	r.earsMu.Lock()
	defer r.earsMu.Unlock()
	r.heeding = append(r.heeding, f)
}

// warning publishes what Warn was told, until ctx is done.
func (r *Redis) warning(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-r.warnings:
			content := append(r.self[:len(r.self):len(r.self)], c.Upstream[:]...)
			content = binary.BigEndian.AppendUint32(content, uint32(min(c.Open, longestHint).Milliseconds()))
			message, err := r.ring.seal(forCircuit, r.circuits, content)
			if err != nil {
				continue // no randomness: everything else says so
			}
			_ = r.attempt(ctx, false, saving*r.patience, func(ctx context.Context) error {
				return r.client.Publish(ctx, r.circuits, message).Err()
			})
		}
	}
}

// heed tells what another replica has warned of.
func (r *Redis) heed(message []byte) {
	const size = 8 + 16 + 4
	content, err := r.ring.open(forCircuit, r.circuits, message)
	if err == nil && len(content) != size {
		err = errGarbage
	}
	if err != nil {
		r.unreadableValue(err)
		return
	}
	if [8]byte(content) == r.self {
		return
	}
	c := Circuit{Upstream: UpstreamID(content[8:24]),
		Open: min(time.Duration(binary.BigEndian.Uint32(content[24:]))*time.Millisecond, longestHint)}
	r.earsMu.Lock()
	heeding := r.heeding
	r.earsMu.Unlock()
	for _, f := range heeding {
		f(c)
	}
}
