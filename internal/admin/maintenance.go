package admin

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"
	"unicode/utf8"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

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
	maxName        = 30  // bytes of the name of a parameter in a problem
)

// maintain switches, or ends, what the query names. As with a purge, a parameter
// that is misspelt is refused.
func (a *administration) maintain(w http.ResponseWriter, r *http.Request) {
	m, err := readMaintenance(r.URL.RawQuery, r.Method == http.MethodDelete, a.o.Now())
	if err == nil {
		if from, wrong := netip.ParseAddrPort(r.RemoteAddr); wrong == nil {
			m.By = from.Addr().Unmap().String()
		}
		err = a.o.Maintain(r.Context(), m)
	}
	if err != nil {
		problem.Write(w, r, problem.From(err), call.NewID(), 0)
		return
	}
	answer(w, r, http.StatusOK, maintenanceList{a.o.Maintenance()})
}

type maintenanceList struct {
	Items []Maintenance `json:"items"`
}

func readMaintenance(raw string, end bool, now time.Time) (m Maintenance, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return m, problem.BadRequest("The query cannot be read.")
	}
	var last time.Duration
	for name, values := range query {
		value := values[0]
		if len(values) != 1 || value == "" {
			return m, problem.BadRequest("The parameter " + printable.Text(name, maxName) + " is empty or stands twice.")
		}
		switch {
		case name == "provider":
			m.Provider = value
		case name == "gateway" && value == "true":
			m.Gateway = true
		case name == "for" && !end:
			if last, err = time.ParseDuration(value); err != nil || last < minMaintenance || last > MaxMaintenance {
				return m, problem.BadRequest("The parameter for is no time between 1s and 168h, such as 30m or 2h.")
			}
		case name == "reason" && !end:
			if utf8.RuneCountInString(value) > maxReason || printable.Text(value, len(value)) != value {
				return m, problem.BadRequest("The reason is longer than 200 characters, or holds some that cannot be printed.")
			}
			m.Reason = value
		default:
			return m, problem.BadRequest("The parameter " + printable.Text(name, maxName) + " is not one of this call, or has no value that " +
				"it can have. " + maintenanceUsage(end))
		}
	}
	if (m.Provider != "") == m.Gateway {
		return m, problem.BadRequest("Say what it is about: provider=ID or gateway=true. " + maintenanceUsage(end))
	}
	if end {
		return m, nil
	}
	if last == 0 {
		return m, problem.BadRequest("Say how long it is to last, by for=2h: a switch that has no end is forgotten.")
	}
	m.Since, m.Until = now.UTC().Truncate(time.Second), now.Add(last).UTC().Truncate(time.Second)
	return m, nil
}

func maintenanceUsage(end bool) string {
	if end {
		return "DELETE /maintenance takes provider=ID or gateway=true."
	}
	return "POST /maintenance takes provider=ID or gateway=true, for=2h, and reason=TEXT."
}
