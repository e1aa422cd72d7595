package config

import (
	"net"
	"net/netip"
	"strings"
)

func (k *check) server() {
	s := &k.c.Server
	k.listeners("server.listen", s.Listen)
	if len(k.c.Callers) == 0 && !k.given("callers[0]") {
		for i, l := range s.Listen {
			if l.Address != "" && !l.Open && !l.OnLoopback() {
				k.fail(k.listenerAt("server.listen", i), "%s is reachable from beyond this machine and there are no callers: "+
					"whoever reaches it could open every e-Box. Add callers, or write {address: %q, open: true} if that is meant",
					l.Name, l.Address)
			}
		}
	}
	l := &s.Limits
	if l.MaxHeldBytes != Unlimited && l.MaxHeldBytes < 8<<20 {
		k.fail("server.limits.maxHeldBytes", "has to be at least 8MiB")
	}
	if l.MaxTargetBytes > l.MaxHeaderBytes && l.MaxHeaderBytes > 0 {
		k.fail("server.limits.maxTargetBytes", "a path longer than maxHeaderBytes (%d) can never arrive", l.MaxHeaderBytes)
	}
	k.programs()
}

// programs checks what is there for programs that cannot be changed.
func (k *check) programs() {
	const at = "server.tokenStub"
	stub := k.c.Server.TokenStub
	switch {
	case stub == "":
	case !cleanPath(stub) || strings.ContainsAny(stub, "{}*"):
		k.fail(at, "%s is no path: /segments are expected, as in /oauth/token", quote(stub))
	case answeredHere(stub) || below(stub, "/ebox/providers") || below(stub, "/enterprises"):
		k.fail(at, "the gateway answers %s itself: choose another path", stub)
	}
	upstreams := make(map[string]string)
	for i := range k.c.Routes {
		r := &k.c.Routes[i]
		if stub != "" && r.Path != "" && below(stub, r.Path) {
			k.fail(at, "%s lies below the route %s, which would lose it: choose another path", stub, r.Name)
		}
		if stub != "" && r.CallerCredentials {
			k.warn(at, "the route "+r.Name+" has callerCredentials: its upstream gets the worthless token of "+
				"programs that fetched one here")
		}
		if !k.c.Server.ForwardProxy || r.Upstream == nil {
			continue
		}
		base := strings.TrimRight(r.Upstream.String(), "/")
		if other := upstreams[base]; other != "" {
			k.warn("server.forwardProxy", "the routes "+other+" and "+r.Name+" have the same upstream: calls by its URL take "+
				"the route "+other+", with its rules and scopes")
			continue
		}
		upstreams[base] = r.Name
	}
}

func (k *check) admin() {
	k.listeners("admin.listen", k.c.Admin.Listen)
	for i, l := range k.c.Admin.Listen {
		if l.Open {
			k.fail(k.listenerAt("admin.listen", i)+".open", "open is for server.listen: the admin listener is read-only "+
				"without tokenFile anyway")
		}
		for _, other := range k.c.Server.Listen {
			if l.Address == other.Address && !strings.HasSuffix(l.Address, ":0") {
				k.fail(k.listenerAt("admin.listen", i), "%s is the address of server.listen as well: give the admin listener "+
					"another port", l.Address)
			}
		}
	}
}

// listenerAt is the path of a listener: one alone is no item of a list.
func (k *check) listenerAt(at string, i int) string {
	if item := item(at, i); k.given(item) {
		return item
	}
	return at
}

func (k *check) listeners(at string, list Listeners) {
	if len(list) == 0 {
		k.fail(at, "an empty list: at least one address is expected, or leave the key out")
	}
	names, addresses := make(map[string]bool), make(map[string]bool)
	for i := range list {
		l, path := &list[i], k.listenerAt(at, i)
		if l.Address == "" {
			continue // reported as missing or unreadable
		}
		if addresses[l.Address] && !strings.HasSuffix(l.Address, ":0") {
			k.fail(path, "the address %s is given twice", l.Address)
		}
		if names[l.Name] && l.Name != l.Address {
			k.fail(path, "two listeners are named %s: give each a name of its own", quote(l.Name))
		}
		names[l.Name], addresses[l.Address] = true, true
		if l.TLS == nil {
			continue
		}
		auth := path + ".tls.clientAuth"
		switch {
		case l.TLS.ClientAuth == "" && l.TLS.ClientCAFile != "":
			l.TLS.ClientAuth = ClientAuthRequire
		case l.TLS.ClientAuth == "":
			l.TLS.ClientAuth = ClientAuthNone
		case l.TLS.ClientAuth == ClientAuthNone && l.TLS.ClientCAFile != "":
			k.fail(auth, "clientCaFile is given and nobody is asked for a certificate: write request or require, "+
				"or leave clientCaFile out")
		case l.TLS.ClientAuth != ClientAuthNone && l.TLS.ClientCAFile == "":
			k.fail(auth, "certificates are asked for and none can be verified: add clientCaFile")
		}
	}
}

// OnLoopback reports whether a listener can be reached from this machine alone.
func (l Listener) OnLoopback() bool {
	host, _, err := net.SplitHostPort(l.Address)
	return err == nil && IsLoopbackHost(host)
}

// IsLoopbackHost reports whether a host of a URL is this machine: localhost or a loopback
// address. Names below localhost are not: some resolvers ask the network for them.
func IsLoopbackHost(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
