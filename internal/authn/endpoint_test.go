package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// answering answers "STATUS|Name: value|body", or what begins with HTTP byte for byte before it
// closes the connection.
func answering(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(text, "HTTP") {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, text)
			c.Close()
			return
		}
		parts := strings.SplitN(text, "|", 3)
		if name, value, given := strings.Cut(parts[1], ": "); given {
			w.Header().Set(name, value)
		}
		status, _ := strconv.Atoi(parts[0])
		w.WriteHeader(status)
		_, _ = io.WriteString(w, parts[2])
	}
}

func TestAnswersThatAreNoToken(t *testing.T) {
	const fine = `{"access_token":"s3cret-value","token_type":"Bearer","expires_in":60,"scope":"scope:a"}`
	// What follows is the code of a refusal and what its problem says, or how long an outage
	// is waited for.
	for answer, want := range map[string]string{
		`401||{"error":"invalid_client","error_description":"quite-private-description"}`: "invalid_client: Chaman",
		`400||{"error":"invalid_client"}`:                                                 "invalid_client: simulation",
		`400||{"error":"invalid_scope"}`:                                                  "invalid_scope: terms of use",
		`400||{"error":"unauthorized_client"}`:                                            "unauthorized_client: onboarding",
		`403||{"error":"access_denied"}`:                                                  "access_denied: terms of use",
		`400||{"error":"consent_required"}`:                                               "consent_required: onboarding",
		"200||" + strings.Replace(fine, "scope:a", "scope:b", 1):                          "invalid_scope: terms of use",
		`400||{"error":"temporarily_unavailable"}`:                                        "1s",
		`401||<html>Proxy login quite-private-description</html>`:                         "1s",
		`404||{"error":"not_found"}`:                                                      "1s",
		`429|Retry-After: 40|`:                                                            "40s",
		`429|Retry-After: 86400|`:                                                         longestWait.String(),
		`503|Retry-After: 40|quite-private-description`:                                   "40s",
		`500||{"error":"invalid_client"}`:                                                 "1s",
		`200||<html>quite-private-description</html>`:                                     "1s",
		"200||" + strings.Replace(fine, "60", "0", 1):                                     "1s",
		`204||`: "1s",
		"200||" + fine + strings.Repeat(" ", maxAnswer):               "1s",
		"307|Location: /elsewhere|" + fine:                            "1s",
		"HTTP/1.1 200 OK\r\nquite-private-description\r\n\r\n":        "1s",
		"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + fine[:40]: "1s",
	} {
		t.Run(answer[:min(len(answer), 60)], func(t *testing.T) {
			as := newAuthServer(t)
			as.answer = answering(answer)
			server := httptest.NewServer(as)
			defer server.Close()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			var logged strings.Builder
			tokens := setup(t, as, func(o *Options) {
				o.Transport, o.OAuth.TokenURL, o.Log = transport, server.URL, textLog(&logged)
			})
			_, err := source(t, tokens).Token(t.Context())
			running(t, tokens)() // nobody writes the log any more

			var refused *RefusedError
			var unavailable *UnavailableError
			p := problem.From(err)
			code, says, refusal := strings.Cut(want, ": ")
			switch {
			case refusal && (!errors.As(err, &refused) || refused.Code != code || refused.Client != "payroll" ||
				refused.Since.IsZero() || p.Status != 502 || !strings.Contains(p.Detail, says)):
				t.Fatalf("%#v, %d %s; want a refusal with %s", err, p.Status, p.Detail, want)
			case !refusal && (!errors.As(err, &unavailable) || p.Status != 503):
				t.Fatalf("%#v, want an outage", err)
			}
			if wait := p.Header.Get("Retry-After"); (wait == "") != refusal {
				t.Errorf("Retry-After %q", wait)
			}
			if pause, _ := time.ParseDuration(want); unavailable != nil &&
				(unavailable.RetryAfter < pause/2 || unavailable.RetryAfter > pause*2) {
				t.Errorf("to be tried again after %s, want about %s", unavailable.RetryAfter, pause)
			}
			if as.count() != 1 {
				t.Errorf("%d requests", as.count())
			}
			for _, text := range []string{err.Error(), string(p.Append(nil, "1")), logged.String(),
				fmt.Sprintf("%+v", tokens.Status()[0].Tokens[0].Error)} {
				as.leaks(text)
				if strings.Contains(text, "s3cret") {
					t.Errorf("a secret shows in %q", text)
				}
			}
		})
	}
}

// A parser that a server's bytes make panic must not end the gateway, wherever it is asked.
func TestAPanicOverAnAnswerFailsThatRequestAlone(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, mustLoad(t, oldSource), mustLoad(t, newSource))
		as.before = func(int, *http.Request) { panic("quite-private-description") }
		var logged strings.Builder
		tokens := setup(t, as, func(o *Options) {
			o.Log, o.OAuth.Clients["payroll"] = textLog(&logged), clientOf("key="+file)
		})
		stop := running(t, tokens)
		s := source(t, tokens)
		var u *UnavailableError
		if _, err := s.Token(t.Context()); !errors.As(err, &u) {
			t.Errorf("for a caller: %v", err)
		}
		copyFile(t, newSource.Key.File, file)
		if pending := seen(tokens).Pending; pending == nil || pending.NextTry.IsZero() {
			t.Errorf("a new key's trial left no failure: %+v", pending)
		}
		as.set(func(as *authServer) { as.before = nil })
		tokens.Retry()
		mustToken(t, s)
		stop()
		as.leaks(logged.String())
		if !strings.Contains(logged.String(), "authServer).RoundTrip") {
			t.Errorf("the log does not say where: %s", logged.String())
		}
	})
}

func TestARefusalMentionsAClockThatIsWrong(t *testing.T) {
	as := newAuthServer(t) // with no key registered
	as.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(401)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
	}
	_, err := source(t, setup(t, as, nil)).Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "clock differs from ours by -10m") {
		t.Fatal(err)
	}
}

func TestTheTokenRequestIsWhatRFC7523Asks(t *testing.T) {
	key := mustLoad(t, newSource)
	as := newAuthServer(t, key)
	var header http.Header
	as.before = func(_ int, r *http.Request) { header = r.Header }
	tokens := setup(t, as, nil)
	mustToken(t, source(t, tokens, "scope:b", "scope:a"))
	form := as.forms[0]
	if len(form) != 4 || form["grant_type"][0] != "client_credentials" || form["scope"][0] != "scope:a scope:b" ||
		form["client_assertion_type"][0] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Errorf("form %v", form)
	}
	if header.Get("Accept") != "application/json" || header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
		len(header["BelGov-Trace-Id"][0]) != 36 { //nolint:staticcheck // it is sent as it is written here
		t.Errorf("header %v", header)
	}
	if _, err := tokens.Source("payroll", nil); err != nil {
		t.Fatal(err)
	}
	s, _ := tokens.Source("payroll", nil)
	mustToken(t, s)
	if _, there := as.forms[1]["scope"]; there {
		t.Error("no scopes became an empty scope")
	}
}

// A server that closes an idle connection in the moment a request comes in is no
// outage, and the request that replaces it must not repeat the jti.
func TestAStaleConnectionIsTriedOnceMoreWithAnotherAssertion(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	var used sync.Map // remote addresses that a request has come from
	var dropped atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, again := used.LoadOrStore(r.RemoteAddr, true)
		if again && dropped.CompareAndSwap(false, true) { // it reaches the server, which drops it
			as.ServeHTTP(httptest.NewRecorder(), r)
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
			return
		}
		as.ServeHTTP(w, r)
	}))
	defer server.Close()
	transport := wire.New(wire.Config{
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return wire.NewSocket(c, time.Minute), nil
		},
		Header: time.Minute, IdleConn: time.Minute, Age: func() time.Duration { return time.Hour },
	})
	defer transport.CloseIdleConnections()
	tokens := setup(t, as, func(o *Options) { o.Transport, o.OAuth.TokenURL = transport, server.URL })
	got := 0
	for ; !dropped.Load(); got++ { // a connection serves nobody before it has settled
		mustToken(t, source(t, tokens, fmt.Sprint("scope:", got))) // the server checks the jti itself
		time.Sleep(wire.Settle / 2)
	}
	if as.count() != got+1 {
		t.Fatalf("%d requests for %d tokens", as.count(), got)
	}
}

func TestAServerThatIsNotThereIsAskedOnce(t *testing.T) {
	const url = "http://127.9.8.7:9" // an address of this machine, and of no other test
	var dials atomic.Int32
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	tokens := setup(t, nil, func(o *Options) { o.Transport, o.OAuth.TokenURL = transport, url })
	_, err := source(t, tokens).Token(t.Context())
	var u *UnavailableError
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "refused") || dials.Load() != 1 {
		t.Fatalf("%v after %d dials", err, dials.Load())
	}
	if detail := problem.From(err).Detail; strings.Contains(detail, "127.9.8.7") {
		t.Errorf("the caller is told an address: %s", detail)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnOpenCircuitsRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var met error = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		s := source(t, setup(t, nil, func(o *Options) {
			o.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, met })
		}))
		_, first := s.Token(t.Context())
		met = fmt.Errorf("sending: %w", problem.Unavailable("The circuit is open.", 14*time.Second))
		time.Sleep(longestOutage)
		_, err := s.Token(t.Context())
		if got := problem.From(err).Header.Get("Retry-After"); got != "14" {
			t.Errorf("Retry-After %q of %v", got, err)
		}
		// Whoever looks is told what the server did, and not that it is left alone for it.
		if err.Error() != first.Error() || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("first %v, then %v", first, err)
		}
	})
}
