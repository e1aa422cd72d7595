package directory

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ebox-gateway/internal/ebox"
)

// State is whether a Document Provider can be called, and if not, why not.
type State string

// The states of a Document Provider, as /ebox/providers shows them.
const (
	Active         State = "active"
	NotYetActive   State = "not-yet-active"
	Deactivated    State = "deactivated"
	Maintenance    State = "maintenance"
	HostNotAllowed State = "host-not-allowed"
)

// Provider is one Document Provider, as its registry describes it. A Provider that
// the Directory gave out is shared by all requests and must not be changed.
type Provider struct {
	// ID is the provider's id, usable as one segment of a path: 1 to 100
	// characters, upper and lower case told apart.
	ID string
	// Name and Description are the texts by language: nl, fr, de, en. A text
	// that the registry gave without a language stands under "".
	Name, Description map[string]string
	// Base is the URL of its Message Registry: host in lower case and ASCII, no
	// default port, no slash at the end, no user, query or fragment. Never nil.
	Base *url.URL
	// Activation and Deactivation bound the provider's life: it is served from
	// Activation up to but without Deactivation. Zero is no bound. A date in the
	// registry is a day in Brussels, and both days are served whole: the
	// description says that a provider is to be ignored after the one date, so
	// Deactivation is the midnight that ends it.
	Activation, Deactivation time.Time
	// Maintenance is the planned maintenance, sorted, windows that overlap or
	// touch made one.
	Maintenance []ebox.Window
	// APIVersion is the version of the Message Registry API that it serves.
	APIVersion string
	// Contact is whom to ask about the provider's service.
	Contact string
	// Refusal says why the gateway does not use the URL, and what the
	// platform team can add to config.yaml; empty if it does use it. It names
	// the host, which the list of providers may show and a problem may not.
	Refusal string
}

// State returns the provider's state at a moment. A provider that is gone is
// deactivated whatever its host; one that is to come shows a refused host early,
// while there is time to allow it.
func (p *Provider) State(now time.Time) State {
	switch {
	case !p.Deactivation.IsZero() && !now.Before(p.Deactivation):
		return Deactivated
	case p.Refusal != "":
		return HostNotAllowed
	case now.Before(p.Activation):
		return NotYetActive
	}
	if _, down := p.MaintenanceEnd(now); down {
		return Maintenance
	}
	return Active
}

// MaintenanceEnd returns when the maintenance that is going on at a moment ends. False
// means that there is none.
func (p *Provider) MaintenanceEnd(now time.Time) (time.Time, bool) {
	for _, w := range p.Maintenance {
		if !now.Before(w.Start) && now.Before(w.End) {
			return w.End, true
		}
	}
	return now, false
}

// merged returns the windows sorted, with those that overlap or touch made one,
// and how many it left out because they end before they begin.
func merged(windows []ebox.Window) (out []ebox.Window, backwards int) {
	windows = slices.SortedFunc(slices.Values(windows), func(a, b ebox.Window) int { return a.Start.Compare(b.Start) })
	for _, w := range windows {
		last := len(out) - 1
		switch {
		case !w.End.After(w.Start):
			backwards++
		case last >= 0 && !w.Start.After(out[last].End):
			if w.End.After(out[last].End) {
				out[last].End = w.End
			}
		default:
			out = append(out, w)
		}
	}
	return out, backwards
}

const maxID = 100 // characters, as the registry's description says

// checkID says why an id cannot be one segment of a path that every layer between
// caller and gateway reads in the same way.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("it has no id")
	case !utf8.ValidString(id) || utf8.RuneCountInString(id) > maxID:
		return fmt.Errorf("its id is not text of at most %d characters", maxID)
	case id == "." || id == "..":
		return fmt.Errorf("its id %q is a dot segment", id)
	case strings.ContainsAny(id, `/\%`):
		return fmt.Errorf("its id %q holds a slash, backslash or percent sign, which no path segment can carry safely", id)
	case strings.TrimSpace(id) != id || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("its id %q holds control characters or spaces at its ends", id)
	}
	return nil
}
