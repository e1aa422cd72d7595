package testkit

import (
	"context"
	"testing"
)

// Running starts what runs until its context is over: until stop is called or the test ends. stop returns when it
// has ended, and may be called twice.
func Running(t testing.TB, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}
