package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"ebox-gateway/internal/problem"
)

// change makes a change for those who may: whoever is on the machine itself, and whoever
// knows the token. Token gives the token that is in force, empty if there is none; it is
// read for each request, so that it can be rotated. usage says what the call takes, the query's
// names; the errors of do are problems, or a misuse of it.
//
// A browser on the machine is not whoever sits before it: any page that it shows can
// have it send a POST to a loopback address, with no answer that it would have to be
// able to read. So no browser changes anything, not even one that the internal
// endpoint allows an origin, but for what the gateway's own page offers, and that with
// the token alone, which another site's page does not know.
func (a *administration) change(do func(*http.Request, query) (any, error), usage string,
	names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var result any
		err := a.mayChange(r)
		if err == nil {
			var q query
			if q, err = parameters(r, names); err == nil {
				result, err = do(r, q)
			}
		}
		var wrong misuse
		if errors.As(err, &wrong) {
			err = problem.BadRequest(string(wrong) + usage)
		}
		if err != nil {
			fail(w, r, err)
			return
		}
		answer(w, r, http.StatusOK, result)
	}
}

// mayChange gives the problem of a request that may change nothing.
func (a *administration) mayChange(r *http.Request) error {
	browser := sentByBrowser(r.Header)
	if browser && !sentByPage(r) {
		return problem.Forbidden("Changes are not taken from browsers. Use curl, or the gateway's own commands.")
	}
	if !browser && onThisMachine(r) {
		return nil
	}
	want, err := a.o.Token()
	if err != nil {
		return err
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case want != "" && ok && equal(got, want):
		return nil
	case browser:
		return problem.Forbidden("The page needs the token of admin.tokenFile for it. Without one, use the " +
			"gateway's command on its machine.")
	}
	return problem.Forbidden("Changes need a connection from this machine itself, or the token of " +
		"admin.tokenFile as a bearer token.")
}

// retryPath is the one change that the page offers.
const retryPath = "/tokens/retry"

// sentByPage reports whether the gateway's own page asks. What another site's page has a browser
// send has another Origin, and no Authorization without a preflight (CORS, Fetch standard), which
// is not answered.
func sentByPage(r *http.Request) bool {
	origin, site := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
	return r.Method == http.MethodPost && r.URL.Path == retryPath && len(r.Header["Authorization"]) == 1 &&
		len(origin) == 1 && strings.EqualFold(origin[0], ownOrigin(r)) &&
		(len(site) == 0 || len(site) == 1 && site[0] == "same-origin") // no Sec-Fetch fields on http beyond loopback
}

// ownOrigin is the origin of a page that this listener served.
func ownOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// sentByBrowser reports, by the fields that every browser sends with a POST or DELETE
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

// onThisMachine reports whether a request comes from the machine itself. One that a proxy on
// the machine sends for somebody else does not.
func onThisMachine(r *http.Request) bool {
	for _, field := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header[field]) > 0 {
			return false
		}
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}
