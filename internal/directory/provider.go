package directory

import (
	"net/url"
	"time"
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

// Interval is a stretch of planned maintenance, from Start up to but without End.
type Interval struct {
	Start, End time.Time
}

// Provider is one Document Provider, as its registry describes it. A Provider
// that the Directory gave out is shared by all requests and must not be changed.
type Provider struct {
	// ID is the provider's id, usable as one segment of a path, 1 to 100
	// characters, upper and lower case told apart.
	ID string
	// Name and Description are the texts by language: nl, fr, de, en. A text
	// that the registry gave without a language stands under "".
	Name, Description map[string]string
	// Base is the URL of its Message Registry, without a slash at the end. It is
	// nil if the registry's URL was no URL at all; Refusal is set then.
	Base *url.URL
	// Activation and Deactivation bound the provider's life: it is served from
	// Activation up to but without Deactivation. Zero is no bound. A date of the
	// registry is a day in Brussels; both days are served from end to end.
	Activation, Deactivation time.Time
	// Maintenance is the planned maintenance, sorted and without overlaps.
	Maintenance []Interval
	// APIVersion is the version of the Message Registry API that it serves.
	APIVersion string
	// Contact is whom to ask about the provider's service.
	Contact string
	// Refusal says why the gateway does not believe the URL, with the line that
	// the platform team can add to config.yaml if there is one; empty if it does.
	// It names the host, so it is for the platform team alone.
	Refusal string
}
