package config

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Server is the internal endpoint, where the callers come in.
type Server struct {
	// Listen is an address, host:port, or a list of addresses and objects. Beyond loopback the
	// endpoint gives everybody who reaches it access to e-Boxes: it needs callers or open:
	// true.
	Listen Listeners `yaml:"listen" default:"127.0.0.1:8080"`
	// PublicURL is the gateway's own URL as callers know it, when a proxy
	// stands in front; links lead there. Default: the Host of each request.
	PublicURL *url.URL `yaml:"publicUrl"`
	// AllowedHosts are further names in the Host header that the gateway
	// answers to, "*.example.be" for all subdomains. Known without being said:
	// localhost, the connection's own address and the host of publicUrl.
	AllowedHosts []string `yaml:"allowedHosts" config:"hostpattern"`
	// AllowedOrigins are web origins, https://app.example.be, whose pages may
	// call the endpoint from a browser. Default none.
	// Danger: A page of that origin acts with the reach of whoever visits it.
	AllowedOrigins []string `yaml:"allowedOrigins" config:"origin"`
	// ForwardProxy makes the endpoint an HTTP proxy (http_proxy) as well, for programs
	// that know the upstreams by their own URLs, http://services.socialsecurity.be/…, and
	// cannot be changed. It reaches the upstreams of the routes and nothing else: other
	// URLs, and https (CONNECT), are refused. Default false.
	ForwardProxy bool `yaml:"forwardProxy"`
	// TokenStub is a path, as /oauth/token, where programs that insist on fetching a
	// token get one that means nothing; no request is forwarded from there. With
	// forwardProxy, oauth.tokenUrl is answered so too, and this path at its host. Default
	// none.
	TokenStub string `yaml:"tokenStub"`
	// TrustedProxies are networks whose X-Forwarded-For counts when a
	// caller is recognised by network. Default none.
	// Danger: Whoever is in such a network can pretend to be any caller.
	TrustedProxies []netip.Prefix `yaml:"trustedProxies"`
	// Limits bound what one caller can occupy.
	Limits Limits `yaml:"limits"`
	// Drain is what happens between SIGTERM and the end.
	Drain Drain `yaml:"drain"`
}

// Listeners is one listener or several.
type Listeners []Listener

// Listener is an address to listen on.
type Listener struct {
	// Name is what a caller's rule and the logs call it. Default: the address.
	Name string `yaml:"name"`
	// Address is host:port, with an IP address, localhost, or nothing for every
	// address of the machine.
	Address string `yaml:"address" jsonschema:"required" config:"address"`
	// TLS makes it https. Without it the listener speaks plain HTTP.
	TLS *TLS `yaml:"tls"`
	// Open says that everybody who reaches this listener beyond loopback may
	// represent every enterprise, when there are no callers. Default false.
	// Danger: Everybody who reaches the address reads and changes every e-Box.
	Open bool `yaml:"open"`
}

// TLS is a listener's certificate and what it asks of the other side.
type TLS struct {
	// CertFile is the certificate chain in PEM.
	CertFile string `yaml:"certFile" config:"file" jsonschema:"required"`
	// KeyFile is its private key in PEM.
	KeyFile string `yaml:"keyFile" config:"file" jsonschema:"required"`
	// ClientCAFile holds, in PEM, the authorities of client certificates.
	ClientCAFile string `yaml:"clientCaFile" config:"file"`
	// ClientAuth is none, request (a certificate is verified if there is one)
	// or require. Default: require if clientCaFile is given, else none.
	ClientAuth ClientAuth `yaml:"clientAuth"`
}

// Limits bound what one caller can occupy. Sizes are in bytes, or with a unit as
// in 64KiB.
type Limits struct {
	// MaxHeaderBytes bounds the request line and header.
	MaxHeaderBytes Size `yaml:"maxHeaderBytes" least:"4KiB" default:"64KiB"`
	// MaxTargetBytes bounds the path and query together.
	MaxTargetBytes Size `yaml:"maxTargetBytes" least:"1KiB" default:"16KiB"`
	// MaxQueryParameters bounds their number.
	MaxQueryParameters int `yaml:"maxQueryParameters" least:"1" default:"1000"`
	// MaxConnections bounds the connections of all listeners together. Beyond it the one that
	// has been idle longest is closed for a new one. One source address gets more than half
	// only while an eighth is free.
	MaxConnections int `yaml:"maxConnections" least:"1" default:"10000"`
	// MaxRequests bounds the requests being served at once, whatever they wait for; further
	// ones get 503 at once, so that an overload stays short.
	MaxRequests int `yaml:"maxRequests" least:"1" default:"5000"`
	// MaxHeldBytes bounds what is held in memory for callers, of all requests together:
	// bodies that are read whole, merged inbox pages, answers kept back to be rewritten. A
	// request's header counts too, if it is larger than 8 KiB. One caller gets at most half.
	// Beyond it a request gets 503. At least 8MiB. Default a quarter of the memory limit
	// (GOMEMLIMIT, or the container's); 256MiB where there is none.
	MaxHeldBytes Size `yaml:"maxHeldBytes" least:"8MiB"`
	// MaxStreams bounds the HTTP/2 streams open at once on one connection.
	MaxStreams int `yaml:"maxStreams" least:"1" default:"250"`
	// ReadHeaderTimeout is the time to send a whole header.
	ReadHeaderTimeout time.Duration `yaml:"readHeaderTimeout" above:"0s" default:"10s"`
	// IdleTimeout closes connections without a request.
	IdleTimeout time.Duration `yaml:"idleTimeout" above:"0s" default:"2m"`
	// BodyIdleTimeout ends a request whose caller neither sends nor takes a byte for so long.
	BodyIdleTimeout time.Duration `yaml:"bodyIdleTimeout" above:"0s" default:"1m"`
	// MinBodyRate is how much of a body a caller must send, or of an answer take, a minute. A
	// request that is slower is ended once its caller has been waited for for a minute in all.
	// What is faster is never cut, and waiting for an upstream does not count. 0 is no such
	// limit.
	MinBodyRate Size `yaml:"minBodyRate" default:"16KiB"`
}

// Drain is what happens between SIGTERM and the end.
type Drain struct {
	// Delay is how long everything is still served, so that load balancers can notice that the
	// gateway is no longer ready.
	Delay time.Duration `yaml:"delay" default:"5s"`
	// Timeout is how long requests in flight have after that. Default 30s.
	Timeout time.Duration `yaml:"timeout" above:"0s"`
}

// Admin is the listener for health, status and changes such as a purge.
type Admin struct {
	// Listen is an address or a list, as in server.
	Listen Listeners `yaml:"listen" default:"127.0.0.1:9090"`
	// TokenFile holds the token that purges and other changes need when they
	// come from beyond loopback. Without it such changes are refused.
	TokenFile string `yaml:"tokenFile" config:"file"`
}

// Readiness is when a gateway that starts says that it is ready (/readyz). It is once each
// client that a route needs has had a token, and the list of Document Providers is there.
type Readiness struct {
	// Patience is how long that is waited for. After it the gateway is ready for what
	// it can serve. Default 0s, for as long as it takes: a rolling update then replaces
	// no good replica by one whose client is refused.
	Patience time.Duration `yaml:"patience"`
}

// Log says how the gateway writes its logs, to standard error.
type Log struct {
	// Format is json (one object a line) or text.
	Format LogFormat `yaml:"format" default:"json"`
	// Level is debug, info, warn or error.
	Level LogLevel `yaml:"level" default:"info"`
	// Security is where refusals go besides, one object a line: a file, stderr or stdout.
	// A file is begun anew at 64 MB, with five before it kept (FILE.1 to FILE.5). Default none: the
	// access line of a refusal says the same.
	Security string `yaml:"security" config:"output,blank"`
}

func (s *Server) check(k *check) {
	s.Listen.check(k, "server.listen")
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
	if l.MaxTargetBytes > l.MaxHeaderBytes && l.MaxHeaderBytes > 0 {
		k.fail("server.limits.maxTargetBytes", "a path longer than maxHeaderBytes (%d) can never arrive", l.MaxHeaderBytes)
	}
	s.checkPrograms(k)
}

// checkPrograms checks what is there for programs that cannot be changed.
func (s *Server) checkPrograms(k *check) {
	const at = "server.tokenStub"
	stub := s.TokenStub
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
		if !s.ForwardProxy || r.Upstream == nil {
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

func (a *Admin) check(k *check) {
	a.Listen.check(k, "admin.listen")
	for i, l := range a.Listen {
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

func (list Listeners) check(k *check, at string) {
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
