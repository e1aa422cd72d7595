package cache

import (
	"net/http"
	"time"
)

// Entry is one stored answer, whole. Nobody changes it once it is stored; what a
// validation brings makes a new one.
type Entry struct {
	// Status, Header and Body are the upstream's own. The header holds nothing that
	// is hop-by-hop.
	Status int
	Header http.Header
	Body   []byte
	// ProtoMajor and ProtoMinor are the version in which the answer came, for Via.
	ProtoMajor, ProtoMinor int
	// Requested is when the request was sent, Received when the answer's header had
	// come (RFC 9111, section 4.2.3).
	Requested, Received time.Time
	// Selecting are the request's fields that the answer's Vary names, normalised.
	Selecting []Selecting

	facts facts
	mark  Mark // the epochs of this process under which its request began
}

// Selecting is one field of a request that selects a variant.
type Selecting struct {
	// Name is in canonical form; Value is normalised, Absent if there was none.
	Name, Value string
	Absent      bool
}

// Variant names the variant among those of its key, by a digest in hexadecimal.
func (e *Entry) Variant() string { panic("being written") }

// MarshalBinary implements encoding.BinaryMarshaler.
func (e *Entry) MarshalBinary() ([]byte, error) { panic("being written") }

// UnmarshalBinary implements encoding.BinaryUnmarshaler. It takes only what this
// version of the gateway has written; anything else is an error.
func (e *Entry) UnmarshalBinary(b []byte) error { panic("being written") }

type facts struct{}
