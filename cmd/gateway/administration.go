package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/pflag"

	"ebox-gateway/internal/operate/remote"
)

// adminFlags are those of the commands that ask a gateway that runs.
type adminFlags struct{ config, address, tokenFile *string }

func addAdminFlags(flags *pflag.FlagSet) adminFlags {
	return adminFlags{
		configFlag(flags),
		flags.String("admin", "", "the `URL` of the admin listener, several with commas (default: admin.listen of the "+
			"configuration, or else http://127.0.0.1:9090)"),
		flags.String("token-file", "", "the `file` that holds the admin listener's token (default: admin.tokenFile)"),
	}
}

// gateways are those that the flags mean.
func (a adminFlags) gateways(p *process) ([]*remote.Gateway, error) {
	list, err := remote.Find(remote.Options{
		Config: *a.config, Lookup: p.lookup, Address: *a.address, TokenFile: *a.tokenFile, Patience: p.patience,
		Warn: func(err error) {
			fmt.Fprintf(p.stderr, "admin.listen cannot be read, the default is tried: %v\n", err)
		},
	})
	for _, g := range list {
		if _, err := url.Parse(g.Base); err != nil {
			return nil, usageError{err.Error()}
		}
	}
	return list, err
}

// each asks all of them, one after the other, also behind one that fails.
func (a adminFlags) each(p *process, ask func(*remote.Gateway) error) error {
	gateways, err := a.gateways(p)
	failed := []error{err}
	for _, g := range gateways {
		if err := ask(g); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", g.Base, err))
		}
	}
	return errors.Join(failed...)
}

// change asks all of them for a change, and names each that has made it.
func (a adminFlags) change(p *process, path string, done func(base string)) error {
	return a.each(p, func(g *remote.Gateway) error {
		var answer struct{ Status string }
		err := g.Ask(p.ctx, http.MethodPost, path, &answer)
		switch {
		case err != nil:
			return err
		case answer.Status != "UP":
			return g.Foreign()
		}
		done(g.Base)
		return nil
	})
}
