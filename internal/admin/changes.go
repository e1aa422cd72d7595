package admin

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

// change does what a request asks for, and gives the answer. Its errors are problems.
type change func(*http.Request) (any, error)

// changed is the answer to a change that has nothing to show.
var changed = Health{Status: Up}

// parameters reads the query of a change, which has nothing but names, each once at most and
// none empty. A parameter that is misspelt is refused: to change something else than was
// meant, or nothing, would go unnoticed. usage says what the call takes.
func parameters(r *http.Request, usage string, names ...string) (map[string]string, error) {
	const maxName = 30 // bytes of the name of a parameter in a problem
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem.BadRequest("The query cannot be read. " + usage)
	}
	values := make(map[string]string)
	for name, list := range query {
		switch {
		case !slices.Contains(names, name):
			return nil, problem.BadRequest("The parameter " + printable.Text(name, maxName) + " is not one of this call. " +
				usage)
		case len(list) != 1 || list[0] == "":
			return nil, problem.BadRequest("The parameter " + name + " is empty or stands twice. " + usage)
		}
		values[name] = list[0]
	}
	return values, nil
}

func (a *administration) confirm(r *http.Request) (any, error) {
	const usage = "Say which configuration, by hash= with the one that /status shows under configuration.rejected."
	query, err := parameters(r, usage, "hash")
	if err != nil {
		return nil, err
	}
	if query["hash"] == "" {
		return nil, problem.BadRequest("The hash of the configuration is missing. " + usage)
	}
	if err := a.o.Confirm(query["hash"]); err != nil {
		return nil, problem.BadRequest("The configuration was not taken: " + err.Error())
	}
	return changed, nil
}

// Purge says which stored answers are to be dropped. Exactly one of its fields is set.
type Purge struct {
	// Enterprise is a CBE number as it was written, Route the name of a route.
	Enterprise, Route string
	// All means everything.
	All bool
}

func (a *administration) purge(r *http.Request) (any, error) {
	const usage = "Say which stored answers are to be dropped, by one parameter: enterprise=NUMBER, route=NAME or " +
		"all=true."
	query, err := parameters(r, usage, "enterprise", "route", "all")
	if err != nil {
		return nil, err
	}
	if len(query) != 1 || query["all"] != "" && query["all"] != "true" {
		return nil, problem.BadRequest(usage)
	}
	what := Purge{Enterprise: query["enterprise"], Route: query["route"], All: query["all"] != ""}
	return changed, a.o.Purge(r.Context(), what)
}

// levels are those that can be set: one above error would silence every log.
var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// logLevel sets the level of the logs until the next start, or until the
// configuration says another. Debug lines name more of the machinery, and no secret.
func (a *administration) logLevel(r *http.Request) (any, error) {
	if a.o.SetLevel == nil {
		return nil, problem.NotFound("The level of this gateway's logs cannot be changed while it runs.")
	}
	const usage = "Say the level, by one parameter: level=debug, info, warn or error."
	query, err := parameters(r, usage, "level")
	if err != nil {
		return nil, err
	}
	level, known := levels[strings.ToLower(query["level"])]
	if !known {
		return nil, problem.BadRequest(usage)
	}
	a.o.SetLevel(level)
	return map[string]string{"level": level.String()}, nil
}

// Maintenance is what somebody has switched to maintenance: a Document Provider, or
// the whole gateway.
type Maintenance struct {
	// Provider is the provider's id; empty if Gateway is true.
	Provider string `json:"provider,omitempty"`
	Gateway  bool   `json:"gateway,omitempty"`
	// Since and Until bound it. A request to end it has no Until.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Reason is a word for colleagues, By the address that asked.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

const (
	// MaxMaintenance is the longest time that can be switched at once. Whatever is
	// down for longer belongs into the configuration.
	MaxMaintenance = 7 * 24 * time.Hour
	minMaintenance = time.Second
	maxReason      = 200 // characters
)

// maintenance is what is switched now.
func (a *administration) maintenance() any {
	return struct {
		Items []Maintenance `json:"items"`
	}{a.o.Maintenance()}
}

// maintain switches, or ends, what the query names.
func (a *administration) maintain(r *http.Request) (any, error) {
	m, err := readMaintenance(r, a.o.Now())
	if err != nil {
		return nil, err
	}
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		m.By = from.Addr().Unmap().String()
	}
	if err := a.o.Maintain(r.Context(), m); err != nil {
		return nil, err
	}
	return a.maintenance(), nil
}

func readMaintenance(r *http.Request, now time.Time) (m Maintenance, err error) {
	usage, names := "POST /maintenance takes provider=ID or gateway=true, for=2h, and reason=TEXT.",
		[]string{"provider", "gateway", "for", "reason"}
	end := r.Method == http.MethodDelete
	if end {
		usage, names = "DELETE /maintenance takes provider=ID or gateway=true.", names[:2]
	}
	query, err := parameters(r, usage, names...)
	if err != nil {
		return m, err
	}
	m = Maintenance{Provider: query["provider"], Gateway: query["gateway"] == "true", Reason: query["reason"]}
	if (m.Provider == "") != m.Gateway || query["gateway"] != "" && !m.Gateway {
		return m, problem.BadRequest("Say what it is about: provider=ID or gateway=true. " + usage)
	}
	if end {
		return m, nil
	}
	if utf8.RuneCountInString(m.Reason) > maxReason || printable.Text(m.Reason, len(m.Reason)) != m.Reason {
		return m, problem.BadRequest("The reason is longer than 200 characters, or holds some that cannot be printed.")
	}
	if query["for"] == "" {
		return m, problem.BadRequest("Say how long it is to last, by for=2h: a switch that has no end is forgotten.")
	}
	last, err := time.ParseDuration(query["for"])
	if err != nil || last < minMaintenance || last > MaxMaintenance {
		return m, problem.BadRequest("The parameter for is no time between 1s and 168h, such as 30m or 2h.")
	}
	m.Since, m.Until = now.UTC().Truncate(time.Second), now.Add(last).UTC().Truncate(time.Second)
	return m, nil
}
