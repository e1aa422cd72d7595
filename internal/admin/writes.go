package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// writes lets through those who may change something: whoever is on the machine
// itself, and whoever knows the token. token gives the token that is in force, empty
// if there is none; it is read for each request, so that it can be rotated.
//
// A browser on the machine is not whoever sits before it: any page that it shows can
// have it send a POST to a loopback address, with no answer that it would have to be
// able to read. So no browser changes anything, not even one that the internal
// endpoint allows an origin, and not the gateway's own page, which only reads.
func writes(token func() (string, error), next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if sentByBrowser(r.Header) {
			problem.Write(w, r, problem.Forbidden("Changes are not taken from browsers. Use curl, or the gateway's own "+
				"commands."), call.NewID(), 0)
			return
		}
		if onThisMachine(r) {
			next(w, r)
			return
		}
		want, err := token()
		if err != nil {
			problem.Write(w, r, problem.Internal(err), call.NewID(), 0)
			return
		}
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if want == "" || !ok || !equal(got, want) {
			problem.Write(w, r, problem.Forbidden("Changes need a connection from this machine itself, or the token of "+
				"admin.tokenFile as a bearer token."), call.NewID(), 0)
			return
		}
		next(w, r)
	}
}

// sentByBrowser tells by the fields that every browser sends with a POST or DELETE
// and that no script can leave out: Origin (Fetch standard), and where it comes from
// (Fetch Metadata), to trustworthy addresses such as loopback.
func sentByBrowser(h http.Header) bool {
	for _, field := range [...]string{"Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"} {
		if len(h[field]) > 0 {
			return true
		}
	}
	return false
}

// equal takes the same time whatever the texts have in common.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// onThisMachine tells a connection from the machine itself. One that a proxy on the
// machine makes for somebody else is none.
func onThisMachine(r *http.Request) bool {
	for _, field := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header[field]) > 0 {
			return false
		}
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}
