package call_test

import (
	"ebox-gateway/internal/call"
	"testing"

	"github.com/google/uuid"
)

func TestNewIDIsAUUIDOfVersion4(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := call.NewID()
		parsed, err := uuid.Parse(id)
		if err != nil || parsed.Version() != 4 || parsed.Variant() != uuid.RFC4122 || parsed.String() != id {
			t.Fatalf("%q: %v, version %v, variant %v", id, err, parsed.Version(), parsed.Variant())
		}
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
}
