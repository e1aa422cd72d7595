package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/simulator"
)

func simulatorCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "simulator", Short: "run the other side alone: Authorization Server, registry, providers, grant/citizen",
		Long: `--client registers the certificate of a client of yours, as Chaman would. Given
again with the same ID, it registers a further one, as while a certificate is renewed.
--new-client makes a key store client.p12 and a config.yaml that fits this
simulator in a directory of your choice.

The control endpoint, for curl: GET /_control/state, GET|POST|DELETE
/_control/faults, GET|DELETE /_control/requests, POST /_control/token-lifetime,
POST /_control/revoke, POST /_control/messages, POST /_control/page-form, POST /_control/grant-health;
PUT|DELETE /_control/clients/ID, /_control/providers/ID and /_control/mandates. A
fault: {"upstream":"provider:nsso","kind":"latency","delay":"2s","count":3}
Its kind is latency, status, reset, close, freeze, slowBody, truncate, lost,
surplus, malformed, malformedJSON, unauthorized or redirect; without a count it stays until a DELETE.`,
	}
	flags := c.Flags()
	listen := flags.String("listen", "127.0.0.1:8090", "the `address` of the host that most upstreams share")
	regional := flags.String("regional-listen", "127.0.0.1:8091", "the `address` of the provider regional")
	lifetime := flags.Duration("token-lifetime", 5*time.Minute, "how long tokens are valid")
	dir := flags.String("new-client", "", "make a client and its configuration in this `directory`")
	var clients []simulator.Client
	flags.Func("client", "register the client `ID=CERT.pem`; may be repeated, also for one client",
		func(s string) error {
			c, err := readClient(s)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(clients, func(o simulator.Client) bool { return o.ID == c.ID }); i >= 0 {
				clients[i].Renewed = append(clients[i].Renewed, c.Certificate)
				return nil
			}
			clients = append(clients, c)
			return nil
		})
	c.RunE = func(_ *cobra.Command, _ []string) error {
		if *dir != "" {
			for _, name := range []string{"client.p12", "config.yaml"} {
				if _, err := os.Lstat(filepath.Join(*dir, name)); err == nil {
					return usageError{filepath.Join(*dir, name) + " is there already and is not overwritten: give " +
						"--new-client a directory without it"}
				}
			}
			if err := os.MkdirAll(*dir, 0o700); err != nil {
				return fmt.Errorf("making the directory of the new client: %w", err)
			}
			c, err := demo.NewClient(*dir)
			if err != nil {
				return err
			}
			clients = append(clients, c)
		}
		if len(clients) == 0 {
			return usageError{"no client could get a token: give --client or --new-client"}
		}
		return simulate(p, *dir, simulator.Options{
			Listen: *listen, ListenRegional: *regional, Clients: clients,
			TokenLifetime: *lifetime,
		})
	}
	return c
}

func readClient(s string) (simulator.Client, error) {
	id, file, ok := strings.Cut(s, "=")
	if !ok || id == "" {
		return simulator.Client{}, errors.New("write it as ID=CERT.pem")
	}
	list, err := files.CertificatesIn(file)
	if err != nil {
		return simulator.Client{}, err
	}
	return simulator.Client{ID: id, Certificate: list[0], Enterprise: demo.Office}, nil
}

func simulate(p *process, dir string, o simulator.Options) error {
	sim, err := simulator.Start(o)
	if err != nil {
		return err
	}
	if dir != "" {
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(demo.Config(sim, "127.0.0.1:8080", "127.0.0.1:9090")), 0o600); err != nil {
			return errors.Join(fmt.Errorf("writing the configuration: %w", err), sim.Close())
		}
		fmt.Fprintf(p.stdout, "For a gateway to it: gateway serve --config %s\n", file)
	}
	fmt.Fprintf(p.stdout, "token endpoint     %s\nregistry           %s\nolder registry     %s\npartition          "+
		"%s\nfederation         %s\ngrant/citizen      %s\n",
		sim.TokenURL(), sim.RegistryURL(), sim.OldRegistryURL(), sim.PartitionURL(), sim.FederationURL(), sim.GrantURL())
	for _, provider := range sim.Providers() {
		fmt.Fprintf(p.stdout, "provider %-9s %s\n", provider.ID, provider.URL)
	}
	fmt.Fprintf(p.stdout, "control            %s\n", sim.ControlURL())
	ctx, stop := p.untilSignal()
	defer stop()
	<-ctx.Done()
	return sim.Close()
}
