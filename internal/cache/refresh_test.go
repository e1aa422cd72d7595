package cache_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestARefreshInTheBackgroundServesTheNextAndHasARecordOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRig(t, func(*http.Request) (*http.Response, error) {
			n++
			return reply(200, fmt.Sprint(n), "Cache-Control: max-age=10, stale-while-revalidate=60"), nil
		})
		mustGet(t, r.get("/a"), 200, "1", "fwd=uri-miss; stored")
		time.Sleep(20 * time.Second)
		mustGet(t, r.get("/a", "Range: bytes=0-0", `If-None-Match: "x"`), 206, "1", "hit; ttl=-10")
		synctest.Wait()
		if got := r.last().Header; len(got) != 0 {
			t.Errorf("the refresh was sent with %v", got)
		}
		mustGet(t, r.get("/a"), 200, "2", "hit; ttl=10")
		r.origin = down
		time.Sleep(20 * time.Second)
		mustGet(t, r.get("/a"), 200, "2", "hit; ttl=-10")
		synctest.Wait()
		if len(r.beside) != 2 || r.beside[0].Cache != "fwd=stale; stored; fwd-status=200" ||
			!errors.Is(r.beside[1].Cause, errDown) {
			t.Errorf("records beside: %+v", r.beside)
		}
	})
}

func TestARefreshEndsWithTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if n++; n > 1 {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return reply(200, "1", "Cache-Control: max-age=1, stale-while-revalidate=60"), nil
		})
		r.get("/a")
		time.Sleep(2 * time.Second)
		for range 3 {
			mustGet(t, r.get("/a"), 200, "1", "hit; ttl=-1")
		}
		synctest.Wait()
		if n != 2 {
			t.Errorf("%d requests for one refresh", n-1)
		}
		r.cache.Close() // hangs if the refresh does not end
	})
}

// Nobody above a refresh recovers, as the server does above a request.
func TestAPanicOfARefreshEndsThatAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("body", "Cache-Control: max-age=1, stale-while-revalidate=60"))
		r.get("/a")
		origin := r.origin
		r.origin = func(*http.Request) (*http.Response, error) { panic("a fault of the gateway") }
		time.Sleep(2 * time.Second)
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=-1")
		synctest.Wait()
		if len(r.beside) != 1 || r.beside[0].Cause == nil {
			t.Errorf("%d records beside", len(r.beside))
		}
		r.origin = origin
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=-1")
		synctest.Wait()
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=1")
	})
}
