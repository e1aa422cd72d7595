// Inside, since no file is known that makes the parsers of today panic.

package authn

import (
	"strings"
	"testing"
)

func TestAParserThatPanicsIsADamagedFile(t *testing.T) {
	if err := guarded(func() error { panic("slice bounds") }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatal(err)
	}
}
