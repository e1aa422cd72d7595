package directory

import (
	"net/url"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

func TestWhichHostsAreAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		allowed  []string
		http     bool
		link     string
		believed bool
	}{
		"the host itself":                      {[]string{"a.example"}, false, "https://a.example/v3", true},
		"no list":                              {nil, false, "https://a.example/", false},
		"a subdomain of a host":                {[]string{"a.example"}, false, "https://x.a.example/", false},
		"a subdomain of a wildcard":            {[]string{"*.a.example"}, false, "https://x.a.example/", true},
		"the domain of a wildcard":             {[]string{"*.a.example"}, false, "https://a.example/", false},
		"a host that ends like a wildcard":     {[]string{"*.a.example"}, false, "https://xa.example/", false},
		"a host that begins like one":          {[]string{"a.example"}, false, "https://a.example.attack.test/", false},
		"upper case and a final dot":           {[]string{"a.example"}, false, "https://a.EXAMPLE./", true},
		"the default port, written":            {[]string{"a.example"}, false, "https://a.example:443/", true},
		"another port":                         {[]string{"a.example"}, false, "https://a.example:8443/", false},
		"a listed port":                        {[]string{"a.example:8443"}, false, "https://a.example:8443/", true},
		"the default port beside a listed one": {[]string{"a.example:8443"}, false, "https://a.example/", false},
		"the default port, listed":             {[]string{"a.example:443"}, false, "https://a.example/", true},
		"any port":                             {[]string{"*.a.example:*"}, false, "https://x.a.example:9/", true},
		"plain http":                           {[]string{"a.example"}, false, "http://a.example/", false},
		"plain http in a lab":                  {[]string{"a.example"}, true, "http://a.example:8080/", true},
		"an address, listed":                   {[]string{"192.0.2.1"}, false, "https://192.0.2.1/", true},
		"an IPv6 address, listed":              {[]string{"2001:db8::1"}, false, "https://[2001:DB8:0::1]/", true},
		"an IPv6 address and port, listed":     {[]string{"[2001:db8::1]:8443"}, false, "https://[2001:db8::1]:8443/", true},
		"an IPv4-mapped form of one":           {[]string{"192.0.2.1"}, false, "https://[::ffff:192.0.2.1]/", true},
		"metadata over https":                  {[]string{"*.socialsecurity.be"}, false, "https://169.254.169.254/", false},
	} {
		t.Run(name, func(t *testing.T) {
			hosts := hostList{c.allowed, c.http}
			u, err := cleanURL(c.link)
			testkit.Must(t, err)
			if refusal := hosts.refusal(u); (refusal == "") != c.believed {
				t.Errorf("%s: %q", u, refusal)
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
		given := []string{"*.socialsecurity.be"}
		hosts := hostList{given, false}
		u, _ := url.Parse(link)
		refusal := hosts.refusal(u)
		_, line, found := strings.Cut(refusal, "allowedHosts: [")
		if !found || !strings.Contains(line, `"*.socialsecurity.be"`) {
			t.Fatalf("%s: %q", link, refusal)
		}
		var lines []string
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "]"), ", ") {
			lines = append(lines, strings.Trim(part, `"`))
		}
		hosts = hostList{lines, false}
		if refusal := hosts.refusal(u); refusal != "" {
			t.Errorf("%s: with %q still %q", link, lines, refusal)
		}
	}
}

func TestARefusalNeverAdvisesTheImpossible(t *testing.T) {
	hosts := hostList{nil, false}
	for _, link := range []string{"https://169.254.169.254/", "https://[fe80::1]/", "https://0.0.0.0/",
		"https://224.0.0.1/", "http://a.example/"} {
		u, _ := url.Parse(link)
		if refusal := hosts.refusal(u); refusal == "" || strings.Contains(refusal, "allowedHosts") {
			t.Errorf("%s: %q", link, refusal)
		}
	}
}
