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

// query is that of a change: names, each once at most and none empty.
type query map[string]string

// misuse is what is wrong with a query; what the call takes is added to it.
type misuse string

func (m misuse) Error() string { return string(m) }

// changed is the answer to a change that has nothing to show.
var changed = Health{Status: Up}

// parameters reads the query of a change. A parameter that is misspelt is refused: to change
// something else than was meant, or nothing, would go unnoticed.
func parameters(r *http.Request, names []string) (query, error) {
	const maxName = 30 // bytes of the name of a parameter in a problem
	sent, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, misuse("The query cannot be read. ")
	}
	q := make(query)
	for name, list := range sent {
		switch {
		case !slices.Contains(names, name):
			return nil, misuse("The parameter " + printable.Text(name, maxName) + " is not one of this call. ")
		case len(list) != 1 || list[0] == "":
			return nil, misuse("The parameter " + name + " is empty or stands twice. ")
		}
		q[name] = list[0]
	}
	return q, nil
}

func (a *administration) confirm(_ *http.Request, q query) (any, error) {
	if q["hash"] == "" {
		return nil, misuse("The hash of the configuration is missing. ")
	}
	if err := a.o.Confirm(q["hash"]); err != nil {
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

func (a *administration) purge(r *http.Request, q query) (any, error) {
	if len(q) != 1 || q["all"] != "" && q["all"] != "true" {
		return nil, misuse("")
	}
	return changed, a.o.Purge(r.Context(), Purge{Enterprise: q["enterprise"], Route: q["route"], All: q["all"] != ""})
}

// levels are those that can be set: one above error would silence every log.
var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// logLevel sets the level of the logs until the next start, or until the
// configuration says another. Debug lines name more of the machinery, and no secret.
func (a *administration) logLevel(_ *http.Request, q query) (any, error) {
	if a.o.SetLevel == nil {
		return nil, problem.NotFound("The level of this gateway's logs cannot be changed while it runs.")
	}
	level, known := levels[strings.ToLower(q["level"])]
	if !known {
		return nil, misuse("")
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
func (a *administration) maintain(r *http.Request, q query) (any, error) {
	m := Maintenance{Provider: q["provider"], Gateway: q["gateway"] == "true", Reason: q["reason"]}
	if (m.Provider == "") != m.Gateway || q["gateway"] != "" && !m.Gateway {
		return nil, misuse("Say what it is about: provider=ID or gateway=true. ")
	}
	if r.Method != http.MethodDelete {
		if err := m.begin(q["for"], a.o.Now()); err != nil {
			return nil, err
		}
	}
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		m.By = from.Addr().Unmap().String()
	}
	if err := a.o.Maintain(r.Context(), m); err != nil {
		return nil, err
	}
	return a.maintenance(), nil
}

// begin bounds a maintenance that begins now.
func (m *Maintenance) begin(lasts string, now time.Time) error {
	if utf8.RuneCountInString(m.Reason) > maxReason || printable.Text(m.Reason, len(m.Reason)) != m.Reason {
		return problem.BadRequest("The reason is longer than 200 characters, or holds some that cannot be printed.")
	}
	if lasts == "" {
		return problem.BadRequest("Say how long it is to last, by for=2h: a switch that has no end is forgotten.")
	}
	last, err := time.ParseDuration(lasts)
	if err != nil || last < minMaintenance || last > MaxMaintenance {
		return problem.BadRequest("The parameter for is no time between 1s and 168h, such as 30m or 2h.")
	}
	m.Since, m.Until = now.UTC().Truncate(time.Second), now.Add(last).UTC().Truncate(time.Second)
	return nil
}
