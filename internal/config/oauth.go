package config

import (
	"net/url"
	"time"

	"ebox-gateway/internal/enterprise"
)

// OAuth says who the gateway is to the Authorization Server.
type OAuth struct {
	// TokenURL is the token endpoint. Default: the environment's; it must be
	// given where no official one is public (integration, test, custom).
	TokenURL string `yaml:"tokenUrl" config:"url"`
	// Audience is the aud claim of the assertions. Default: tokenUrl.
	Audience string `yaml:"audience"`
	// AllowHTTP lets assertions and tokens travel without TLS to a token
	// endpoint beyond loopback. For a lab and nothing else. Default false.
	// Danger: Whoever listens on the way gets tokens.
	AllowHTTP bool `yaml:"allowHttp"`
	// AllowPrivateNetworks lets the token endpoint resolve to a private
	// address. Default false; loopback written in tokenUrl is always allowed.
	// Danger: A name that resolves inside the company is connected to.
	AllowPrivateNetworks bool `yaml:"allowPrivateNetworks"`
	// Timeout is the time for one token request as a whole. Of it, connecting
	// gets 3s at most.
	Timeout time.Duration `yaml:"timeout" above:"0s" default:"10s"`
	// Clients are the OAuth clients, by a name of your choosing.
	Clients map[string]Client `yaml:"clients"`
}

// Client is one OAuth client registered in Chaman, and the key that signs its
// assertions: a keystore, or key with certificate.
type Client struct {
	// ClientID is the id that Chaman gave.
	ClientID string `yaml:"clientId" jsonschema:"required"`
	// Enterprise is the office's own CBE number, whose e-Box a call as the client itself is
	// for. Where an API has the number in a path or body, as the preferences of the
	// Federation API, callers with own may name it once it stands here.
	Enterprise enterprise.Number `yaml:"enterprise"`
	// Keystore is a PKCS#12 or JKS file.
	Keystore *Keystore `yaml:"keystore"`
	// Key is a private key in PEM, instead of a keystore.
	Key *Key `yaml:"key"`
	// Certificate is the key's certificate in PEM. Default: the one in the
	// key's own file, if there is one. Without any, its expiry is not known and
	// headers that are derived from it cannot be.
	Certificate *Certificate `yaml:"certificate"`
	// Algorithm signs the assertions: RS256, PS256 or ES256. Default: by the
	// type of the key, RS256 for RSA and ES256 for EC.
	Algorithm Algorithm `yaml:"algorithm"`
	// Headers are the parts of the assertion's header to derive from the
	// certificate: kid, x5t#S256, x5c. Default none.
	Headers []AssertionHeader `yaml:"headers"`
	// AssertionLifetime is the time until exp, at most 10m; iat lies 10 s back, lest a server
	// whose clock is a little behind refuse it.
	AssertionLifetime time.Duration `yaml:"assertionLifetime" least:"10s" most:"10m" default:"1m"`
}

// KeyFile is the file of the private key; empty if the client has none.
func (c Client) KeyFile() string {
	switch {
	case c.Keystore != nil:
		return c.Keystore.File
	case c.Key != nil:
		return c.Key.File
	}
	return ""
}

// Keystore is a PKCS#12 or JKS file that holds the key and its certificate.
type Keystore struct {
	// File is the path of the key store.
	File string `yaml:"file" config:"file" jsonschema:"required"`
	// Password opens it. Prefer passwordFile or ${VAR}.
	Password Secret `yaml:"password"`
	// PasswordFile holds the password; it is read again when it changes.
	PasswordFile string `yaml:"passwordFile" config:"file"`
	// Alias names the entry, if the store holds several keys.
	Alias string `yaml:"alias"`
	// KeyPassword opens the entry, if it differs from the store's password (JKS).
	KeyPassword Secret `yaml:"keyPassword"`
	// KeyPasswordFile holds the entry's password.
	KeyPasswordFile string `yaml:"keyPasswordFile" config:"file"`
}

// Key is a private key in PEM: PKCS#1, PKCS#8, encrypted PKCS#8 or EC.
type Key struct {
	// File is the path of the key.
	File string `yaml:"file" config:"file" jsonschema:"required"`
	// Password decrypts it, if it is encrypted. Prefer passwordFile or ${VAR}.
	Password Secret `yaml:"password"`
	// PasswordFile holds the password; it is read again when it changes.
	PasswordFile string `yaml:"passwordFile" config:"file"`
}

// Certificate is a certificate, with its chain if it has one, in PEM.
type Certificate struct {
	// File is the path of the certificate.
	File string `yaml:"file" config:"file" jsonschema:"required"`
}

func (o *OAuth) check(k *check) {
	if u, err := url.Parse(o.TokenURL); err == nil && o.TokenURL != "" {
		k.target("oauth.tokenUrl", u, o.AllowHTTP, "oauth.allowHttp", true)
	}
	if o.Audience == "" {
		o.Audience = o.TokenURL
	} else if u, err := url.Parse(o.Audience); err == nil {
		k.belongs("oauth.audience", u.Hostname(), true)
	}
	for _, name := range sorted(o.Clients) {
		client, at := o.Clients[name], "oauth.clients."+name
		switch {
		case client.Keystore != nil && client.Key != nil:
			k.fail(at+".key", "keystore and key are both given: one of them signs")
		case client.Keystore == nil && client.Key == nil:
			k.fail(at, "nothing to sign with: add keystore: {file, passwordFile}, or key: {file, passwordFile} "+
				"and certificate: {file}")
		case client.Keystore != nil && client.Certificate != nil:
			k.fail(at+".certificate", "the keystore holds the certificate: leave this one out")
		}
		if ks := client.Keystore; ks != nil {
			k.oneOf(at+".keystore", "password", "passwordFile", ks.Password, ks.PasswordFile)
			k.oneOf(at+".keystore", "keyPassword", "keyPasswordFile", ks.KeyPassword, ks.KeyPasswordFile)
		}
		if key := client.Key; key != nil {
			k.oneOf(at+".key", "password", "passwordFile", key.Password, key.PasswordFile)
		}
	}
}

func (k *check) oneOf(at, plain, file string, secret Secret, path string) {
	if secret != "" && path != "" {
		k.fail(at+"."+plain, "%s and %s are both given: one of them is enough", plain, file)
	}
}
