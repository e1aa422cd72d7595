// Package admin is what the platform team and its machines see: whether the
// gateway lives, is ready and healthy, and how it stands with everything around
// it.
//
//	/livez    200 while the process answers
//	/readyz   200 when requests should be sent here; no single provider decides it
//	/health   the Belgif guide's health: UP and DEGRADED are 200, DOWN is 503
//	/status   everything known, as JSON
//
//	POST /configuration/confirm?hash=…   take the configuration that was refused for
//	                                     dropping many enterprises
//	POST /cache/purge?enterprise=N       drop the stored answers of an enterprise, of
//	                 ?route=NAME         a route, or
//	                 ?all=true           all of them, in every replica
//
// Changes are for the machine itself and for whoever has the admin token.
//
// The package knows nothing of the request path: what it shows is handed to it.
package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// The states of health, as the Belgif guide names them.
const (
	Up       = "UP"
	Degraded = "DEGRADED"
	Down     = "DOWN"
)

// Health is the answer of /health.
type Health struct {
	// Status is Up, Degraded or Down.
	Status string `json:"status"`
	// Details say, part by part, what is not well. They are for the admin side.
	Details map[string]Health `json:"details,omitempty"`
	// Reason is a sentence for people.
	Reason string `json:"reason,omitempty"`
}

// Options are the gateway's answers.
type Options struct {
	// Ready says why the gateway is not ready, empty if it is.
	Ready func() string
	// Health says how it is.
	Health func() Health
	// Status gives what /status shows.
	Status func() any
	// Confirm takes a configuration, named by its hash, that was refused for
	// dropping enterprises.
	Confirm func(hash string) error
	// Purge drops stored answers. Its errors are problems.
	Purge func(context.Context, Purge) error
	// Token is what changes need when they come from another machine, empty for
	// "not at all".
	Token func() (string, error)
}

// New makes the admin listener's handler.
func New(o Options) http.Handler {
	r := chi.NewRouter()
	r.Get("/livez", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, http.StatusOK, Health{Status: Up})
	})
	r.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if reason := o.Ready(); reason != "" {
			answer(w, r, http.StatusServiceUnavailable, Health{Status: Down, Reason: reason})
			return
		}
		answer(w, r, http.StatusOK, Health{Status: Up})
	})
	r.Get("/health", func(w http.ResponseWriter, r *http.Request) {
		h := o.Health()
		status := http.StatusOK
		if h.Status == Down {
			status = http.StatusServiceUnavailable
		}
		answer(w, r, status, h)
	})
	r.Get("/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, http.StatusOK, o.Status())
	})
	r.Post("/configuration/confirm", writes(o.Token, func(w http.ResponseWriter, r *http.Request) {
		hash := r.URL.Query().Get("hash")
		if hash == "" {
			problem.Write(w, r, problem.BadRequest("The hash of the configuration is missing: add ?hash= with the one that /status shows under configuration.rejected."), exchange.NewID(), 0)
			return
		}
		if err := o.Confirm(hash); err != nil {
			problem.Write(w, r, problem.BadRequest("The configuration was not taken: "+err.Error()), exchange.NewID(), 0)
			return
		}
		answer(w, r, http.StatusOK, Health{Status: Up})
	}))
	r.Get("/configuration/confirm", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, problem.MethodNotAllowed(r.Method, []string{http.MethodPost}), exchange.NewID(), 0)
	})
	r.Post("/cache/purge", writes(o.Token, purge(o.Purge)))
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, problem.NotFound("The admin listener has /livez, /readyz, /health and /status, and takes POST /configuration/confirm. The APIs are on the internal endpoint."), exchange.NewID(), 0)
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, problem.MethodNotAllowed(r.Method, []string{http.MethodGet, http.MethodHead}), exchange.NewID(), 0)
	})
	return chi.Chain(headAsGet).Handler(r)
}

// headAsGet lets HEAD go where GET goes; net/http drops the body.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			get := r.Clone(r.Context())
			get.Method = http.MethodGet
			w = headOnly{w}
			r = get
		}
		next.ServeHTTP(w, r)
	})
}

type headOnly struct{ http.ResponseWriter }

func (headOnly) Write(b []byte) (int, error) { return len(b), nil }

func answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		problem.Write(w, r, problem.Internal(err), exchange.NewID(), 0)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked may have gone
}
