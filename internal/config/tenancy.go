package config

import (
	"time"

	"ebox-gateway/internal/enterprise"
)

// Tenancy says which enterprises may be represented, and through which client.
type Tenancy struct {
	// Mode is listed (only the enterprises below and in the files) or any (every valid number).
	// Danger: `any` leaves it to the upstream for whom calls are allowed.
	Mode Mode `yaml:"mode" default:"listed"`
	// DefaultClient is the client of every enterprise that names none, of calls
	// in the office's own name and of the registry. Default: the only client.
	DefaultClient string `yaml:"defaultClient"`
	// Enterprises are listed here, or in enterpriseFiles; after Load those of
	// the files are among them.
	Enterprises []Enterprise `yaml:"enterprises"`
	// EnterpriseFiles are YAML files (a list like enterprises) or CSV files
	// (number,name,client,routes,from,until,suspended; "," or ";").
	EnterpriseFiles []string `yaml:"enterpriseFiles" config:"file"`
	// SuspendedFiles list numbers, one a line, that get 403 whatever else says.
	SuspendedFiles []string `yaml:"suspendedFiles" config:"file"`

	// Suspended are the numbers of the suspended files.
	Suspended []enterprise.Number `yaml:"-"`
}

// Enterprise is one enterprise that may be represented.
type Enterprise struct {
	// Number is the CBE number in any written form.
	Number enterprise.Number `yaml:"number" jsonschema:"required"`
	// Name is for people.
	Name string `yaml:"name"`
	// Client is the OAuth client for it. Default: tenancy.defaultClient.
	Client string `yaml:"client"`
	// Routes may be called for it, by name, or "ebox" for all e-Box routes.
	// Default all.
	Routes []string `yaml:"routes" config:",some"`
	// From is the first day, 2026-01-31, in Brussels; as an instant, its start.
	// Default: always.
	From time.Time `yaml:"from" config:"firstday"`
	// Until is the last day, inclusive; as an instant, the start of the day
	// after. Default: for ever.
	Until time.Time `yaml:"until" config:"lastday"`
	// Suspended answers 403 without forgetting the rest. Default false.
	Suspended bool `yaml:"suspended"`
	// Rate bounds the calls for this enterprise. Default none.
	Rate *Rate `yaml:"rate"`
}

func (t *Tenancy) check(k *check) {
	clients := k.c.OAuth.Clients
	switch {
	case t.DefaultClient != "":
		k.complain("tenancy.defaultClient", k.unknownClient(t.DefaultClient))
	case len(clients) == 1:
		t.DefaultClient = sorted(clients)[0]
	case len(clients) > 1 && !k.given("tenancy.defaultClient"):
		k.fail("oauth.clients", "there are several clients: say with tenancy.defaultClient which one is for enterprises "+
			"that name none, for own calls and for the registry")
	}
}
