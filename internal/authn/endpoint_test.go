package authn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

// answering answers "STATUS|Name: value|body".
func answering(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
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
	with := func(old, new string) string { return "200||" + strings.Replace(fine, old, new, 1) }
	// What follows is the code of a refusal and what its problem says; or how long an outage is waited
	// for, and what the error says of it.
	for answer, want := range map[string]string{
		`401||{"error":"invalid_client","error_description":"quite-private-description"}`: "invalid_client: Chaman",
		`401|Date: Sun, 22 Nov 2026 12:00:00 GMT|{"error":"invalid_client"}`:              "invalid_client: Chaman",
		`400||{"error":"invalid_client"}`:                                                 "invalid_client: simulation",
		`400||{"error":"invalid_scope"}`:                                                  "invalid_scope: terms of use",
		`400||{"error":"unauthorized_client"}`:                                            "unauthorized_client: onboarding",
		`403||{"error":"access_denied"}`:                                                  "access_denied: terms of use",
		`400||{"error":"consent_required"}`:                                               "consent_required: onboarding",
		"400||{\"error\":\"invalid_scope\",\"\xe9\":1}":                                   "invalid_scope: terms of use",
		with("scope:a", "scope:b"):                                                        "invalid_scope: terms of use",
		`400||{"error":"temporarily_unavailable"}`:                                        "1s",
		`400||{"error":"key"}`:                                                            "1s",
		`400||{"error":"use the token eyJhbGciOi"}`:                                       "1s without an OAuth error",
		`400||{"error":"` + strings.Repeat("a", 41) + `"}`:                                "1s without an OAuth error",
		`400||{"error":{"code":1}}`:                                                       "1s without an OAuth error",
		`401||<html>Proxy login quite-private-description</html>`:                         "1s without an OAuth error",
		`404||{"error":"not_found"}`:                                                      "1s",
		`429|Retry-After: 40|`:                                                            "40s",
		`429|Retry-After: 86400|`:                                                         "5m",
		`503|Retry-After: 40|quite-private-description`:                                   "40s",
		`500||{"error":"invalid_client"}`:                                                 "1s",
		`200||<html>quite-private-description</html>`:                                     "1s no JSON object",
		`200||[]`:                                            "1s no JSON object",
		`200||` + fine[:40]:                                  "1s no JSON object",
		with("60", "0"):                                      "1s expired already",
		with("60", "0.9"):                                    "1s expired already",
		with("60", "-1e999"):                                 "1s expired already",
		with("60", `"soon"`):                                 "1s no number",
		with("60", `"NaN"`):                                  "1s no number",
		with("60", `{}`):                                     "1s no number",
		with("60", `60,"access_token":"b"`):                  "1s twice",
		with(`"scope:a"`, `["x"]`):                           "1s scope is no text",
		with("access_token", "Access_Token"):                 "1s no access_token",
		with("s3cret-value", ""):                             "1s no access_token",
		with(`"s3cret-value"`, "1"):                          "1s access_token is no text",
		with("s3cret-value", `s3cret\r\nX: y`):               "1s header value",
		with("s3cret-value", `s3cret é`):                     "1s header value",
		with("s3cret-value", strings.Repeat("s3cret", 6000)): "1s header value",
		with("Bearer", "DPoP"):                               "1s not Bearer",
		with("token_type", "type"):                           "1s not Bearer",
		`204||`:                                              "1s",
		"200||" + fine + strings.Repeat(" ", 1<<20):          "1s",
		"307|Location: /elsewhere|" + fine:                   "1s",
	} {
		t.Run(answer[:min(len(answer), 60)], func(t *testing.T) {
			as := newAuthServer(t)
			as.answer = answering(answer)
			var logged strings.Builder
			tokens := setup(t, as, logging(&logged))
			_, err := source(t, tokens).Token(t.Context())
			testkit.Running(t, tokens.Run)() // nobody writes the log any more

			f, p := failureOf(err), problem.From(err)
			code, says, refusal := strings.Cut(want, ": ")
			if refusal {
				if f.Code != code || p.Status != 502 || !strings.Contains(p.Detail, says) || authn.Refusal(err) == nil {
					t.Fatalf("%v, %d %s; want a refusal with %s", err, p.Status, p.Detail, want)
				}
			} else {
				pause, says, _ := strings.Cut(want, " ")
				wait, _ := time.ParseDuration(pause)
				if f.Code != authn.Unavailable || p.Status != 503 || !strings.Contains(err.Error(), says) ||
					f.RetryAfter < wait/2 || f.RetryAfter > wait*2 {
					t.Fatalf("%v, again after %s; want an outage of about %s", err, f.RetryAfter, want)
				}
			}
			if f.Client != "payroll" || f.Since.IsZero() || (p.Header.Get("Retry-After") == "") != refusal || as.count() != 1 {
				t.Errorf("%+v, Retry-After %q, %d requests", f, p.Header.Get("Retry-After"), as.count())
			}
			if strings.Contains(answer, "Date: ") && !strings.Contains(err.Error(), "its clock differs from ours by -") {
				t.Errorf("%v does not mention the clock", err)
			}
			for _, text := range []string{err.Error(), string(p.Append(nil, "1")), logged.String(),
				fmt.Sprintf("%+v", statusOf(tokens).Error)} {
				as.leaks(text)
				if strings.Contains(text, "s3cret") {
					t.Errorf("a secret shows in %q", text)
				}
			}
		})
	}
}

// granting gives what becomes of an answer with 200, without sockets.
func granting(t testing.TB) func(body string) (authn.Token, error) {
	var body string
	tokens := setup(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, nil
	}))
	return func(answer string) (authn.Token, error) {
		body = answer
		return tokens.Try(context.Background(), "payroll", nil, nil)
	}
}

func TestWhatAnAnswerGrants(t *testing.T) {
	grant := granting(t)
	for members, want := range map[string]string{ // lifetime and scopes
		`"token_type":"Bearer","expires_in":3600,"scope":"y x"`:              "1h0m0s y x",
		`"token_type":"bearer"`:                                              "1m0s",
		`"token_type":"Bearer","expires_in":1,"x":{"y":[1]},"id_token":null`: "1s",
		`"token_type":"Bearer","expires_in":"120"`:                           "2m0s",
		`"token_type":"Bearer","expires_in":1.5,"scope":" "`:                 "1.5s",
		`"token_type":"Bearer","expires_in":null`:                            "1m0s",
		`"token_type":"Bearer","expires_in":1795305600`:                      "24h0m0s", // a time stamp
		`"token_type":"Bearer","expires_in":1e999`:                           "24h0m0s",
	} {
		token, err := grant(" \n" + `{"access_token":"a.b-c_d~e+f/g=",` + members + "}\r\n")
		is := strings.Join(append([]string{token.Expires().Sub(token.Obtained()).String()}, token.Extra()...), " ")
		if err != nil || token.Authorization() != "Bearer a.b-c_d~e+f/g=" || is != want {
			t.Errorf("%s: %s, %v, want %s", members, is, err, want)
		}
	}
}

func FuzzGrant(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"scope":"x y"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"1e9"}`, `{"error":"invalid_client"}`, `{"a":`, `[{}]`,
	} {
		f.Add(seed)
	}
	grant := granting(f)
	f.Fuzz(func(t *testing.T, body string) {
		token, err := grant(body)
		secret, lifetime := strings.TrimPrefix(token.Authorization(), "Bearer "), token.Expires().Sub(token.Obtained())
		usable := secret != "" && lifetime > 0 && lifetime <= 24*time.Hour &&
			!strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' })
		if err != nil && token != (authn.Token{}) || err == nil && !usable {
			t.Fatalf("%q for %s, %v", secret, lifetime, err)
		}
	})
}

// A parser that a server's bytes make panic must not end the gateway, wherever it is asked.
func TestAPanicOverAnAnswerFailsThatRequestAlone(t *testing.T) {
	file := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		as := newAuthServer(t, oldClient, newClient)
		as.before = func(int, *http.Request) { panic("quite-private-description") }
		var logged strings.Builder
		tokens := setup(t, as, logging(&logged), signedBy("key="+file))
		stop := testkit.Running(t, tokens.Run)
		s := source(t, tokens)
		if _, err := s.Token(t.Context()); failureOf(err).Code != authn.Unavailable {
			t.Errorf("for a caller: %v", err)
		}
		copyFile(t, newClient.Key.File, file)
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

func TestTheTokenRequestIsWhatRFC7523Asks(t *testing.T) {
	as, tokens, _ := with(t)
	var header http.Header
	as.before = func(_ int, r *http.Request) { header = r.Header }
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
	if _, err := tokens.Try(t.Context(), "payroll", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, there := as.forms[1]["scope"]; there {
		t.Error("no scopes became an empty scope")
	}
}

// A server that closes an idle connection in the moment a request comes in is no
// outage, and the request that replaces it must not repeat the jti.
func TestAStaleConnectionIsTriedOnceMoreWithAnotherAssertion(t *testing.T) {
	for stale, works := range map[int]bool{1: true, 2: false} {
		as, tries := newAuthServer(t, newClient), 0
		_, err := source(t, setup(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := as.RoundTrip(r) // the server sees the assertion, and takes its jti once
			if tries++; tries <= stale {
				return nil, &wire.Error{Stale: true, Err: io.EOF}
			}
			return answer, err
		}))).Token(t.Context())
		if (err == nil) != works || tries != 2 {
			t.Errorf("%d stale connections: %v after %d tries", stale, err, tries)
		}
	}
}

func TestATransportThatFailsIsAskedOnce(t *testing.T) {
	outage := 1250 * time.Millisecond
	for name, c := range map[string]struct {
		body  io.Reader
		err   error
		again time.Duration
	}{
		"nobody listens":  {nil, errors.New("dial tcp 127.9.8.7:9: connection refused"), outage},
		"no HTTP":         {nil, errors.New("malformed header quite-private-description"), outage},
		"a cut answer":    {iotest.ErrReader(errors.New("after quite-private-description")), nil, outage},
		"an open circuit": {nil, fmt.Errorf("sending: %w", problem.Unavailable("Open.", 14*time.Second)), 14 * time.Second},
	} {
		asked := 0
		_, err := source(t, setup(t, roundTripper(func(*http.Request) (*http.Response, error) {
			asked++
			return &http.Response{StatusCode: 200, Body: io.NopCloser(c.body)}, c.err
		}))).Token(t.Context())
		f, detail := failureOf(err), problem.From(err).Detail
		if asked != 1 || f.Code != authn.Unavailable || f.RetryAfter < c.again/2 || f.RetryAfter > c.again ||
			strings.Contains(err.Error(), "quite-private") || strings.Contains(detail, "127.9.8.7") {
			t.Errorf("%s: %v after %d requests, again in %s: %s", name, err, asked, f.RetryAfter, detail)
		}
	}
}

// Whoever looks is told what the server did, and not that it is left alone for it.
func TestBehindAnOpenCircuitTheTroubleOfTheServerIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		met := errors.New("dial tcp 127.9.8.7:9: connection refused")
		s := source(t, setup(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, met })))
		_, first := s.Token(t.Context())
		met = fmt.Errorf("sending: %w", problem.Unavailable("Open.", 14*time.Second))
		time.Sleep(15 * time.Second)
		_, err := s.Token(t.Context())
		if err.Error() != first.Error() || failureOf(err).RetryAfter != 14*time.Second {
			t.Errorf("first %v, then %v, again in %s", first, err, failureOf(err).RetryAfter)
		}
	})
}
