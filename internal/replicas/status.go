package replicas

import (
	"cmp"
	"time"
)

// Status is what the platform team may know of Redis. It holds no secret.
type Status struct {
	Kind  string   `json:"kind"`
	Hosts []string `json:"hosts"`
	// Encrypted says that encryption keys are set, Keys their ids; the first seals.
	Encrypted bool     `json:"encrypted"`
	Keys      []string `json:"keys,omitempty"`
	// State is one of the State… constants, Reason why it is not StateUp, since Since.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Subscribed says that the other replicas' invalidations are heard.
	Subscribed bool `json:"subscribed"`
	// Untold counts invalidations that the other replicas have not been told yet.
	Untold int `json:"untold"`
	// Replicas counts the replicas that share rates, this one included; Apart those of
	// them that have left without a word, or do not reach Redis.
	Replicas int `json:"replicas,omitempty"`
	Apart    int `json:"apart,omitempty"`
	// Opened counts how often Redis had to be left alone, Unreadable the values that
	// could not be opened.
	Opened     uint64 `json:"opened"`
	Unreadable uint64 `json:"unreadable"`
}

// States of Redis.
const (
	// StateUp is Redis as it should be.
	StateUp = "up"
	// StateTroubled is Redis that answers, but not as it should.
	StateTroubled = "troubled"
	// StateAway is Redis that is left alone until it is well.
	StateAway = "away"
)

// Status tells how Redis is doing.
func (r *Redis) Status() Status {
	s := Status{
		Kind: r.address.Kind.String(), Hosts: r.address.Hosts, Encrypted: r.Sealed(), State: StateUp,
		Subscribed: r.heard.Load(), Untold: len(r.outbox.list()), Opened: r.circuit.opened.Load(),
		Unreadable: r.unreadable.Load(),
	}
	for _, k := range r.ring.keys {
		s.Keys = append(s.Keys, k.id)
	}
	if last := r.members.last.Load(); last != nil {
		s.Replicas, s.Apart = last.known, last.apart
	}
	if t := cmp.Or(r.circuit.trouble.Load(), r.deaf.Load()); t != nil {
		s.State, s.Reason, s.Since = StateTroubled, t.Reason, t.Since
		if t.Away {
			s.State = StateAway
		}
	}
	return s
}

// unreadableValue notes a value that could not be opened. It is trouble until the next
// probe: somebody has written there who should not, or keys differ.
func (r *Redis) unreadableValue(err error) {
	r.unreadable.Add(1)
	r.circuit.note(err, false)
}
