// Package needs finds the programs that tests start. Without one a test is left out, but
// not under the test command: that installs them all, and says so by a variable.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// variable is the environment variable with which a program that is missing fails its test.
const variable = "EBOX_TEST_PROGRAMS"

// Program gives the path of a program, by the first of its names that there is. packaged is
// what Debian calls the package that has it.
func Program(t testing.TB, packaged string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, "%s is not on this machine: apt-get install %s", names[0], packaged)
	return ""
}

// Missing leaves the test out for want of what the text names; under the test command it fails it.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(variable) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
