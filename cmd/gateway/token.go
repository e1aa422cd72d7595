package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/preflight"
)

func tokenCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "get one token and show what is known about it, never the token itself",
		Long: `With --keystore the key of another file signs, and nothing else is touched: so a
renewed certificate is tried before it takes the old one's place. Without
--password-file, the password of the client's present key store opens it.

--retry has the gateway that runs ask at once for what it was refused, instead of after
its pause of up to five minutes: when a certificate was registered. SIGHUP does the same.`,
	}
	flags := c.Flags()
	admin := addAdminFlags(flags)
	path := admin.config
	again := flags.Bool("retry", false, "have the running gateway ask at once for what was refused")
	client := flags.String("client", "", "the `name` of the OAuth client (default: tenancy.defaultClient)")
	keystore := flags.String("keystore", "", "a PKCS#12, JKS or PEM `file` to try")
	passwordFile := flags.String("password-file", "", "the `file` with its password")
	var scopes []string
	flags.Func("scope", "a `scope` to ask for; may be repeated (default: those of the first route)",
		func(s string) error {
			scopes = append(scopes, strings.Fields(s)...)
			return nil
		})
	c.RunE = func(_ *cobra.Command, _ []string) error {
		if *again {
			return admin.change(p, "/tokens/retry", func(base string) {
				fmt.Fprintf(p.stdout, "%s: tokens are asked for; \"gateway status\" shows what comes of it\n", base)
			})
		}
		if *passwordFile != "" && *keystore == "" {
			return usageError{"--password-file goes with --keystore"}
		}
		cfg, g, err := buildGateway(p, *path)
		if err != nil {
			return err
		}
		name := cmp.Or(*client, cfg.Tenancy.DefaultClient)
		c, ok := cfg.OAuth.Clients[name]
		if !ok {
			return usageError{fmt.Sprintf("there is no client %q in %s", name, *path)}
		}
		if len(scopes) == 0 {
			scopes = firstScopes(cfg)
		}
		var tried *config.Client // nil: with its own key
		if *keystore != "" {
			if c, err = withKey(c, *keystore, *passwordFile); err != nil {
				return err
			}
			tried = &c
		}
		key, err := authn.LoadKey(c)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(p.ctx, cfg.OAuth.Timeout+5*time.Second)
		defer cancel()
		began := time.Now()
		token, err := g.View().Tokens.Try(ctx, name, scopes, tried)
		took := time.Since(began)
		signed, certificate := key.Status(began), preflight.Validity(key, began)
		if err != nil {
			// The status of the gateway that runs does not show which key it was, if that signs with another.
			text := "the " + signed.Algorithm + " key " + signed.Fingerprint
			if certificate != "" {
				text += ", certificate " + certificate
			}
			return fmt.Errorf("%w\nIt was signed with %s, %s", err, c.KeyFile(), text)
		}
		table := newTable(p.stdout)
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(table, "%s\t%s\n", name, value)
			}
		}
		row("token endpoint", cfg.OAuth.TokenURL)
		row("client id", c.ClientID)
		row("key", signed.Algorithm+", SHA-256 of the public key "+signed.Fingerprint)
		row("certificate", certificate)
		row("scopes", strings.Join(slices.Sorted(slices.Values(scopes)), "\n\t"))
		row("not asked for", strings.Join(token.Extra(), "\n\t"))
		row("expires", fmt.Sprintf("%s (in %s)", token.Expires().Format(time.RFC3339),
			time.Until(token.Expires()).Round(time.Second)))
		row("SHA-256", token.Hash())
		row("took", took.Round(time.Millisecond).String())
		return table.Flush()
	}
	return c
}

// firstScopes are those of the first route that asks for any.
func firstScopes(cfg *config.Config) []string {
	for _, r := range cfg.Routes {
		if len(r.Scopes) > 0 {
			return r.Scopes
		}
	}
	return cfg.Registry.Scopes
}

// withKey is a client with another key, which is only tried. PEM is told from key stores by its
// first bytes.
func withKey(c config.Client, file, passwordFile string) (config.Client, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("reading the key to try: %w", err)
	}
	var store config.Keystore
	if c.Keystore != nil {
		store = *c.Keystore
	} else if c.Key != nil {
		store.Password, store.PasswordFile = c.Key.Password, c.Key.PasswordFile
	}
	store.File = file
	if passwordFile != "" {
		store.Password, store.PasswordFile = "", passwordFile
	}
	c.Keystore, c.Key, c.Certificate = &store, nil, nil
	if strings.Contains(string(content[:min(len(content), 4096)]), "-----BEGIN ") {
		c.Keystore, c.Key = nil, &config.Key{File: file, Password: store.Password, PasswordFile: store.PasswordFile}
		if strings.Contains(string(content), "-----BEGIN CERTIFICATE-----") {
			c.Certificate = &config.Certificate{File: file}
		}
	}
	return c, nil
}
