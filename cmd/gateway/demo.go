package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/remote"
	"ebox-gateway/internal/simulator"
)

func demoCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "demo", Short: "run the gateway and a simulator of all upstreams, nothing else needed",
		Long: `A key and a certificate are made on the spot and forgotten at the end. Everything
stays on this machine.`,
	}
	flags := c.Flags()
	listen := flags.String("listen", "127.0.0.1:8080", "the `address` of the internal endpoint")
	admin := flags.String("admin", "127.0.0.1:9090", "the `address` of the admin listener")
	c.RunE = func(_ *cobra.Command, _ []string) error {
		return runDemo(p, *listen, *admin)
	}
	return c
}

func runDemo(p *process, listen, admin string) (err error) {
	dir, err := os.MkdirTemp("", "ebox-gateway-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo's key: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sim, err := demo.Start(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()

	evidence := filepath.Join(dir, "evidence")
	text := demo.Config(sim, listen, admin) + fmt.Sprintf("audit: {dir: %q, replica: demo}\n", evidence)
	cfg, err := config.Parse("demo", []byte(text), dir, p.lookup)
	if err != nil {
		return err
	}
	o, err := serving(p, cfg)
	if err != nil {
		return err
	}
	g, err := gateway.New(cfg, o)
	if err != nil {
		return err
	}
	// What is printed can be typed at once, with the list of providers that is otherwise fetched later.
	if err := g.View().Directory.Refresh(p.ctx); err != nil {
		return fmt.Errorf("trying the demo: %w", err)
	}
	if err := g.Start(); err != nil {
		return fmt.Errorf("%w\nThe flags --listen and --admin move the demo to other ports", err)
	}
	introduce(p.stdout, g, sim, evidence)
	return serve(p.ctx, g, o.Log)
}

// introduce prints what to try.
func introduce(w io.Writer, g *gateway.Gateway, sim *simulator.Simulator, evidence string) {
	base := "http://" + remote.Reachable(g.Addrs()[0].String())
	document := base + "/enterprises/0206731645/ebox/providers/nsso/ebox/messages/" + simulator.FirstMessage +
		"/attachments/1/content"
	fmt.Fprintf(w, `
The gateway is ready: %s for applications, http://%s/ for the platform team,
a page that shows what happens. Its upstreams are a simulator on %s.
Try these, and stop with Ctrl-C:

1. Which Document Providers are there?
   curl -s %[1]s/ebox/providers

2. A legacy program that knows one base URL and HTTP/1.0 reads an e-Box:
   curl -s --http1.0 %[1]s/enterprises/0206731645/ebox/providers/nsso/ebox/messages

3. The same e-Box over all providers at once, the newest message first:
   curl -s '%[1]s/enterprises/0206731645/ebox/messages?pageSize=5'

4. A service says for whom in the official header, at a provider of the older API:
   curl -s -H 'On-Behalf-Of-Enterprise-Number: 0212.148.896' '%[1]s/ebox/providers/regional/ebox/messages?pageSize=2'

5. Download a document (which marks it read):
   curl -sS -o document.bin -w '%%{http_code}, %%{size_download} bytes\n' %[4]s

6. Create a citizen mandate:
   curl -si -H 'Content-Type: application/json' \
     -d '{"mandatorSsin":"79072300048","scopes":["precontractualDataFlexiJob"],
          "representedEnterpriseNumber":"0206731645"}' \
     %[1]s/enterprises/0206731645/grant/citizen/mandates

7. See a problem: the mandate of this enterprise has ended, and the provider says so:
   curl -si %[1]s/enterprises/0474028805/ebox/providers/nsso/ebox/messages

8. Who read or changed what, for whom? And is it as it was written?
   %[6]s audit search %[5]s
   %[6]s audit verify %[5]s

`, base, remote.Reachable(g.AdminAddrs()[0].String()), demo.Host(sim.TokenURL()), document, evidence,
		calledAs(os.Args[0]))
}

// calledAs is how to call the program again: what "go run" has built has no name that
// anybody could type.
func calledAs(name string) string {
	if strings.Contains(filepath.ToSlash(name), "/go-build") {
		return "go run ./cmd/gateway"
	}
	return name
}
