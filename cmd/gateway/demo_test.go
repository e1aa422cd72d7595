package main

import "testing"

// Whoever tries the demo as the README says has no command of that name.
func TestTheDemoSaysHowToCallItAgain(t *testing.T) {
	for name, want := range map[string]string{
		"/tmp/go-build1296/b001/exe/gateway": "go run ./cmd/gateway",
		"./gateway":                          "./gateway",
		"/usr/local/bin/gateway":             "/usr/local/bin/gateway",
	} {
		if got := calledAs(name); got != want {
			t.Errorf("%s is called as %q, want %q", name, got, want)
		}
	}
}
