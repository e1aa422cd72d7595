// Inside the package, since no file system that hangs can be had without root.

package files

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReadThatHangsIsGivenUpAndNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan string)
		var reads atomic.Int32
		read := func() (string, error) {
			return bounded("/net/key", func() (string, error) { reads.Add(1); return <-answers, nil })
		}
		began := time.Now()
		if _, err := read(); !errors.Is(err, ErrHangs) || time.Since(began) != Patience {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		for range 3 {
			if _, err := read(); !errors.Is(err, ErrHangs) || time.Since(began) != Patience || reads.Load() != 1 {
				t.Errorf("after %s and %d reads: %v", time.Since(began), reads.Load(), err)
			}
		}
		answers <- "late" // the file system is back
		synctest.Wait()
		go func() { answers <- "content" }()
		if got, err := read(); err != nil || got != "content" {
			t.Errorf("once it answers again: %q, %v", got, err)
		}
	})
}
