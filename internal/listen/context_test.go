package listen

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestTheContextOfARequestIsOneOfPackageContext(t *testing.T) {
	type key struct{}
	base := context.WithValue(context.Background(), key{}, "v")
	for name, prepare := range map[string]func(*requestContext){
		"nobody asked for its channel": func(*requestContext) {},
		"somebody did":                 func(c *requestContext) { c.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &requestContext{Context: base}
				prepare(c)
				if c.Err() != nil || c.Value(key{}) != "v" {
					t.Fatalf("at the beginning: %v, value %v", c.Err(), c.Value(key{}))
				}
				derived, cancel := context.WithCancel(c)
				defer cancel()
				ran, stopped := false, false
				context.AfterFunc(c, func() { ran = true })
				stop := c.AfterFunc(func() { stopped = true })
				if !stop() || stop() {
					t.Error("what was taken back can be taken back once")
				}
				c.cancel()
				c.cancel()
				<-c.Done()
				<-derived.Done()
				synctest.Wait()
				if c.Err() != context.Canceled || derived.Err() != context.Canceled || !ran || stopped {
					t.Errorf("at the end: %v, derived %v, ran %t, stopped one ran %t", c.Err(), derived.Err(), ran, stopped)
				}
				late := false
				if stop := c.AfterFunc(func() { late = true }); stop() {
					t.Error("what was asked for at the end can be taken back")
				}
				synctest.Wait()
				if !late {
					t.Error("what was asked for at the end does not run")
				}
			})
		})
	}
}
