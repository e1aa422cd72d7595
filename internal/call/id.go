package call

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/google/uuid"
)

// NewID returns a random UUID (RFC 9562, version 4). The bits come from the
// runtime's ChaCha8 generator: unpredictable enough for a name, at a twentieth
// of the cost of a system call, and not meant for a secret.
func NewID() string {
	var id uuid.UUID
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id.String()
}
