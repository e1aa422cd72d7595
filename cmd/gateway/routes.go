package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/operate/explain"
)

func routesCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "routes [--explain METHOD URL]", Short: "show the routes as resolved, or explain what becomes of one request",
		Long: `--explain sends nothing to the upstream. It takes the request through all that
decides about it: who the caller is, whether it may, for which enterprise, with which
client and scopes, to which URL, what the cache does, which limits there are, and
which callers may do the same. The exit code is 1 if it is refused. With --online the registry is asked for its list
first, so that a provider's real URL and API version count.`,
	}
	flags := c.Flags()
	path := configFlag(flags)
	explained := flags.Bool("explain", false, "explain the request METHOD URL instead")
	from := flags.String("from", "127.0.0.1", "the caller's `address`")
	listener := flags.String("listener", "", "the `name` of the listener it comes in by (default: the first)")
	header := make(http.Header)
	flags.Func("header", "a `field` of the request, as in 'Name: value'; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("a header is written as 'Name: value'")
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	certFile := flags.String("cert", "", "the caller's client certificate, a PEM `file`, taken for verified")
	bodyFile := flags.String("body", "", "a `file` with the body, in which grant/citizen names the enterprise")
	online := flags.Bool("online", false, "ask the registry for the list of providers first")
	c.RunE = func(_ *cobra.Command, rest []string) error {
		if *explained && len(rest) != 2 || !*explained && len(rest) != 0 {
			return usageError{"--explain takes a method and a URL, as in --explain GET " +
				"/enterprises/0206731645/ebox/providers/nsso/ebox"}
		}
		addr, err := netip.ParseAddr(*from)
		if err != nil {
			return usageError{fmt.Sprintf("--from %q is not an IP address", *from)}
		}
		cfg, g, err := buildGateway(p, *path)
		if err != nil {
			return err
		}
		if !*explained {
			printRoutes(p, cfg)
			return nil
		}
		if *listener == "" && len(cfg.Server.Listen) > 0 {
			*listener = cfg.Server.Listen[0].Name
		}
		if !slices.ContainsFunc(cfg.Server.Listen, func(l config.Listener) bool { return l.Name == *listener }) {
			return usageError{fmt.Sprintf("there is no listener %q in %s", *listener, *path)}
		}
		q := explain.Request{
			Method: strings.ToUpper(rest[0]), Target: rest[1], From: addr, Listener: *listener,
			Header: header, Online: *online,
		}
		if q.Certificate, err = readCertificate(*certFile); err != nil {
			return err
		}
		if *bodyFile != "" {
			if q.Body, err = os.ReadFile(*bodyFile); err != nil {
				return fmt.Errorf("reading the body: %w", err)
			}
			if header.Get("Content-Type") == "" {
				header.Set("Content-Type", "application/json")
			}
		}
		x, err := explain.Explain(p.ctx, g.View(), q)
		if err != nil {
			return err
		}
		table := newTable(p.stdout)
		for _, row := range x.Rows {
			fmt.Fprintf(table, "%s\t%s\n", row.Name, row.Value)
		}
		_ = table.Flush() // what standard output does not take is lost either way
		if x.Problem != "" {
			fmt.Fprintf(p.stdout, "\n%s", x.Problem)
		}
		if x.Refused { // it was printed why
			return errReported
		}
		return nil
	}
	return c
}

func printRoutes(p *process, cfg *config.Config) {
	table := newTable(p.stdout)
	fmt.Fprintln(table, "PATH\tMETHODS\tENTERPRISE\tUPSTREAM\tSCOPES\tROUTE")
	if providers := slices.IndexFunc(cfg.Routes, func(r config.Route) bool {
		return r.Registry && r.Kind == config.KindEBox
	}); providers >= 0 {
		fmt.Fprintf(table, "/ebox/providers\tGET\tnone\tthe gateway itself: the providers, their state and their "+
			"paths\t\t%s\n", cfg.Routes[providers].Name)
		fmt.Fprintln(table, "/ebox\tGET\trequired\tevery active provider at once: one summary\tas for "+
			"each provider\tebox-inbox")
		fmt.Fprintln(table, "/ebox/messages\tGET PATCH\trequired\tevery active provider at once: one list\tas for "+
			"each provider\tebox-inbox")
	}
	for _, r := range cfg.Routes {
		upstream := "the provider's base URL, from the registry"
		if r.Upstream != nil {
			upstream = r.Upstream.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Path, strings.Join(r.Methods, " "), r.Enterprise, upstream,
			cmp.Or(strings.Join(r.Scopes, " "), "-"), r.Name)
		for _, rule := range r.Rules {
			fmt.Fprintf(table, "  %s\t%s\t\t\t%s\t\n", cmp.Or(strings.Join(rule.Paths, " "), "(all paths)"),
				strings.TrimSpace(strings.Join(rule.Methods, " ")+versions(rule.APIVersions)),
				cmp.Or(strings.Join(rule.Scopes, " "), "-"))
		}
	}
	for _, a := range cfg.Absent {
		fmt.Fprintf(table, "%s\t\t\t404: %s\t\t\n", a.Path, a.Reason)
	}
	_ = table.Flush() // what standard output does not take is lost either way
}

func versions(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return " (API v" + strings.Join(list, ", v") + ")"
}

// readCertificate reads the first certificate of a PEM file, nil without a file.
func readCertificate(file string) (*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	list, err := files.CertificatesIn(file)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	return list[0], nil
}
