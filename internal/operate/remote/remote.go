// Package remote asks the admin listeners of gateways that run.
package remote

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

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
)

// Options say which gateways are asked.
type Options struct {
	// Config is the file of the configuration, Lookup its environment. Where it cannot be read, the
	// default address is tried, since just then somebody may need to know how the gateway that runs
	// is doing; Warn, unless nil, is told of it.
	Config string
	Lookup func(string) (string, bool)
	Warn   func(error)
	// Address is the URL of the admin listener, several with commas. Default: admin.listen of the
	// configuration, or else config's default.
	Address string
	// TokenFile holds the admin listener's token. Default: admin.tokenFile.
	TokenFile string
	// Patience is how long an answer may take.
	Patience time.Duration
}

// Gateway is the admin listener of a gateway that runs.
type Gateway struct {
	Base     string // its URL, without a slash at the end
	token    string
	client   *http.Client
	patience time.Duration
}

// Find finds the admin listeners that are meant.
func Find(o Options) (list []*Gateway, err error) {
	base, token := o.Address, o.TokenFile
	var trusted *x509.CertPool
	name := ""
	admin, err := config.LoadAdmin(o.Config, o.Lookup)
	if err != nil && base == "" && !errors.Is(err, fs.ErrNotExist) && o.Warn != nil {
		o.Warn(err)
	}
	token = cmp.Or(token, admin.TokenFile)
	if len(admin.Listen) > 0 {
		l, scheme := admin.Listen[0], "http://"
		if l.TLS != nil {
			// The listener's own certificate is on this machine: no other is trusted.
			if trusted, name, err = trust(l.TLS.CertFile); err != nil {
				return nil, err
			}
			scheme = "https://"
		}
		base = cmp.Or(base, scheme+Reachable(l.Address))
	}
	secret := ""
	if token != "" {
		text, err := files.Text(token, files.Most)
		switch {
		case err == nil:
			secret = strings.TrimSpace(string(text))
		case o.TokenFile != "": // that of the configuration may be for others to read
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
		list = append(list, &Gateway{strings.TrimRight(strings.TrimSpace(one), "/"), secret, client, o.Patience})
	}
	return list, nil
}

// Ask asks the admin listener and reads what it answers with 200 into v; the reason of a
// refusal is in the error. Anything but the gateway's own JSON is an error, whatever its
// status: something else may listen there.
func (g *Gateway) Ask(ctx context.Context, method, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.Base+path, nil)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w", err)
	}
	if g.token != "" {
		req.Header.Set("Authorization", "Bearer "+g.token)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w; does the gateway run, and is %s the address of its admin.listen?",
			err, g.Base)
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
		return g.Foreign()
	}
	return nil
}

// Foreign is the error for an answer that is no gateway's.
func (g *Gateway) Foreign() error {
	return fmt.Errorf("%s does not answer as a gateway's admin listener does: something else listens there", g.Base)
}

// Reachable is an address that can be called: a listener on every address is reached on
// loopback.
func Reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// trust makes a pool of the certificates of a file, and gives a name that the first of
// them is for.
func trust(file string) (*x509.CertPool, string, error) {
	list, err := files.CertificatesIn(file)
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
