// Inside, since what is opened is fuzzed without Redis.

package redisstore

import (
	"bytes"
	"testing"

	"ebox-gateway/internal/testkit"
)

func FuzzOpen(f *testing.F) {
	key, err := newKey("k1", bytes.Repeat([]byte{1}, keySize))
	testkit.Must(f, err)
	sealed, plain := newRing([]Key{key}, "ebox:"), newRing(nil, "ebox:")
	for _, r := range []*ring{sealed, plain} {
		v, err := r.seal(forAnswer, "at", bytes.Repeat([]byte("x"), 300))
		testkit.Must(f, err)
		f.Add(v)
	}
	f.Add([]byte{version, flagCompressed, 0, 0xff})
	f.Fuzz(func(t *testing.T, value []byte) {
		if content, err := plain.open(forAnswer, "at", value); err == nil && len(content) > maxContent {
			t.Fatal("it grew without bound")
		}
		if _, err := sealed.open(forList, "at", value); err == nil {
			t.Fatal("a value that was never sealed for this was opened")
		}
	})
}
