package listen

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func TestTheContextOfARequestIsOneOfPackageContext(t *testing.T) {
	type key struct{}
	base := context.WithValue(context.Background(), key{}, "v")
	for _, asked := range []bool{false, true} { // for its channel
		synctest.Test(t, func(t *testing.T) {
			c := &requestContext{Context: base}
			if asked {
				c.Done()
			}
			if c.Err() != nil || c.Value(key{}) != "v" {
				t.Fatalf("at the beginning: %v, value %v", c.Err(), c.Value(key{}))
			}
			derived, cancel := context.WithCancel(c)
			defer cancel()
			var ran []string
			context.AfterFunc(c, func() { ran = append(ran, "before") })
			if stop := c.AfterFunc(func() { ran = append(ran, "stopped") }); !stop() || stop() {
				t.Error("what was taken back can be taken back once")
			}
			c.cancel()
			c.cancel()
			<-c.Done()
			<-derived.Done()
			synctest.Wait()
			if stop := c.AfterFunc(func() { ran = append(ran, "late") }); stop() {
				t.Error("what was asked for at the end can be taken back")
			}
			synctest.Wait()
			if c.Err() != context.Canceled || derived.Err() != context.Canceled ||
				!slices.Equal(ran, []string{"before", "late"}) {
				t.Errorf("at the end: %v, derived %v, ran %q", c.Err(), derived.Err(), ran)
			}
		})
	}
}
