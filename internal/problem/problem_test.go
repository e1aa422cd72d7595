package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWriteSendsTheBelgifForm(t *testing.T) {
	p := BadRequest("The enterprise number is not valid.", Issue{
		Type: IssueInvalidInput, In: "path", Name: "number", Value: "0206731646\"", Detail: "check digits",
	})
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest("GET", "/", nil), p, "7b0e", 0)
	if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	want := map[string]any{
		"type": "urn:problem-type:belgif:badRequest", "title": "Bad Request", "status": 400.0,
		"href":   "https://www.belgif.be/specification/rest/api-guide/problems/badRequest.html",
		"detail": "The enterprise number is not valid.", "instance": "urn:uuid:7b0e",
	}
	for k, v := range want {
		if doc[k] != v {
			t.Errorf("%s = %v, want %v", k, doc[k], v)
		}
	}
	issue := doc["issues"].([]any)[0].(map[string]any)
	if issue["type"] != "urn:problem-type:belgif:input-validation:invalidInput" || issue["value"] != "0206731646\"" ||
		issue["in"] != "path" {
		t.Errorf("issue %v", issue)
	}
}

func TestHEADGetsNoBody(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest("HEAD", "/", nil), NotFound("nothing here"), "1", 0)
	if w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Fatalf("%d bytes, Content-Length %s", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestRefusalOfAnUnreadBodyCloses(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest("POST", "/", strings.NewReader("body")), Forbidden("no"), "1", 0)
	if w.Header().Get("Connection") != "close" {
		t.Fatal("the connection stays open")
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	if got := Unavailable("x", 1200*time.Millisecond).Header.Get("Retry-After"); got != "2" {
		t.Fatalf("Retry-After %s", got)
	}
	if got := Unavailable("x", math.MaxInt64).Header.Get("Retry-After"); got != "9223372037" {
		t.Errorf("the longest wait is %s", got)
	}
	if p := Unavailable("x", 0); p.Header != nil || p.Members != nil {
		t.Fatal("an unknown wait was given a Retry-After")
	}
	end := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	if got := UnavailableUntil("x", end).Header.Get("Retry-After"); got != "Sun, 22 Nov 2026 10:00:00 GMT" {
		t.Fatalf("Retry-After %s", got)
	}
}

func TestFromFindsTheProblemInAChain(t *testing.T) {
	inner := Forbidden("no")
	if got := From(fmt.Errorf("resolving: %w", inner)); got != inner {
		t.Fatalf("got %v", got)
	}
	secret := errors.New("dial tcp 10.0.0.1: no")
	p := From(secret)
	if p.Status != http.StatusInternalServerError || strings.Contains(string(p.Append(nil, "1")), "10.0.0.1") {
		t.Fatalf("a cause was sent: %s", p.Append(nil, "1"))
	}
}

func TestProxyStatus(t *testing.T) {
	for want, got := range map[string]string{
		"ebox-gateway; error=dns_error":              ProxyStatus(ProxyDNSError, 0, 0),
		"ebox-gateway; received-status=503; tries=3": ProxyStatus("", 503, 3),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
