package testkit

import (
	"errors"
	"testing"
	"time"
)

// Patience bounds every wait of a test. None is expected to need it, on a machine that does much else either.
const Patience = 3 * time.Minute

var errNotYet = errors.New("it did not come about")

// Eventually waits for a condition that another goroutine, or another process, brings about.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Await(t, what, func() error {
		if holds() {
			return nil
		}
		return errNotYet
	})
}

// Await is Eventually for a condition that says why it does not hold yet.
func Await(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	// A condition may cost a call or two: what takes seconds is asked for less and less often.
	for pause := 2 * time.Millisecond; ; pause = min(pause*3/2, 100*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
		time.Sleep(pause)
	}
}
