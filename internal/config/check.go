package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/enterprise"
)

// check looks at the configuration as a whole, after every value was found good
// by itself. It complains about what is missing only where the file says
// nothing: a value that is there and wrong was reported already.
type check struct {
	*decoder
	c      *Config
	routes map[string]bool
	// official are the routes that some environment has.
	official map[string]Route
	// listed are the enterprises, once all files were read without a mistake.
	listed map[enterprise.Number]origin
	// compatible are the environments that the URLs of a custom configuration
	// can all belong to; nil until an official one was seen.
	compatible []Environment
}

// references gathers the names of routes that may be referred to.
func (k *check) references() {
	k.routes = map[string]bool{groupEBox: true}
	k.official = officialRoutes()
	for name := range k.official {
		k.routes[name] = true
	}
	for i := range k.c.Routes {
		k.routes[k.c.Routes[i].Name] = true
	}
}

func (k *check) all() {
	k.server()
	k.admin()
	k.oauth()
	k.tenancy()
	k.checkRoutes()
	k.registry()
	k.egress()
	k.redis()
	k.audit()
	k.tracing()
	k.tokens()
	k.callers()
}

func (k *check) oauth() {
	o := &k.c.OAuth
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

func (k *check) tenancy() {
	t, clients := &k.c.Tenancy, k.c.OAuth.Clients
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

// complain is fail for a message, if there is one.
func (k *check) complain(at, message string) {
	if message != "" {
		k.fail(at, "%s", message)
	}
}

func (k *check) unknownClient(name string) string {
	return unknownName("client", name, k.c.OAuth.Clients, "oauth.clients")
}

// names checks a list of references.
func (k *check) names(at string, list []string, unknown func(string) string) {
	for i, name := range list {
		k.complain(item(at, i), unknown(name))
	}
}

func (k *check) unknownRoute(name string) string {
	return unknownName("route", name, k.routes, "routes")
}

// unknownName says that there is no such name; nothing if there is one, or none is meant.
func unknownName[V any](what, name string, known map[string]V, where string) string {
	if _, ok := known[name]; ok || name == "" {
		return ""
	}
	names := sorted(known)
	if len(names) == 0 {
		return fmt.Sprintf("there is no %s %s: %s names none", what, quote(name), where)
	}
	return fmt.Sprintf("there is no %s %s: %sknown are %s", what, quote(name), didYouMean(name, names),
		strings.Join(names, ", "))
}

func (k *check) egress() {
	if k.c.Egress.Proxy != "" {
		u, err := url.Parse(k.c.Egress.Proxy.Reveal())
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !isHost(u.Hostname()) ||
			!validPort(u.Host, u.Port()) ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			k.fail("egress.proxy", "this is no proxy: http://host:port or http://user:password@host:port is expected, special "+
				"characters of the password as %%XX")
		}
	}
	if u := k.c.Egress.ProxyURL(); u != nil {
		for _, l := range k.c.Server.Listen {
			if host, port, err := net.SplitHostPort(l.Address); err == nil && port != "0" && port == u.Port() &&
				(IsLoopbackHost(u.Hostname()) || host == u.Hostname()) {
				k.fail("egress.proxy", "this is the gateway's own listener %s: its calls would come back to it. Name the "+
					"company's proxy, or leave the key out", l.Address)
			}
		}
	}
}

func (k *check) redis() {
	r := &k.c.Redis
	if r.URL != "" {
		if _, err := r.Address(); err != nil {
			k.fail("redis.url", "%v", err)
		}
	} else if len(r.EncryptionKeys) > 0 && !k.given("redis.url") {
		k.fail("redis.encryptionKeys", "there is no redis.url, so there is nothing to encrypt: add it or leave the keys out")
	}
	seen := make(map[string]bool)
	for i, key := range r.EncryptionKeys {
		if key.ID != "" && seen[key.ID] {
			k.fail(item("redis.encryptionKeys", i)+".id",
				"the id %s is given twice: what one key has sealed could not be told from the other's", quote(key.ID))
		}
		seen[key.ID] = true
	}
}

// belongs checks that an official host is one of the environment's.
func (k *check) belongs(at, host string, tokenEndpoint bool) {
	owners := environmentsOf(host, tokenEndpoint)
	if owners == nil || k.c.Environment == "" {
		return
	}
	of, allowed, others := strings.Join(words(owners...), " and "), k.compatible, "other URLs here to "
	switch {
	case k.c.Environment != Custom:
		allowed, others = []Environment{k.c.Environment}, "this is the environment "
	case allowed == nil:
		allowed = owners
	}
	both := slices.DeleteFunc(owners, func(e Environment) bool { return !slices.Contains(allowed, e) })
	if len(both) == 0 {
		k.fail(at, "%s belongs to %s, and %s%s: environments do not mix", host, of, others, allowed[0])
		return
	}
	k.compatible = both
}

// target checks a URL to which tokens or assertions go.
func (k *check) target(at string, u *url.URL, allowHTTP bool, allow string, tokenEndpoint bool) {
	if u == nil {
		return
	}
	k.belongs(at, u.Hostname(), tokenEndpoint)
	if u.Scheme != "http" || IsLoopbackHost(u.Hostname()) {
		return
	}
	switch {
	case environmentsOf(u.Hostname(), tokenEndpoint) != nil:
		k.fail(at, "the platform is called over https only: write https://")
	case !allowHTTP:
		k.fail(at, "tokens travel over https only: write https://, or %s: true in a lab", allow)
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
