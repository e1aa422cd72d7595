package admin

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// levels are those that can be set: one above error would silence every log.
var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// logLevel sets the level of the logs until the next start, or until the
// configuration says another. Debug lines name more of the machinery, and no secret.
func (a *administration) logLevel(w http.ResponseWriter, r *http.Request) {
	if a.o.SetLevel == nil {
		problem.Write(w, r, problem.NotFound("The level of this gateway's logs cannot be changed while it runs."),
			call.NewID(), 0)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	level, known := levels[strings.ToLower(query.Get("level"))]
	if err != nil || len(query) != 1 || len(query["level"]) != 1 || !known {
		problem.Write(w, r, problem.BadRequest("Say the level, by one parameter: level=debug, info, warn or error."),
			call.NewID(), 0)
		return
	}
	a.o.SetLevel(level)
	answer(w, r, http.StatusOK, map[string]string{"level": level.String()})
}
