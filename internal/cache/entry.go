package cache

import (
	"crypto/sha256"
	"encoding/hex"
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
func (e *Entry) Variant() string {
	sum := sha256.Sum256(e.appendRequest(nil))
	return hex.EncodeToString(sum[:16])
}

// facts are what the header says, read once.
type facts struct {
	cc directives
	// date is when the answer was made, by its own word or else when it came.
	date         time.Time
	initialAge   time.Duration // corrected_initial_age of section 4.2.3
	lifetime     time.Duration // as the answer itself says
	saysLifetime bool
	etag         string // as written, with W/ and quotes; empty if there is none
	lastModified time.Time
	heuristic    bool // its status is one that may be given a lifetime
}

// prepare reads the header. It is called once for each entry, before it is shared.
func (e *Entry) prepare() *Entry {
	h, f := e.Header, &e.facts
	f.cc = parseCacheControl(h["Cache-Control"])
	f.date = e.Received
	if d, ok := httpDate(h.Get("Date")); ok {
		f.date = d
	}
	apparent := min(max(e.Received.Sub(f.date), 0), forever) // sums of it must not overflow
	f.initialAge = max(apparent, ageOf(h.Get("Age"))+max(e.Received.Sub(e.Requested), 0))
	f.etag = etagOf(h)
	if t, ok := httpDate(h.Get("Last-Modified")); ok {
		f.lastModified = t
	}
	f.heuristic = heuristically(e.Status)
	f.lifetime, f.saysLifetime = saidLifetime(&f.cc, h, f.date)
	return e
}

// validator reports whether the entry can be asked about.
func (e *Entry) validator() bool { return e.facts.etag != "" || !e.facts.lastModified.IsZero() }
