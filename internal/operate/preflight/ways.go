package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// probe is an upstream that is asked whether it answers.
type probe struct {
	part  string
	base  *url.URL
	guard egress.Guard
}

// origin is what connections are made to: several upstreams may share one.
func (p probe) origin() string { return p.base.Scheme + "://" + p.base.Host }

// way is what was seen on the way to one origin, and of the answer.
type way struct {
	probe probe
	// proxy is the egress proxy's address, if the way leads through it.
	proxy string
	// dns and tcp are what took place before TLS; with a proxy, towards it.
	dns, tcp step
	ready    time.Duration // from the beginning to a usable connection
	took     time.Duration // the whole
	tls      *tls.ConnectionState
	status   int
	skew     time.Duration // how far the server's clock is ahead; see dated
	dated    bool
	err      error
	failure  call.Failure
}

// step is one step of connecting.
type step struct {
	seen bool
	took time.Duration
	text string
	err  error
}

// Patience bounds one way. It is longer than the time to connect, so that the reason comes from the
// step that failed.
const Patience = 5 * time.Second

// walkAll goes to all of the upstreams, some at a time, and gives the ways in their order.
func (g check) walkAll(ctx context.Context, probes []probe) []*way {
	places := make(chan struct{}, 8)
	ways := make([]*way, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ways[i] = g.walk(ctx, p)
		})
	}
	wg.Wait()
	return ways
}

// walk asks for an upstream's base URL without a token, over the transport that its
// calls have, and takes notes.
func (g check) walk(ctx context.Context, p probe) *way {
	w := &way{probe: p}
	if proxy, through := g.Egress.Proxied(p.base); through {
		w.proxy = proxy
	}
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	began := g.Now()
	// Several addresses may be dialled at once, and one that lost may report late.
	var notes sync.Mutex
	taken := false
	note := func(f func(now time.Time)) {
		notes.Lock()
		defer notes.Unlock()
		if !taken {
			f(g.Now())
		}
	}
	var lookup, dial time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { note(func(now time.Time) { lookup = now }) },
		DNSDone: func(info httptrace.DNSDoneInfo) {
			note(func(now time.Time) { w.dns = step{true, now.Sub(lookup), addresses(info.Addrs), info.Err} })
		},
		ConnectStart: func(string, string) {
			note(func(now time.Time) {
				if dial.IsZero() {
					dial = now
				}
			})
		},
		ConnectDone: func(_, address string, err error) {
			note(func(now time.Time) {
				if !w.tcp.seen || w.tcp.err != nil { // one address that answers is enough
					w.tcp = step{true, now.Sub(dial), address, err}
				}
			})
		},
	})
	transport := g.Egress.Transport(config.Timeouts{Connect: g.patience * 3 / 5, Header: g.patience, Idle: g.patience},
		p.guard)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base.String(), nil)
	if err != nil {
		w.err = err
		return w
	}
	req.Header.Set("User-Agent", "ebox-gateway")
	sent := g.Now()
	resp, err := transport.Do(ctx, req, wire.Options{
		Connected: func(bool) { note(func(now time.Time) { w.ready = now.Sub(began) }) },
	})
	arrived := g.Now()
	notes.Lock()
	taken = true
	notes.Unlock()
	w.took = arrived.Sub(began)
	if err != nil {
		w.err, w.failure = err, egress.Classify(err)
		return w
	}
	_ = resp.Body.Close() // that it answered is all we wanted to know
	w.status, w.tls = resp.StatusCode, resp.TLS
	w.skew, w.dated = authn.ClockAhead(resp.Header, sent, arrived)
	return w
}

func addresses(list []net.IPAddr) string {
	const shown = 3
	var texts []string
	for _, a := range list[:min(len(list), shown)] {
		texts = append(texts, a.String())
	}
	if more := len(list) - shown; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, " ")
}

// rows are the steps to each origin that was not shown yet, and behind them a row per upstream.
func (g check) rows(ways []*way, shown map[string]bool) (checks []Check) {
	for _, w := range ways {
		if origin := w.probe.origin(); !shown[origin] {
			shown[origin] = true
			checks = append(checks, w.steps(g.Now())...)
		}
		checks = append(checks, w.answer())
	}
	return checks
}

// steps are the rows of DNS, TCP and TLS.
func (w *way) steps(now time.Time) []Check {
	dns := Check{Part: "DNS", Where: w.probe.base.Hostname(), Took: w.dns.took}
	tcp := Check{Part: "TCP", Where: w.probe.base.Host, Took: w.tcp.took}
	if w.proxy != "" {
		left := "left to the egress proxy " + w.proxy
		dns.Took, tcp.Took = 0, 0 // of the way to the proxy
		return []Check{dns.is(Skipped, left, ""), tcp.is(Skipped, left, ""), w.tlsStep(now)}
	}
	_, err := netip.ParseAddr(w.probe.base.Hostname())
	switch {
	case err == nil:
		dns = dns.is(Skipped, "an address, nothing to look up", "")
	case w.dns.err != nil:
		dns = dns.is(Failed, w.dns.err.Error(), adviceOnDNS(w.dns.err))
	case !w.dns.seen:
		dns = dns.is(Skipped, "looked up without a question", "")
	case w.dns.text == "":
		dns = dns.is(Failed, "the name has no address", "look at how it is spelled")
	default:
		dns = dns.is(OK, w.dns.text, "")
	}
	switch {
	case w.tcp.seen && w.tcp.err == nil:
		tcp = tcp.is(OK, w.tcp.text, "")
	case !w.tcp.seen && dns.Result == Failed:
		tcp = tcp.is(Skipped, "there is no address to connect to", "")
	default:
		tcp.Took = max(tcp.Took, w.took-w.dns.took)
		tcp = tcp.is(Failed, reason(w.err), adviceOnTCP[w.failure.Kind])
	}
	return []Check{dns, tcp, w.tlsStep(now)}
}

func (w *way) tlsStep(now time.Time) Check {
	const soon = 14 * 24 * time.Hour // certificates of the platform are renewed a month ahead
	c := Check{Part: "TLS", Where: w.probe.base.Host}
	switch {
	case w.probe.base.Scheme != "https":
		return c.is(Skipped, "plain http", "")
	case w.tls != nil:
		leaf := w.tls.PeerCertificates[0]
		c.Took = max(w.ready-w.dns.took-w.tcp.took, 0)
		detail := fmt.Sprintf("%s, %s by %s, valid until %s", tls.VersionName(w.tls.Version), leaf.Subject.CommonName,
			leaf.Issuer.CommonName, leaf.NotAfter.Format(time.DateOnly))
		if leaf.NotAfter.Sub(now) < soon {
			return c.is(Warning, detail, "its keepers have to renew it; tell them")
		}
		return c.is(OK, detail, "")
	case strings.HasPrefix(w.failure.Kind, "tls_"), w.proxy == "" && w.tcp.seen && w.tcp.err == nil && !w.failure.Sent:
		c.Took = w.took
		detail, advice := adviceOnTLS(w.err, w.probe.base.Hostname(), now)
		return c.is(Failed, detail, advice)
	case w.failure.Sent:
		return c.is(OK, "a connection came about", "")
	}
	return c.is(Skipped, "there is no connection to secure", "")
}

// answer is the row of the upstream itself.
func (w *way) answer() Check {
	c := Check{Part: w.probe.part, Where: w.probe.base.Host, Took: w.took}
	switch {
	case w.err == nil && w.status >= 500:
		return c.is(Warning, fmt.Sprintf("it answers, with %d", w.status),
			"it is reachable and in trouble: look for an announcement of its keepers, and try again")
	case w.err == nil:
		return c.is(OK, fmt.Sprintf("it answers (%d to a call without a token)", w.status), "")
	case w.failure.Sent:
		return c.is(Failed, w.failure.Kind+": "+reason(w.err), "")
	case w.failure.Proxy:
		return c.is(Failed, "the egress proxy does not let us through: "+reason(w.err), "")
	case w.failure.Kind == problem.ProxyIPProhibited:
		return c.is(Failed, "not called: "+reason(w.err), "")
	}
	return c.is(Failed, "not reached: "+reason(w.err), "")
}

// reason is an error without the words that every failed connection begins with.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	text := err.Error()
	for _, prefix := range []string{"connecting to the upstream: ", "connecting to the egress proxy: ", "dialling: ",
		"shaking hands over TLS: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// proxyRow is the row of the egress proxy, if there is one and a way leads through it.
func proxyRow(ways []*way) []Check {
	var failed *way
	for _, w := range ways {
		switch {
		case w.proxy == "":
		case w.failure.Proxy:
			failed = w
		default:
			return []Check{{Part: "egress proxy", Where: w.proxy, Result: OK, Took: w.tcp.took, Detail: "it lets us through"}}
		}
	}
	if failed == nil {
		return nil
	}
	c := Check{Part: "egress proxy", Where: failed.proxy, Took: failed.took, Detail: reason(failed.err)}
	switch {
	case failed.dns.err != nil:
		c.Advice = "look at the host in egress.proxy. " + adviceOnDNS(failed.dns.err)
	case failed.tcp.err != nil:
		c.Advice = "look at host and port in egress.proxy. " + adviceOnTCP[failed.failure.Kind]
	}
	return []Check{c}
}

// Skews from which a clock is worth a word, and from which assertions are refused:
// they are valid for a minute, and a server allows for some seconds.
const (
	notableSkew = 5 * time.Second
	harmfulSkew = 30 * time.Second
)

// clocks compares this machine's clock with each server's that told the time. That of the
// Authorization Server, the first, judges the times in an assertion; a difference to it is a failure,
// to the others a sign of whose clock is wrong.
func clocks(ways []*way) (checks []Check) {
	seen := make(map[string]bool)
	for _, w := range ways {
		if host := w.probe.base.Host; w.dated && !seen[host] {
			seen[host] = true
			checks = append(checks, w.clock(host == ways[0].probe.base.Host))
		}
	}
	if len(checks) == 0 {
		return []Check{{Part: "clock", Result: Skipped, Detail: "no server told the time"}}
	}
	return checks
}

// clock is the row of one server's clock.
func (w *way) clock(judges bool) Check {
	c := Check{Part: "clock", Where: w.probe.base.Host}
	skew := w.skew.Round(time.Second)
	if skew == 0 {
		return c.is(OK, "the same as the server's, to the second", "")
	}
	side := "behind"
	if skew < 0 {
		side = "ahead of"
	}
	detail := fmt.Sprintf("this machine is %s %s the server's clock", skew.Abs(), side)
	if skew.Abs() < notableSkew {
		return c.is(OK, detail, "")
	}
	result := Warning
	if judges && skew.Abs() >= harmfulSkew {
		result = Failed
	}
	return c.is(result, detail, "have chronyd or systemd-timesyncd set this machine's clock, if all servers say so: "+
		"assertions with a wrong time are refused as invalid_client")
}
