package testkit

import (
	"os"
	"testing"
)

// T is a test of the standard library or of rapid.
type T interface {
	Helper()
	Fatal(args ...any)
}

// Must ends the test if there is an error.
func Must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Read gives the content of a file.
func Read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	Must(t, err)
	return string(content)
}

// Write makes a file that its owner alone may read, or gives it another content.
func Write[T string | []byte](t testing.TB, path string, content T) {
	t.Helper()
	Must(t, os.WriteFile(path, []byte(content), 0o600))
}
