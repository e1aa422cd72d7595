package server

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"ebox-gateway/internal/config"
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
	Maintenance *ebox.Window `json:"maintenance,omitempty"`
	// Circuit is closed, open or half-open.
	Circuit    string `json:"circuit"`
	APIVersion string `json:"apiVersion,omitempty"`
	// Path is where the provider's Message Registry is reached, for this caller.
	Path string `json:"path"`
	// Advice says what the platform team can do about a provider that is refused.
	Advice string `json:"advice,omitempty"`
}

// providersRoute is /ebox/providers for the rules of tenancy: everybody who may
// use an e-Box route may see the list, for no enterprise in particular.
var providersRoute = Route{
	Route: tenancy.Route{Route: &config.Route{
		Name: "ebox-providers", Kind: config.KindRegistry, Enterprise: config.None}},
	classify: func(string, ebox.Path) ebox.Action { return ebox.List },
}

// listProviders answers /ebox/providers.
func (x *exchange) listProviders() error {
	c := x.c
	caller, err := x.identify()
	if err != nil {
		return err
	}
	if _, _, err := x.judge(caller, &providersRoute, ebox.Path{}, 0); err != nil {
		return err
	}
	items, complete := x.e.o.Providers()
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
		list.Items[i].Path = strings.TrimSuffix(c.Path, "/") + "/" + url.PathEscape(list.Items[i].ID)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	x.Header()["Cache-Control"] = noStore
	x.answer(http.StatusOK, append(body, '\n'))
	return nil
}
