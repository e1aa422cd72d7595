package egress_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// egressProxy is a forward proxy of a test's own. It reaches every host at the
// address it is told, and keeps what it was asked.
type egressProxy struct {
	upstream string // host:port that every tunnel leads to
	answer   string // instead of a tunnel

	mu       sync.Mutex
	requests []*http.Request
}

func (p *egressProxy) serve(c net.Conn) {
	reader := bufio.NewReader(c)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.requests = append(p.requests, r)
	p.mu.Unlock()
	if p.answer != "" {
		io.WriteString(c, p.answer)
		return
	}
	up, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer up.Close()
	if r.Method == http.MethodConnect {
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	} else {
		out := r.Clone(r.Context())
		out.Header.Del("Proxy-Authorization")
		out.RequestURI = ""
		out.Write(up)
	}
	go func() { io.Copy(up, reader); up.Close() }()
	io.Copy(c, up)
}

func (p *egressProxy) asked() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.requests...)
}

// seen is an upstream that repeats the request's header as its body.
func seen(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.Proto+" "+r.Host+" "+r.RequestURI+"\n")
	r.Header.Write(w)
}

func TestThroughTheEgressProxy(t *testing.T) {
	ca := testkit.NewCertificate(t, nil)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(seen))
	secure.EnableHTTP2, secure.TLS = true, serves(t, ca, "up.example")
	secure.StartTLS()
	defer secure.Close()
	clear := httptest.NewServer(http.HandlerFunc(seen))
	defer clear.Close()
	const want = "Basic dXNlcjpwQHNz" // user:p@ss
	for name, c := range map[string]struct {
		tls           bool // towards the proxy
		link          string
		upstream      net.Listener
		method, asked string
		body          string
	}{
		"https in a tunnel": {false, "https://up.example/a?b", secure.Listener,
			"CONNECT", "up.example:443", "HTTP/1.1 up.example /a?b"},
		"https in a tunnel of an https proxy": {true, "https://up.example/a?b", secure.Listener,
			"CONNECT", "up.example:443", "HTTP/1.1 up.example /a?b"},
		"http in absolute form": {false, "http://up.example/a?b", clear.Listener,
			"GET", "http://up.example/a?b", "HTTP/1.1 up.example /a?b"},
		"http in absolute form to an https proxy": {true, "http://up.example/a?b", clear.Listener,
			"GET", "http://up.example/a?b", "HTTP/1.1 up.example /a?b"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &egressProxy{upstream: c.upstream.Addr().String()}
			serve, scheme := p.serve, "http"
			if c.tls {
				config := serves(t, ca, "proxy.example")
				config.NextProtos = []string{"h2", "http/1.1"} // it offers what we do not speak with it
				scheme, serve = "https", func(conn net.Conn) { p.serve(tls.Server(conn, config)) }
			}
			_, port, _ := net.SplitHostPort(raw(t, serve))
			dns := &names{addresses: map[string][]netip.Addr{"proxy.example.": {loopback}}}
			e := mustNew(t, egress.Options{Resolver: dns.resolver(t), Egress: config.Egress{
				Proxy: config.Secret(scheme + "://user:p%40ss@proxy.example:" + port), CAFile: file(t, ca),
			}})
			// The zero Guard: the proxy's loopback address is exempt, and the
			// upstream's name is the proxy's to resolve.
			answer, err := get(t, transport(t, e, patient, egress.Guard{}), c.link)
			testkit.Must(t, err)
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if !strings.HasPrefix(string(body), c.body+"\n") {
				t.Errorf("the upstream saw %q, want %q", body, c.body)
			}
			if strings.Contains(string(body), "Proxy-") {
				t.Errorf("the upstream saw the proxy's credentials: %s", body)
			}
			asked := p.asked()
			if len(asked) != 1 || asked[0].Method != c.method || asked[0].RequestURI != c.asked {
				t.Fatalf("the proxy was asked %d times, first %s %s", len(asked), asked[0].Method, asked[0].RequestURI)
			}
			if got := asked[0].Header.Values("Proxy-Authorization"); len(got) != 1 || got[0] != want {
				t.Errorf("Proxy-Authorization %q, want %q once", got, want)
			}
		})
	}
}

func TestDestinationsThatPassTheProxyBy(t *testing.T) {
	e := mustNew(t, egress.Options{Egress: config.Egress{
		Proxy:   "http://proxy:3128",
		NoProxy: []string{"direct.example", ".below.example", "*.star.example", "10.1.0.0/16", "port.example:8443"},
	}})
	for address, want := range map[string]bool{
		"up.example:443":            true,
		"Direct.Example:443":        false,
		"a.direct.example:443":      false,
		"indirect.example:443":      true,
		"below.example:443":         true,
		"a.below.example:443":       false,
		"a.b.star.example:443":      false,
		"10.1.2.3:443":              false,
		"10.2.2.3:443":              true,
		"port.example:443":          true,
		"port.example:8443":         false,
		"localhost:443":             false,
		"[::1]:443":                 false,
		"direct.example.attack:443": true,
	} {
		if _, got := e.Proxied(&url.URL{Scheme: "https", Host: address}); got != want {
			t.Errorf("%s through the proxy: %v, want %v", address, got, want)
		}
	}
}

func TestTheGuardStillHoldsBesideTheProxy(t *testing.T) {
	p := &egressProxy{answer: "HTTP/1.1 502 No\r\n\r\n"}
	dns := &names{addresses: map[string][]netip.Addr{"inside.example.": {loopback}}}
	e := mustNew(t, egress.Options{Resolver: dns.resolver(t), Egress: config.Egress{
		Proxy: config.Secret("http://" + raw(t, p.serve)), NoProxy: []string{"inside.example"},
	}})
	for name, link := range map[string]string{
		"a metadata address":               "https://169.254.169.254/latest",
		"a metadata address over http":     "http://169.254.169.254/latest",
		"a private address":                "https://10.0.0.1/",
		"loopback, which goes directly":    "https://127.0.0.1/",
		"a direct name that is loopback's": "https://inside.example/",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, transport(t, e, patient, egress.Guard{}), link)
			if got := egress.Classify(err); got != (call.Failure{Kind: problem.ProxyIPProhibited}) {
				t.Errorf("%+v: %v", got, err)
			}
		})
	}
	if n := len(p.asked()); n != 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}

func TestWhatTheProxyRefuses(t *testing.T) {
	ca := testkit.NewCertificate(t, nil)
	untrusted := serves(t, testkit.NewCertificate(t, nil), "127.0.0.1")
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	answer := func(text string) func(net.Conn) { return (&egressProxy{answer: text}).serve }
	for name, c := range map[string]struct {
		serve func(net.Conn)
		tls   bool
		want  call.Failure
	}{
		"credentials": {answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), false,
			call.Failure{Kind: problem.ProxyConfigurationError}},
		"the host": {
			answer("HTTP/1.1 403 Forbidden\r\n\r\n"), false, call.Failure{Kind: problem.ProxyConfigurationError}},
		"cannot connect": {
			answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"), false, call.Failure{Kind: problem.ProxyDestinationUnavail}},
		"not in time": {
			answer("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), false,
			call.Failure{Kind: problem.ProxyConnectionTimeout, Timeout: true}},
		"it is no proxy": {answer("220 mail ESMTP\r\n\r\n"), false, call.Failure{Kind: problem.ProxyProtocolError}},
		"it talks on":    {answer("HTTP/1.1 200 OK\r\n\r\nhello"), false, call.Failure{Kind: problem.ProxyProtocolError}},
		"it hangs up": {
			func(c net.Conn) { readRequest(c) }, false, call.Failure{Kind: problem.ProxyConnectionTerminated}},
		"it says nothing": {silent, false, call.Failure{Kind: problem.ProxyConnectionTimeout, Timeout: true}},
		"no TLS from it":  {silent, true, call.Failure{Kind: problem.ProxyConnectionTimeout, Timeout: true}},
		"it is not trusted": {func(c net.Conn) { tls.Server(c, untrusted).Handshake() }, true,
			call.Failure{Kind: problem.ProxyTLSCertificateError}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme := "http"
			if c.tls {
				scheme = "https"
			}
			e := mustNew(t, egress.Options{Egress: config.Egress{
				Proxy: config.Secret(scheme + "://user:s3cret@" + raw(t, c.serve)), CAFile: file(t, ca),
			}})
			limits := patient
			if name == "it says nothing" || name == "no TLS from it" {
				limits.Connect = 200 * time.Millisecond
			}
			_, err := get(t, transport(t, e, limits, egress.Guard{}), "https://up.example/")
			c.want.Proxy = true
			if got := egress.Classify(err); got != c.want {
				t.Errorf("%+v, want %+v: %v", got, c.want, err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestAnAuthorityThatCannotBeReadIsNamed(t *testing.T) {
	for file, want := range map[string]string{"/nowhere/ca.pem": "egress.caFile", "egress.go": "BEGIN CERTIFICATE"} {
		_, err := egress.New(egress.Options{Egress: config.Egress{CAFile: file}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
