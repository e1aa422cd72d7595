package listen_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"ebox-gateway/internal/listen"
)

func TestTheContextOfARequestIsOneOfPackageContext(t *testing.T) {
	type key struct{}
	base := context.WithValue(context.Background(), key{}, "v")
	for _, asked := range []bool{false, true} { // for its channel
		synctest.Test(t, func(t *testing.T) {
			var ctx, derived context.Context
			var direct interface {
				AfterFunc(func()) (stop func() bool)
			} // as package wire uses it
			var ran []string
			who := piped(t, func(_ http.ResponseWriter, r *http.Request) {
				ctx = r.Context()
				direct = ctx.(interface {
					AfterFunc(func()) (stop func() bool)
				})
				if asked {
					ctx.Done()
				}
				if ctx.Err() != nil || ctx.Value(key{}) != "v" {
					t.Errorf("at the beginning: %v, value %v", ctx.Err(), ctx.Value(key{}))
				}
				var cancel func()
				derived, cancel = context.WithCancel(ctx)
				t.Cleanup(cancel)
				context.AfterFunc(ctx, func() { ran = append(ran, "before") })
				if stop := direct.AfterFunc(func() { ran = append(ran, "stopped") }); !stop() || stop() {
					t.Error("what was taken back can be taken back once")
				}
			}, func(o *listen.Options) {
				o.ConnContext = func(listen.Listener, net.Conn) context.Context { return base }
			}).pipe(nil)
			go func() { _, _ = io.Copy(io.Discard, who) }()
			_, _ = io.WriteString(who, get)
			synctest.Wait()
			<-ctx.Done()
			<-derived.Done()
			if stop := direct.AfterFunc(func() { ran = append(ran, "late") }); stop() {
				t.Error("what was asked for at the end can be taken back")
			}
			synctest.Wait()
			if ctx.Err() != context.Canceled || derived.Err() != context.Canceled ||
				!slices.Equal(ran, []string{"before", "late"}) {
				t.Errorf("at the end: %v, derived %v, ran %q", ctx.Err(), derived.Err(), ran)
			}
		})
	}
}
