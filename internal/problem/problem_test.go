package problem_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/problem"
)

func TestWriteSendsTheBelgifForm(t *testing.T) {
	issue := problem.Issue{In: "path", Name: "number", Value: `646"`, Detail: "check digits"}
	p := problem.BadRequest("Not valid.", issue).With("limit", 1)
	const want = `{"type":"urn:problem-type:belgif:badRequest",` +
		`"href":"https://www.belgif.be/specification/rest/api-guide/problems/badRequest.html","title":"Bad Request",` +
		`"status":400,"detail":"Not valid.","instance":"urn:uuid:7b0e","limit":1,"issues":[` +
		`{"type":"urn:problem-type:belgif:input-validation:invalidInput",` +
		`"href":"https://www.belgif.be/specification/rest/api-guide/issues/invalidInput.html",` +
		`"in":"path","name":"number","value":"646\"","detail":"check digits"}]}` + "\n"
	for method, body := range map[string]string{"POST": want, "HEAD": ""} {
		w := httptest.NewRecorder()
		problem.Write(w, httptest.NewRequest(method, "/", strings.NewReader("a body that nobody has read")), p, "7b0e", 0)
		h := w.Header()
		if w.Code != 400 || w.Body.String() != body || h.Get("Content-Type") != "application/problem+json" ||
			h.Get("Content-Length") != strconv.Itoa(len(want)) || h.Get("Connection") != "close" {
			t.Errorf("%s: %d %v\n%s", method, w.Code, h, w.Body)
		}
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	if got := problem.Unavailable("x", 1200*time.Millisecond).Header.Get("Retry-After"); got != "2" {
		t.Fatalf("Retry-After %s", got)
	}
	if got := problem.Unavailable("x", math.MaxInt64).Header.Get("Retry-After"); got != "9223372037" {
		t.Errorf("the longest wait is %s", got)
	}
	if p := problem.Unavailable("x", 0); p.Header != nil || p.Members != nil {
		t.Fatal("an unknown wait was given a Retry-After")
	}
	end := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	if got := problem.UnavailableUntil("x", end).Header.Get("Retry-After"); got != "Sun, 22 Nov 2026 10:00:00 GMT" {
		t.Fatalf("Retry-After %s", got)
	}
}

func TestFromFindsTheProblemInAChain(t *testing.T) {
	inner := problem.Forbidden("no")
	if got := problem.From(fmt.Errorf("resolving: %w", inner)); got != inner {
		t.Fatalf("got %v", got)
	}
	secret := errors.New("dial tcp 10.0.0.1: no")
	p := problem.From(secret)
	if p.Status != http.StatusInternalServerError || strings.Contains(string(p.Append(nil, "1")), "10.0.0.1") {
		t.Fatalf("a cause was sent: %s", p.Append(nil, "1"))
	}
}

func TestProxyStatus(t *testing.T) {
	for want, got := range map[string]string{
		"ebox-gateway; error=dns_error":              problem.ProxyStatus(problem.ProxyDNSError, 0, 0),
		"ebox-gateway; received-status=503; tries=3": problem.ProxyStatus("", 503, 3),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
