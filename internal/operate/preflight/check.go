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
	checks := append(Rights(cfg), checkSlips(cfg)...)
	for _, name := range slices.Sorted(maps.Keys(cfg.OAuth.Clients)) {
		checks = append(checks, checkKey(name, cfg.OAuth.Clients[name], now))
	}
	checks = append(checks, checkEncryption(cfg.Redis)...)
	checks = append(checks, checkEvidence(cfg))
	checks = append(checks, checkPlaces(cfg)...)
	checks = append(checks, checkCertificates(cfg, now)...)
	checks = append(checks, checkAdminToken(cfg)...)
	checks = append(checks, checkPorts(cfg, running)...)
	if c := Descriptors(cfg); c != nil {
		checks = append(checks, *c)
	}
	return checks
}

func checkKey(name string, client config.Client, now time.Time) Check {
	c := Check{Part: "key of client " + name, Where: client.KeyFile()}
	key, err := authn.LoadKey(client)
	if err != nil {
		c.Detail = err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			c.Advice = "put the file there, readable for the gateway's user alone, or correct oauth.clients." + name
		}
		return c
	}
	k := key.Status(now)
	if k.NotAfter.IsZero() {
		c.Result, c.Detail = OK, k.Algorithm+", no certificate beside it"
		return c
	}
	c.Result, c.Detail = validity(k.Subject, k.NotBefore, k.NotAfter, now)
	c.Detail = k.Algorithm + ", " + c.Detail
	switch {
	case now.After(k.NotAfter):
		c.Advice = "request a new certificate, register it in Chaman, and put it in this file's place"
	case c.Result == Failed:
		c.Advice = "set this machine's clock if it is behind, or keep the old certificate until then"
	case c.Result == Warning:
		c.Advice = "request a new certificate now: ordering and registering one takes weeks"
	}
	return c
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
	switch days := int(left.Abs().Hours() / 24); {
	case left < 0:
		return Failed, fmt.Sprintf("%s: it has expired on %s, %d days ago", subject, until.UTC().Format(time.DateOnly), days)
	case now.Before(from):
		return Failed, fmt.Sprintf("%s: it is not valid before %s UTC", subject, from.UTC().Format(time.DateTime))
	case left < soonExpired:
		return Warning, fmt.Sprintf("%s, valid until %s (%d days)", subject, until.UTC().Format(time.DateOnly), days)
	default:
		return OK, fmt.Sprintf("%s, valid until %s (%d days)", subject, until.UTC().Format(time.DateOnly), days)
	}
}

// Online goes the way that a call goes, in its order: the way to the Authorization
// Server and its clock, a token for each client and set of scopes, the
// registry, Redis, and the way to every upstream. The upstreams are asked without a
// token and for nothing in particular: any answer shows that the way there works,
// and no e-Box is touched. patience bounds each way, as Patience does.
func Online(ctx context.Context, v *operate.View, patience time.Duration) []Check {
	g := check{v, patience}
	ways := newWays(g)
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
	ways.walk(ctx, first)
	checks := append(ways.proxy(), ways.rows(first)...)
	checks = append(checks, ways.clocks()...)
	checks = append(checks, g.checkTokens(ctx, ways.open(first[0]))...)
	if ways.open(first[0]) {
		checks = append(checks, g.checkPublication(ctx)...)
		checks = append(checks, g.checkDefaultScopes(ctx)...)
	}
	if g.Config.Registry.URL != nil {
		checks = append(checks, g.checkRegistry(ctx))
	}
	if g.Redis != nil {
		checks = append(checks, checkRedis(ctx, g.Redis))
	}
	checks = append(checks, g.checkCollector(ctx)...)
	return append(checks, g.checkProviders(ctx, ways)...)
}

// check is the online check of one gateway.
type check struct {
	*operate.View
	patience time.Duration
}

// checkTokens asks for one token per client and set of scopes, unless the way to the
// token endpoint is not open.
func (g check) checkTokens(ctx context.Context, open bool) []Check {
	var checks []Check
	for _, n := range g.neededTokens() {
		c := Check{Part: "token " + n.client + " for " + shortScopes(n.scopes), Where: hostOf(g.Config.OAuth.TokenURL)}
		if !open {
			c.Result, c.Detail = Skipped, "the token endpoint cannot be reached, see above"
			checks = append(checks, c)
			continue
		}
		began := g.Now()
		token, err := g.Tokens.Try(ctx, n.client, n.scopes, nil)
		c.Took = g.Now().Sub(began)
		var refused *authn.RefusedError
		switch {
		case errors.As(err, &refused):
			c.Detail, c.Advice = refused.Error(), refused.Problem().Detail
		case err != nil:
			c.Detail = err.Error()
		default:
			c.Result, c.Detail = OK, "obtained, valid until "+token.Expires().Format(time.RFC3339)
		}
		checks = append(checks, c)
	}
	return checks
}

// checkPublication asks with both spellings of the scope for publishing, for each client
// that needs it: which of them the Authorization Server knows is not public. The tokens are
// thrown away.
func (g check) checkPublication(ctx context.Context) (checks []Check) {
	spellings := config.PublicationScopes()
	asked := make(map[string][]string) // by client, what the routes ask for
	for _, n := range g.neededTokens() {
		for _, scope := range spellings {
			if slices.Contains(n.scopes, scope) {
				asked[n.client] = append(asked[n.client], scope)
			}
		}
	}
	for _, client := range slices.Sorted(maps.Keys(asked)) {
		c := Check{Part: "publication scope of " + client, Where: hostOf(g.Config.OAuth.TokenURL)}
		var granted, refused []string
		for _, scope := range spellings {
			_, err := g.Tokens.Try(ctx, client, []string{scope}, nil)
			var no *authn.RefusedError
			switch {
			case err == nil:
				granted = append(granted, scope)
			case errors.As(err, &no):
				refused = append(refused, scope)
			default:
				c.Result, c.Detail = Skipped, "not known: "+err.Error()
			}
		}
		wrong := beyond(asked[client], granted)
		switch {
		case c.Result == Skipped:
		case len(granted) == 0:
			c.Detail = "neither spelling is granted: " + strings.Join(refused, ", ")
			c.Advice = "have the scope activated for the client in Chaman, or leave the rule out if nobody publishes"
		case len(wrong) > 0:
			c.Detail = "granted is " + granted[0] + ", and routes ask for " + strings.Join(wrong, ", ")
			c.Advice = "write the one that is granted into the rules of the routes"
		default:
			c.Result, c.Detail = OK, "granted is "+strings.Join(granted, ", and ")
			if len(refused) > 0 {
				c.Detail += "; refused is " + refused[0]
			}
		}
		checks = append(checks, c)
	}
	return checks
}

// checkDefaultScopes asks for a token without scopes for each client: what is granted then
// is what the client may by default, and a scope that a route asks for and that is not
// among it is the first to look up in Chaman. The tokens are thrown away.
func (g check) checkDefaultScopes(ctx context.Context) (checks []Check) {
	asked := make(map[string][]string)
	for _, n := range g.neededTokens() {
		asked[n.client] = append(asked[n.client], n.scopes...)
	}
	for _, client := range g.Config.UsedClients() {
		c := Check{Part: "default scopes of " + client, Where: hostOf(g.Config.OAuth.TokenURL), Result: OK}
		token, err := g.Tokens.Try(ctx, client, nil, nil)
		switch granted := token.Granted(); {
		case err != nil:
			c.Result, c.Detail = Skipped, "no token is given without a scope: "+err.Error()
		case len(granted) == 0:
			c.Result, c.Detail = Skipped, "the answer to a request without a scope does not say what it grants"
		default:
			slices.Sort(granted)
			c.Detail = "without a scope, it grants " + strings.Join(granted, " ")
			if missing := beyond(asked[client], granted); len(missing) > 0 {
				c.Detail += "; routes ask besides for " + strings.Join(missing, " ")
			}
			if more := beyond(granted, asked[client]); len(more) > 0 {
				c.Detail += "; no route asks for " + strings.Join(more, " ")
			}
		}
		checks = append(checks, c)
	}
	return checks
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

// neededToken is one token that the configuration can ask for.
type neededToken struct {
	client string
	scopes []string
}

func (g check) neededTokens() (needs []neededToken) {
	add := func(client string, scopes []string) {
		if len(scopes) == 0 {
			return
		}
		if !slices.ContainsFunc(needs, func(n neededToken) bool {
			return n.client == client &&
				slices.Equal(n.scopes, scopes)
		}) {
			needs = append(needs, neededToken{client, scopes})
		}
	}
	for _, client := range slices.Sorted(maps.Keys(g.Config.OAuth.Clients)) {
		if client == cmp.Or(g.Config.Registry.Client, g.Config.Tenancy.DefaultClient) && g.Config.Registry.URL != nil {
			add(client, g.Config.Registry.Scopes)
		}
		for _, route := range g.Config.Routes {
			if route.Client != "" && route.Client != client {
				continue
			}
			add(client, route.Scopes)
			for _, rule := range route.Rules {
				add(client, rule.Scopes)
			}
		}
	}
	return needs
}

// shortScopes keeps the last part of each scope, which is what tells them apart.
func shortScopes(scopes []string) string {
	short := make([]string, len(scopes))
	for i, s := range scopes {
		short[i] = s[strings.LastIndexByte(s, ':')+1:]
	}
	return strings.Join(short, " ")
}

func hostOf(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Host
	}
	return ""
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
	if broken := entriesLeftOut(s); len(broken) > 0 {
		c.Result = Warning
		c.Detail += "; entries that cannot be used: " + strings.Join(broken, "; ")
	}
	return c
}

// entriesLeftOut are the problems of the list without those of refused hosts, which
// have a row of their own.
func entriesLeftOut(s directory.Status) []string {
	return slices.DeleteFunc(slices.Clone(s.Problems), func(p string) bool {
		return strings.Contains(p, "allowedHosts: [")
	})
}

// checkProviders goes to every provider that may be called now.
func (g check) checkProviders(ctx context.Context, ways *ways) []Check {
	var checks []Check
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
	ways.walk(ctx, probes)
	return append(ways.rows(probes), checks...)
}
