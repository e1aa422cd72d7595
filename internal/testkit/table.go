package testkit

import (
	"testing"
	"testing/synctest"
)

// Table runs check for each case, under its name and in a bubble of its own (testing/synctest):
// the clock there moves as soon as everybody waits, and begins at midnight UTC 2000-01-01.
func Table[C any](t *testing.T, cases map[string]C, check func(*testing.T, C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, c) })
		})
	}
}
