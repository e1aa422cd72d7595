// Package leaks looks for goroutines that the tests of a package have left.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package from its TestMain. It fails if goroutines are left of them, for whose
// end it waits a minute: on a busy machine a goroutine that has nothing more to do may not have run yet.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		err := goleak.Find()
		for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left of the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}
