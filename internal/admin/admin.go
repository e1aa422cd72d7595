// Package admin is what the platform team and its machines see: whether the
// gateway runs, is ready and healthy, in which state everything around it is, and
// what happened in the last minutes.
//
//	/livez     200 while the process answers
//	/startupz  200 once everything that a start needs was tried, whether it worked or not
//	/readyz    200 when requests should be sent here; no single provider decides it
//	/health    the Belgif guide's health: UP and DEGRADED are 200, DOWN is 503
//	/status    everything known, as JSON
//	/activity  the last minutes and the last problems, as JSON
//	/enterprises/refused   all enterprises that an upstream refuses, as JSON
//	/          a page for people, made of the three (page.go)
//	/docs/     the documentation, with the runbook (docs.go)
//
//	POST /configuration/confirm?hash=…   take the configuration that was refused for
//	                                     dropping many enterprises
//	POST /cache/purge?enterprise=N       drop the stored answers of an enterprise, of
//	                 ?route=NAME         a route, or
//	                 ?all=true           all of them, in every replica
//	POST /tokens/retry                   ask at once for tokens that were refused
//	POST /maintenance?provider=ID&for=2h&reason=…   no calls to a provider
//	                 ?gateway=true&for=30m          none at all
//	DELETE /maintenance?provider=ID                 ends it
//	POST /log?level=debug                           sets the level of the logs
//
// Changes are for the machine itself and for whoever has the admin token, and not for a
// browser, but for the retry that the page offers with the token (writes.go). Reading needs neither: the listener is
// not for everybody.
//
// The package does not depend on the request path: what it shows is handed to it.
package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Options are the gateway's answers. Those that are nil are not offered.
type Options struct {
	// Ready says why the gateway is not ready, empty if it is. Started does so for
	// what has to be tried once before; Unable says why nothing is served.
	Ready, Started, Unable func() string
	// Health says how it is.
	Health func() Health
	// Status gives what /status shows, Activity what /activity does, Refused what
	// /enterprises/refused does.
	Status   func() any
	Activity func() any
	Refused  func() any
	// Metrics answers /metrics.
	Metrics http.Handler
	// Confirm takes a configuration, named by its hash, that was refused for
	// dropping enterprises.
	Confirm func(hash string) error
	// Retry asks at once for tokens that were refused.
	Retry func()
	// Purge drops stored answers. Its errors are problems.
	Purge func(context.Context, Purge) error
	// Maintain switches to maintenance, or ends it if there is no Until. Its errors
	// are problems. Maintenance lists what is switched.
	Maintain    func(context.Context, Maintenance) error
	Maintenance func() []Maintenance
	// SetLevel sets the level of the logs.
	SetLevel func(slog.Level)
	// Token is what changes need when they come from another machine, empty for
	// "not at all".
	Token func() (string, error)
	Now   func() time.Time
}

// administration is the admin listener.
type administration struct {
	o          Options
	remembered remembered
}

// New makes the admin listener's handler.
func New(o Options) http.Handler {
	a := &administration{o: o, remembered: remembered{compute: o.Health, now: o.Now}}
	r := chi.NewRouter()
	r.Use(middleware.GetHead)
	r.Get("/", page)
	r.Get("/page/*", page)
	r.Get("/docs/*", document)
	r.Get("/livez", probe(func() string { return "" }))
	r.Get("/startupz", probe(o.Started))
	r.Get("/readyz", probe(o.Ready))
	r.Get("/health", a.health)
	shows(r, "/status", o.Status)
	// It is read by programs alone: numbers by the thousand, which would each have a line of its own.
	if o.Activity != nil {
		r.Get("/activity", func(w http.ResponseWriter, r *http.Request) {
			body, err := json.Marshal(o.Activity())
			write(w, r, http.StatusOK, body, err)
		})
	}
	shows(r, "/enterprises/refused", o.Refused)
	if o.Metrics != nil {
		r.Method(http.MethodGet, "/metrics", o.Metrics)
	}
	if o.Maintenance != nil {
		shows(r, "/maintenance", a.maintenance)
		r.Post("/maintenance", a.change(a.maintain, "POST /maintenance takes provider=ID or gateway=true, for=2h, and "+
			"reason=TEXT.", "provider", "gateway", "for", "reason"))
		r.Delete("/maintenance", a.change(a.maintain, "DELETE /maintenance takes provider=ID or gateway=true.",
			"provider", "gateway"))
	}
	r.Post("/configuration/confirm", a.change(a.confirm,
		"Say which configuration, by hash= with the one that /status shows under configuration.rejected.", "hash"))
	r.Post(retryPath, a.change(func(*http.Request, query) (any, error) {
		o.Retry()
		return changed, nil
	}, "It takes none."))
	r.Post("/cache/purge", a.change(a.purge, "Say which stored answers are to be dropped, by one parameter: "+
		"enterprise=NUMBER, route=NAME or all=true.", "enterprise", "route", "all"))
	r.Post("/log", a.change(a.logLevel, "Say the level, by one parameter: level=debug, info, warn or error.", "level"))
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		fail(w, r, problem.NotFound("The admin listener has a page at /, the documentation at "+
			"/docs/operations.md, and /livez, /startupz, /readyz, /health, /status, /activity and /metrics; it takes POST "+
			"/configuration/confirm, /tokens/retry, /cache/purge, /maintenance and /log. The APIs are on the internal "+
			"endpoint."))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		fail(w, req, problem.MethodNotAllowed(req.Method, allowed(r, req.URL.Path)))
	})
	return r
}

// shows answers GET with what show gives at that moment.
func shows(r chi.Router, path string, show func() any) {
	if show != nil {
		r.Get(path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, http.StatusOK, show()) })
	}
}

// allowed are the methods that a path has.
func allowed(r chi.Router, path string) (list []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if r.Match(chi.NewRouteContext(), method, path) {
			list = append(list, method)
			if method == http.MethodGet {
				list = append(list, http.MethodHead)
			}
		}
	}
	return list
}

func answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	write(w, r, status, body, err)
}

// write answers with JSON, unless that could not be made.
func write(w http.ResponseWriter, r *http.Request, status int, body []byte, err error) {
	if err != nil {
		fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked may have gone
}

// fail answers with the problem that err is.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	problem.Write(w, r, problem.From(err), call.NewID(), 0)
}
