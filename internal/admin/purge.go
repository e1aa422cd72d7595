package admin

import (
	"context"
	"net/http"
	"net/url"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Purge says which stored answers are to be dropped. Exactly one of its fields is set.
type Purge struct {
	// Enterprise is a CBE number as it was written, Route the name of a route.
	Enterprise, Route string
	// All means everything.
	All bool
}

// purge drops what the query names. A parameter that is misspelt is refused, since to
// drop something else than was meant, or nothing, would go unnoticed.
func purge(do func(context.Context, Purge) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		what, err := readPurge(r.URL.RawQuery)
		if err == nil {
			err = do(r.Context(), what)
		}
		if err != nil {
			problem.Write(w, r, problem.From(err), call.NewID(), 0)
			return
		}
		answer(w, r, http.StatusOK, Health{Status: Up})
	}
}

func readPurge(raw string) (what Purge, err error) {
	wrong := problem.BadRequest("Say which stored answers are to be dropped, by one parameter: enterprise=NUMBER, " +
		"route=NAME or all=true.")
	query, err := url.ParseQuery(raw)
	if err != nil || len(query) != 1 {
		return Purge{}, wrong
	}
	for name, values := range query {
		if len(values) != 1 || values[0] == "" {
			return Purge{}, wrong
		}
		switch {
		case name == "enterprise":
			what.Enterprise = values[0]
		case name == "route":
			what.Route = values[0]
		case name == "all" && values[0] == "true":
			what.All = true
		default:
			return Purge{}, wrong
		}
	}
	return what, nil
}
