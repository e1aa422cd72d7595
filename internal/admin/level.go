package admin

import (
	"log/slog"
	"net/http"
	"net/url"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// logLevel sets the level of the logs until the next start, or until the
// configuration says another. Debug lines name more of the machinery, and no secret.
func (a *administration) logLevel(w http.ResponseWriter, r *http.Request) {
	if a.o.SetLevel == nil {
		problem.Write(w, r, problem.NotFound("The level of this gateway's logs cannot be changed while it runs."), exchange.NewID(), 0)
		return
	}
	var level slog.Level
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query) != 1 || len(query["level"]) != 1 || level.UnmarshalText([]byte(query.Get("level"))) != nil {
		problem.Write(w, r, problem.BadRequest("Say the level, by one parameter: level=debug, info, warn or error."), exchange.NewID(), 0)
		return
	}
	a.o.SetLevel(level)
	answer(w, r, http.StatusOK, map[string]string{"level": level.String()})
}
