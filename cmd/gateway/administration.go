package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
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

// administration is the admin listener of a gateway that runs.
type administration struct {
	base, token string
	client      *http.Client
	patience    time.Duration // for an answer
}

// connect finds the admin listeners that the flags mean. A configuration that is not
// there, or cannot be read, is no error: the default address is tried, since just then
// somebody may need to know how the gateway that runs is doing.
func (a adminFlags) connect(p *process) (list []administration, err error) {
	base, token := *a.address, *a.tokenFile
	var trusted *x509.CertPool
	name := ""
	admin, err := config.LoadAdmin(*a.config, p.lookup)
	if err != nil && base == "" && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(p.stderr, "admin.listen cannot be read, the default is tried: %v\n", err)
	}
	token = cmp.Or(token, admin.TokenFile)
	if len(admin.Listen) > 0 {
		base = cmp.Or(base, adminURL(admin.Listen[0]))
		if t := admin.Listen[0].TLS; t != nil {
			// The listener's own certificate is on this machine: no other is believed.
			if trusted, name, err = trust(t.CertFile); err != nil {
				return nil, err
			}
		}
	}
	secret := ""
	if token != "" {
		text, err := files.Text(token, files.Most)
		switch {
		case err == nil:
			secret = strings.TrimSpace(string(text))
		case *a.tokenFile != "": // that of the configuration may be for others to read
			return nil, fmt.Errorf("reading the token: %w", err)
		}
	}
	// Never through a proxy: the token is for the gateway alone, and a proxy's answer is
	// none of the gateway's.
	client := &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, ServerName: name},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for one := range strings.SplitSeq(base, ",") {
		list = append(list, administration{strings.TrimRight(strings.TrimSpace(one), "/"), secret, client, p.patience})
	}
	return list, nil
}

// each asks all of them, one after the other, also behind one that fails.
func (a adminFlags) each(p *process, ask func(administration) error) error {
	gateways, err := a.connect(p)
	failed := []error{err}
	for _, g := range gateways {
		if err := ask(g); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", g.base, err))
		}
	}
	return errors.Join(failed...)
}

// change asks all of them for a change, and names each that has made it.
func (a adminFlags) change(p *process, path string, done func(base string)) error {
	return a.each(p, func(g administration) error {
		var answer struct{ Status string }
		err := g.ask(p.ctx, http.MethodPost, path, &answer)
		switch {
		case err != nil:
			return err
		case answer.Status != "UP":
			return g.foreign()
		}
		done(g.base)
		return nil
	})
}

// adminURL is where a listener can be asked from this machine.
func adminURL(l config.Listener) string {
	scheme := "http://"
	if l.TLS != nil {
		scheme = "https://"
	}
	return scheme + reachable(l.Address)
}

// reachable is an address that can be called: a listener on every address is reached on
// loopback.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// trust makes a pool of the certificates of a file, and gives a name that the first of
// them is for.
func trust(file string) (*x509.CertPool, string, error) {
	list, err := certificatesOf(file)
	if err != nil {
		return nil, "", fmt.Errorf("reading the admin listener's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	name := list[0].Subject.CommonName
	if names := list[0].DNSNames; len(names) > 0 {
		name = strings.Replace(names[0], "*", "any", 1)
	} else if ips := list[0].IPAddresses; len(ips) > 0 {
		name = ips[0].String()
	}
	return pool, name, nil
}

// certificatesOf are the certificates of a PEM file, one at least.
func certificatesOf(file string) ([]*x509.Certificate, error) {
	text, err := files.Text(file, files.Most)
	if err != nil {
		return nil, err
	}
	list, err := files.Certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// ask asks the admin listener and reads what it answers with 200 into v; the reason of a
// refusal is in the error. Anything but the gateway's own JSON is an error, whatever its
// status: something else may listen there.
func (a administration) ask(ctx context.Context, method, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return usageError{err.Error()}
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w; does the gateway run, and is %s the address of its admin.listen?",
			err, a.base)
	}
	defer resp.Body.Close()
	const most = 16 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if resp.StatusCode != http.StatusOK {
		var why struct{ Detail, Reason string }
		if err == nil && json.Unmarshal(body, &why) == nil && cmp.Or(why.Detail, why.Reason) != "" {
			return fmt.Errorf("the admin listener answers %s: %s", resp.Status, cmp.Or(why.Detail, why.Reason))
		}
		return fmt.Errorf("the admin listener answers %s", resp.Status)
	}
	if err != nil {
		return fmt.Errorf("reading the admin listener's answer: %w", err)
	}
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t != "application/json" ||
		json.Unmarshal(body, v) != nil {
		return a.foreign()
	}
	return nil
}

// foreign is the error for an answer that is no gateway's.
func (a administration) foreign() error {
	return fmt.Errorf("%s does not answer as a gateway's admin listener does: something else listens there", a.base)
}
