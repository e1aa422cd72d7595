package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnswers(t *testing.T) {
	reason := ""
	health := Health{Status: Up}
	h := New(Options{
		Ready:  func() string { return reason },
		Health: func() Health { return health },
		Status: func() any { return map[string]string{"version": "1"} },
	})
	check := func(method, path string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != status {
			t.Errorf("%s %s: %d, want %d", method, path, w.Code, status)
		}
		if method == http.MethodHead {
			if w.Body.Len() != 0 {
				t.Errorf("HEAD %s has a body", path)
			}
			return
		}
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		if want != "" && got["status"] != want {
			t.Errorf("%s %s: status %v, want %s", method, path, got["status"], want)
		}
	}
	check("GET", "/livez", 200, Up)
	check("HEAD", "/livez", 200, "")
	check("GET", "/readyz", 200, Up)
	check("GET", "/health", 200, Up)
	check("GET", "/status", 200, "")
	check("GET", "/nothing", 404, "")
	check("POST", "/livez", 405, "")

	reason = "stopping"
	check("GET", "/readyz", 503, Down)
	check("GET", "/livez", 200, Up)
	health.Status = Degraded
	check("GET", "/health", 200, Degraded)
	health.Status = Down
	check("GET", "/health", 503, Down)
}

func TestChangesNeedTheMachineItselfOrTheToken(t *testing.T) {
	var confirmed []string
	h := New(Options{
		Confirm: func(hash string) error { confirmed = append(confirmed, hash); return nil },
		Token:   func() (string, error) { return "s3cret", nil },
	})
	for _, c := range []struct {
		name, from, authorization string
		status                    int
	}{
		{"from loopback", "127.0.0.1:999", "", 200},
		{"from loopback, IPv6", "[::1]:999", "", 200},
		{"from elsewhere", "10.0.0.1:999", "", 403},
		{"from elsewhere with the token", "10.0.0.1:999", "Bearer s3cret", 200},
		{"from elsewhere with another token", "10.0.0.1:999", "Bearer s3cre", 403},
		{"from elsewhere with an empty token", "10.0.0.1:999", "Bearer ", 403},
		{"from nowhere", "", "", 403},
	} {
		r := httptest.NewRequest("POST", "/configuration/confirm?hash=ab", nil)
		r.RemoteAddr = c.from
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.status)
		}
	}
	if len(confirmed) != 3 || confirmed[0] != "ab" {
		t.Errorf("confirmed %q", confirmed)
	}
}
