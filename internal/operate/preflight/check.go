// Package preflight checks a configuration before it is used: what a start needs on this
// machine, and every way that calls go, one step after the other.
package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/operate"
)

// Check is one thing that was looked at.
type Check struct {
	// Part is what, as "token payroll"; Where is the file or the host that it is about.
	Part, Where string
	Result      Result
	// Took is how long it took, 0 for what needs no time.
	Took time.Duration
	// Detail says how it is, or exactly why it does not work.
	Detail string
	// Advice says what to do, empty if nothing has to be done or Detail says it.
	Advice string
}

// is gives the check with what came of it.
func (c Check) is(result Result, detail, advice string) Check {
	c.Result, c.Detail, c.Advice = result, detail, advice
	return c
}

// Result is a check in one word.
type Result int

// The results. Warning is what works and should be looked at, Skipped what was not tried,
// which the check's Detail explains.
const (
	Failed Result = iota
	OK
	Warning
	Skipped
)

func (r Result) String() string { return [...]string{"failed", "ok", "warning", "skipped"}[r] }

// MarshalJSON writes the check for programs; members are added over time and never
// renamed.
func (c Check) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Result string  `json:"result"`
		What   string  `json:"what"`
		Where  string  `json:"where,omitempty"`
		Millis float64 `json:"milliseconds,omitempty"`
		Detail string  `json:"detail"`
		Advice string  `json:"advice,omitempty"`
	}{c.Result.String(), c.Part, c.Where, float64(c.Took.Microseconds()) / 1000, c.Detail, c.Advice})
}

// Offline looks at everything on this machine that a start, or the night after it,
// needs: keys, certificates, tokens, rights, addresses, and where evidence and refusals
// are written. running reports whether a gateway that runs has a listener's address.
func Offline(cfg *config.Config, now time.Time, running func(config.Listener) bool) []Check {
	return slices.Concat(Rights(cfg), checkSlips(cfg), checkKeys(cfg, now), checkEncryption(cfg.Redis),
		[]Check{checkEvidence(cfg)}, checkPlaces(cfg), checkCertificates(cfg, now), checkAdminToken(cfg),
		checkPorts(cfg, running), Descriptors(cfg))
}

func checkKeys(cfg *config.Config, now time.Time) (checks []Check) {
	for _, name := range slices.Sorted(maps.Keys(cfg.OAuth.Clients)) {
		checks = append(checks, checkKey(name, cfg.OAuth.Clients[name], now))
	}
	return checks
}

func checkKey(name string, client config.Client, now time.Time) Check {
	c := Check{Part: "key of client " + name, Where: client.KeyFile()}
	key, err := authn.LoadKey(client)
	if errors.Is(err, fs.ErrNotExist) {
		return c.is(Failed, err.Error(), "put the file there, readable for the gateway's user alone, or correct "+
			"oauth.clients."+name)
	}
	if err != nil {
		return c.is(Failed, err.Error(), "")
	}
	k := key.Status(now)
	if k.NotAfter.IsZero() {
		return c.is(OK, k.Algorithm+", no certificate beside it", "")
	}
	result, detail := validity(k.Subject, k.NotBefore, k.NotAfter, now)
	advice := ""
	switch {
	case now.After(k.NotAfter):
		advice = "request a new certificate, register it in Chaman, and put it in this file's place"
	case result == Failed:
		advice = "set this machine's clock if it is behind, or keep the old certificate until then"
	case result == Warning:
		advice = "request a new certificate now: ordering and registering one takes weeks"
	}
	return c.is(result, k.Algorithm+", "+detail, advice)
}

// Validity says to people whose a key's certificate is and when it is valid; nothing
// if there is none beside the key.
func Validity(key *authn.Key, now time.Time) string {
	k := key.Status(now)
	if k.NotAfter.IsZero() {
		return ""
	}
	_, text := validity(k.Subject, k.NotBefore, k.NotAfter, now)
	return text
}

// soonExpired is how long before its end a certificate is a warning.
const soonExpired = 30 * 24 * time.Hour

// validity says whose a certificate is and when it is valid.
func validity(subject string, from, until, now time.Time) (Result, string) {
	left := until.Sub(now)
	days := int(left.Abs().Hours() / 24)
	switch {
	case left < 0:
		return Failed, fmt.Sprintf("%s: it has expired on %s, %d days ago", subject, until.UTC().Format(time.DateOnly), days)
	case now.Before(from):
		return Failed, fmt.Sprintf("%s: it is not valid before %s UTC", subject, from.UTC().Format(time.DateTime))
	}
	text := fmt.Sprintf("%s, valid until %s (%d days)", subject, until.UTC().Format(time.DateOnly), days)
	if left < soonExpired {
		return Warning, text
	}
	return OK, text
}

// Online goes the way that a call goes, in its order: the way to the Authorization
// Server and its clock, a token for each client and set of scopes, the
// registry, Redis, and the way to every upstream. The upstreams are asked without a
// token and for nothing in particular: any answer shows that the way there works,
// and no e-Box is touched. patience bounds each way, as Patience does.
func Online(ctx context.Context, v *operate.View, patience time.Duration) []Check {
	g := check{v, patience}
	tokenURL, err := url.Parse(g.Config.OAuth.TokenURL)
	if err != nil {
		return []Check{{Part: "token endpoint", Where: g.Config.OAuth.TokenURL, Detail: err.Error()}}
	}
	first := []probe{{"token endpoint", tokenURL, egress.GuardOf(tokenURL, g.Config.OAuth.AllowPrivateNetworks)}}
	if u := g.Config.Registry.URL; u != nil {
		first = append(first, probe{"registry", u, egress.GuardOf(u, g.Config.Registry.AllowPrivateNetworks)})
	}
	for _, route := range g.Config.Routes {
		if route.Upstream != nil {
			first = append(first, probe{"route " + route.Name, route.Upstream,
				egress.GuardOf(route.Upstream, route.AllowPrivateNetworks)})
		}
	}
	ways, shown := g.walkAll(ctx, first), make(map[string]bool)
	checks := slices.Concat(proxyRow(ways), g.rows(ways, shown), clocks(ways),
		g.checkClients(ctx, tokenURL.Host, ways[0].err == nil))
	if g.Config.Registry.URL != nil {
		checks = append(checks, g.checkRegistry(ctx))
	}
	if g.Redis != nil {
		checks = append(checks, checkRedis(ctx, g.Redis))
	}
	if u := g.Config.Tracing.Endpoint; u != nil {
		checks = append(checks, g.checkCollector(ctx, u))
	}
	return append(checks, g.checkProviders(ctx, shown)...)
}

// check is the online check of one gateway.
type check struct {
	*operate.View
	patience time.Duration
}

// checkClients asks the token endpoint's host for the tokens of each client, unless the way there is
// not open. They are thrown away.
func (g check) checkClients(ctx context.Context, host string, open bool) (checks []Check) {
	spellings := config.PublicationScopes()
	for _, client := range slices.Sorted(maps.Keys(g.Config.OAuth.Clients)) {
		sets := g.scopesOf(client)
		for _, scopes := range sets {
			c := Check{Part: "token " + client + " for " + shortScopes(scopes), Where: host}
			if open {
				c = g.checkToken(ctx, c, client, scopes)
			} else {
				c = c.is(Skipped, "the token endpoint cannot be reached, see above", "")
			}
			checks = append(checks, c)
		}
		if !open {
			continue
		}
		asked := slices.Concat(sets...)
		publishing := slices.DeleteFunc(slices.Clone(asked), func(s string) bool { return !slices.Contains(spellings[:], s) })
		if len(publishing) > 0 {
			c := Check{Part: "publication scope of " + client, Where: host}
			checks = append(checks, g.checkPublication(ctx, c, client, publishing))
		}
		if slices.Contains(g.Config.UsedClients(), client) {
			c := Check{Part: "default scopes of " + client, Where: host}
			checks = append(checks, g.checkDefaultScopes(ctx, c, client, asked))
		}
	}
	return checks
}

func (g check) checkToken(ctx context.Context, c Check, client string, scopes []string) Check {
	began := g.Now()
	token, err := g.Tokens.Try(ctx, client, scopes, nil)
	c.Took = g.Now().Sub(began)
	if err == nil {
		return c.is(OK, "obtained, valid until "+token.Expires().Format(time.RFC3339), "")
	}
	advice := ""
	if refused := authn.Refusal(err); refused != nil {
		advice = refused.Problem().Detail
	}
	return c.is(Failed, err.Error(), advice)
}

// checkPublication asks with both spellings of the scope for publishing: which of them the
// Authorization Server knows is not public.
func (g check) checkPublication(ctx context.Context, c Check, client string, asked []string) Check {
	var granted, refused []string
	for _, scope := range config.PublicationScopes() {
		switch _, err := g.Tokens.Try(ctx, client, []string{scope}, nil); {
		case err == nil:
			granted = append(granted, scope)
		case authn.Refusal(err) != nil:
			refused = append(refused, scope)
		default:
			return c.is(Skipped, "not known: "+err.Error(), "")
		}
	}
	if len(granted) == 0 {
		return c.is(Failed, "neither spelling is granted: "+strings.Join(refused, ", "),
			"have the scope activated for the client in Chaman, or leave the rule out if nobody publishes")
	}
	if wrong := beyond(asked, granted); len(wrong) > 0 {
		return c.is(Failed, "granted is "+granted[0]+", and routes ask for "+strings.Join(wrong, ", "),
			"write the one that is granted into the rules of the routes")
	}
	detail := "granted is " + strings.Join(granted, ", and ")
	if len(refused) > 0 {
		detail += "; refused is " + refused[0]
	}
	return c.is(OK, detail, "")
}

// checkDefaultScopes asks for a token without scopes: what is granted then is what the client may by
// default, and a scope that a route asks for and that is not among it is the first to look up in
// Chaman.
func (g check) checkDefaultScopes(ctx context.Context, c Check, client string, asked []string) Check {
	token, err := g.Tokens.Try(ctx, client, nil, nil)
	if err != nil {
		return c.is(Skipped, "no token is given without a scope: "+err.Error(), "")
	}
	granted := slices.Sorted(slices.Values(token.Extra()))
	if len(granted) == 0 {
		return c.is(Skipped, "the answer to a request without a scope does not say what it grants", "")
	}
	detail := "without a scope, it grants " + strings.Join(granted, " ")
	if missing := beyond(asked, granted); len(missing) > 0 {
		detail += "; routes ask besides for " + strings.Join(missing, " ")
	}
	if more := beyond(granted, asked); len(more) > 0 {
		detail += "; no route asks for " + strings.Join(more, " ")
	}
	return c.is(OK, detail, "")
}

// beyond gives the members of a that b has not, each once.
func beyond(a, b []string) (list []string) {
	for _, s := range a {
		if !slices.Contains(b, s) && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// scopesOf are the sets of scopes that a client's calls can ask for.
func (g check) scopesOf(client string) (sets [][]string) {
	add := func(scopes []string) {
		known := slices.ContainsFunc(sets, func(s []string) bool { return slices.Equal(s, scopes) })
		if len(scopes) > 0 && !known {
			sets = append(sets, scopes)
		}
	}
	if client == cmp.Or(g.Config.Registry.Client, g.Config.Tenancy.DefaultClient) && g.Config.Registry.URL != nil {
		add(g.Config.Registry.Scopes)
	}
	for _, route := range g.Config.Routes {
		if route.Client != "" && route.Client != client {
			continue
		}
		add(route.Scopes)
		for _, rule := range route.Rules {
			add(rule.Scopes)
		}
	}
	return sets
}

// shortScopes keeps the last part of each scope, which is what tells them apart.
func shortScopes(scopes []string) string {
	short := make([]string, len(scopes))
	for i, s := range scopes {
		short[i] = s[strings.LastIndexByte(s, ':')+1:]
	}
	return strings.Join(short, " ")
}

func (g check) checkRegistry(ctx context.Context) Check {
	c := Check{Part: "registry's list", Where: g.Config.Registry.URL.Host}
	began := g.Now()
	err := g.Directory.Refresh(ctx)
	c.Took = g.Now().Sub(began)
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	s := g.Directory.Status()
	c.Result, c.Detail = OK, fmt.Sprintf("%d Document Providers", s.Providers)
	// Hosts that are refused have a row of their own.
	broken := slices.DeleteFunc(slices.Clone(s.Problems), func(p string) bool {
		return strings.Contains(p, "allowedHosts: [")
	})
	if len(broken) > 0 {
		c.Result = Warning
		c.Detail += "; entries that cannot be used: " + strings.Join(broken, "; ")
	}
	return c
}

// checkProviders goes to every provider that may be called now.
func (g check) checkProviders(ctx context.Context, shown map[string]bool) (checks []Check) {
	var probes []probe
	for _, p := range g.Directory.List() {
		part := "provider " + p.ID
		switch state := p.State(g.Now()); state {
		case directory.HostNotAllowed:
			checks = append(checks, Check{Part: part, Where: p.Base.Host, Detail: "it gets no token: " + p.Refusal})
		case directory.Active:
			probes = append(probes, probe{part, p.Base, egress.GuardOfProvider(&g.Config.Registry, p.ID)})
		default:
			checks = append(checks, Check{Part: part, Where: p.Base.Host, Result: Skipped,
				Detail: string(state) + ", not asked"})
		}
	}
	return append(g.rows(g.walkAll(ctx, probes), shown), checks...)
}
