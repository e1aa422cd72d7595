package config

import (
	"net"
	"net/url"
	"strings"
)

// Egress is how the gateway leaves the company network.
type Egress struct {
	// Proxy is the URL of an HTTP proxy, http://user:password@proxy:3128.
	// Default none. Through a proxy, the host allow-list alone decides where
	// tokens go: the gateway does not see the resolved addresses.
	Proxy Secret `yaml:"proxy" config:",blank"`
	// NoProxy are hosts reached without it: names, .suffixes, networks, "*".
	NoProxy []string `yaml:"noProxy" config:"destination"`
	// CAFile holds, in PEM, certificate authorities trusted besides the
	// system's.
	CAFile string `yaml:"caFile" config:"file,blank"`
}

// ProxyURL is the proxy with its credentials, or nil. It must not be printed.
func (e Egress) ProxyURL() *url.URL {
	if e.Proxy == "" {
		return nil
	}
	u, err := url.Parse(e.Proxy.Reveal())
	if err != nil { // checked by Load
		return nil
	}
	return u
}

func (e *Egress) check(k *check) {
	if e.Proxy != "" {
		u, err := url.Parse(e.Proxy.Reveal())
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !isHost(u.Hostname()) ||
			!validPort(u.Host, u.Port()) ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			k.fail("egress.proxy", "this is no proxy: http://host:port or http://user:password@host:port is expected, special "+
				"characters of the password as %%XX")
		}
	}
	if u := e.ProxyURL(); u != nil {
		for _, l := range k.c.Server.Listen {
			if host, port, err := net.SplitHostPort(l.Address); err == nil && port == u.Port() &&
				(IsLoopbackHost(u.Hostname()) || host == u.Hostname()) {
				k.fail("egress.proxy", "this is the gateway's own listener %s: its calls would come back to it. Name the "+
					"company's proxy, or leave the key out", l.Address)
			}
		}
	}
}
