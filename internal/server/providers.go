package server

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/tenancy"
)

// Provider is a Document Provider as /ebox/providers shows it.
type Provider struct {
	ID   string            `json:"providerId"`
	Name map[string]string `json:"name,omitempty"`
	// State is active, not-yet-active, deactivated, maintenance or host-not-allowed.
	State string `json:"state"`
	// Maintenance is the current window, or the next one announced.
	Maintenance *Window `json:"maintenance,omitempty"`
	// Circuit is closed, open or half-open.
	Circuit    string `json:"circuit"`
	APIVersion string `json:"apiVersion,omitempty"`
	// Path is where the provider's Message Registry is reached, for this caller.
	Path string `json:"path"`
	// Advice says what the platform team can do about a provider that is refused.
	Advice string `json:"advice,omitempty"`
}

// Window is a stretch of time.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// providersRoute is /ebox/providers for the rules of tenancy: everybody who may
// use an e-Box route may see the list, for no enterprise in particular.
var providersRoute = tenancy.Route{Name: "ebox-providers", Group: "ebox", Enterprise: tenancy.None}

// listProviders answers /ebox/providers.
func (e *Endpoint) listProviders() http.HandlerFunc {
	allow := []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	return func(_ http.ResponseWriter, r *http.Request) {
		c := from(r)
		c.record.Route = providersRoute.Name
		if done := e.ownMethods(c, r, allow); done {
			return
		}
		if err := e.writeProviders(c, r); err != nil {
			c.fail(r, err)
		}
	}
}

func (e *Endpoint) writeProviders(c *call, r *http.Request) error {
	caller, err := e.identify(c, r)
	if err != nil {
		return err
	}
	c.record.Action = ebox.List
	if _, err := e.o.Resolver.Resolve(caller, &providersRoute, ebox.List, r.Method, c.claim(r.Header)); err != nil {
		return err
	}
	items, complete := e.o.Providers()
	list := struct {
		Items      []Provider `json:"items"`
		TotalItems int        `json:"totalItems"`
		// Incomplete says that the registry has given no list yet.
		Incomplete bool `json:"incomplete,omitempty"`
	}{Items: items, Incomplete: !complete}
	list.TotalItems = len(list.Items)
	if list.Items == nil {
		list.Items = []Provider{}
	}
	for i := range list.Items {
		list.Items[i].Path = strings.TrimSuffix(c.path, "/") + "/" + url.PathEscape(list.Items[i].ID)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	h := c.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body) + 1)}
	h["Cache-Control"] = []string{"no-store"}
	c.own = true
	c.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = c.Write(append(body, '\n')) // a caller that went away is no error of ours
	}
	return nil
}
