package directory_test

import (
	"strings"
	"testing"

	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/testkit"
)

// providerAt is the one provider of a list, which has a URL, where these hosts are allowed.
func providerAt(t *testing.T, link string, http bool, allowed ...string) *directory.Provider {
	t.Helper()
	r := federation()
	r.AllowedHosts, r.AllowHTTP = allowed, http
	list, _, err := read(t, r, "["+linked(link)+"]")
	testkit.Must(t, err)
	return list[0]
}

func TestWhichHostsAreAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		allowed  []string
		http     bool
		link     string
		believed bool
	}{
		"the host itself":                      {[]string{"a.example"}, false, "https://a.example/v3", true},
		"no list":                              {nil, false, "https://a.example/", false},
		"a subdomain of a wildcard":            {[]string{"*.a.example"}, false, "https://x.a.example/", true},
		"the domain of a wildcard":             {[]string{"*.a.example"}, false, "https://a.example/", false},
		"a host that ends like a wildcard":     {[]string{"*.a.example"}, false, "https://xa.example/", false},
		"upper case and a final dot":           {[]string{"a.example"}, false, "https://a.EXAMPLE./", true},
		"the default port, written":            {[]string{"a.example"}, false, "https://a.example:443/", true},
		"another port":                         {[]string{"a.example"}, false, "https://a.example:8443/", false},
		"a listed port":                        {[]string{"a.example:8443"}, false, "https://a.example:8443/", true},
		"the default port beside a listed one": {[]string{"a.example:8443"}, false, "https://a.example/", false},
		"the default port, listed":             {[]string{"a.example:443"}, false, "https://a.example/", true},
		"any port":                             {[]string{"*.a.example:*"}, false, "https://x.a.example:9/", true},
		"plain http":                           {[]string{"a.example"}, false, "http://a.example/", false},
		"plain http in a lab":                  {[]string{"a.example"}, true, "http://a.example:8080/", true},
		"an IPv6 address, listed":              {[]string{"2001:db8::1"}, false, "https://[2001:DB8:0::1]/", true},
		"an IPv6 address and port, listed":     {[]string{"[2001:db8::1]:8443"}, false, "https://[2001:db8::1]:8443/", true},
		"an IPv4-mapped form of one":           {[]string{"192.0.2.1"}, false, "https://[::ffff:192.0.2.1]/", true},
	} {
		t.Run(name, func(t *testing.T) {
			if p := providerAt(t, c.link, c.http, c.allowed...); (p.Refusal == "") != c.believed {
				t.Errorf("%s: %q", p.Base, p.Refusal)
			}
		})
	}
}

// What the refusal says to write is what has to be written.
func TestTheRefusalsLineAllowsTheHost(t *testing.T) {
	for _, link := range []string{
		"https://docs.example.eu/v2", "https://docs.example.eu:8443/v2", "https://192.0.2.7/v2", "https://192.0.2.7:8443/v2",
		"https://[2001:db8::7]/", "https://[2001:db8::7]:8443/",
	} {
		refusal := providerAt(t, link, false, "*.socialsecurity.be").Refusal
		_, line, found := strings.Cut(refusal, "allowedHosts: [")
		if !found || !strings.Contains(line, `"*.socialsecurity.be"`) {
			t.Fatalf("%s: %q", link, refusal)
		}
		var lines []string
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "]"), ", ") {
			lines = append(lines, strings.Trim(part, `"`))
		}
		if p := providerAt(t, link, false, lines...); p.Refusal != "" {
			t.Errorf("%s: with %q still %q", link, lines, p.Refusal)
		}
	}
}

func TestARefusalNeverAdvisesTheImpossible(t *testing.T) {
	for _, link := range []string{"https://169.254.169.254/", "https://[fe80::1]/", "https://[2001:db8::1%25eth0]/",
		"https://0.0.0.0/", "https://224.0.0.1/", "http://a.example/"} {
		if p := providerAt(t, link, false); p.Refusal == "" || strings.Contains(p.Refusal, "allowedHosts") {
			t.Errorf("%s: %q", link, p.Refusal)
		}
	}
}
