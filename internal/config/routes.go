package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// providerSegment stands in a route's path for the provider's id.
const providerSegment = "{providerId}"

// enterpriseSegment stands in enterpriseIn for the number.
const enterpriseSegment = "{enterpriseNumber}"

// partitionRoute is where the Partition API is, partitionPaths how its paths begin.
const (
	partitionRoute = "/ebox/partition"
	partitionPaths = "/ebox/" + enterpriseSegment
)

// Routes are the routes of a configuration.
type Routes []Route

// decodeNode brings the file's routes over those of the environment: a known name changes the
// route in place, a new one is added.
func (routes *Routes) decodeNode(d *decoder, at string, n *node) {
	if n.Kind != yaml.SequenceNode {
		d.failAt(n, at, "a list of routes is expected, each beginning with - name:")
		return
	}
	d.routeAt = make(map[string]string)
	for i, entry := range n.Content {
		var ahead Route
		path := item(at, i)
		d.ahead().decode(path, entry, reflect.ValueOf(&ahead).Elem(), "")
		name := ahead.Name
		if first, twice := d.routeAt[name]; twice {
			d.failAt(entry, path, "the route %s is given twice, first as %s", quote(name), first)
			continue
		}
		slot := slices.IndexFunc(*routes, func(r Route) bool { return r.Name == name })
		if slot < 0 {
			slot = len(*routes)
			*routes = append(*routes, beginRoute(&ahead))
		}
		if name != "" {
			d.routeAt[name] = path
		}
		d.decode(path, entry, reflect.ValueOf(&(*routes)[slot]).Elem(), "")
	}
}

// beginRoute begins a route that the environment does not have. A name that other
// environments have begins as there, but for the upstream; without a kind, the path
// of the internal endpoint or an upstream that is the registry's tells it: that
// mandates are checked and openings are never repeated must not hang on a key that
// was forgotten.
func beginRoute(ahead *Route) Route {
	kind, path := ahead.Kind, ahead.Path
	if official, ok := officialRoutes()[ahead.Name]; ok && kind == "" {
		return official
	}
	if kind == "" {
		kind = kindOfPath(path, ahead.Registry)
	}
	r := newRoute(kind)
	if kind == KindEBox && (ahead.Name == routePartition || below(path, partitionRoute)) {
		r.EnterpriseIn = partitionPaths
	}
	return r
}

// newRoute gives the defaults of a kind of route, on which environment and file build.
func newRoute(kind Kind) Route {
	r := withDefaults[Route]()
	r.Kind, r.Enterprise, r.Methods = kind, Optional, []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	switch kind {
	case KindEBox:
		r.Enterprise = Required
		r.Cache.Enabled = true
	case KindRegistry:
		r.Enterprise = None
		r.Methods = []string{"GET"}
		r.Cache.Enabled = true
	case KindMandates:
		r.MaxBody = 1e6
	}
	return r
}

// below reports whether a path is prefix or lies below it.
func below(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func kindOfPath(path string, registry bool) Kind {
	switch {
	case below(path, "/grant/citizen"):
		return KindMandates
	case below(path, "/ebox/registry"):
		return KindRegistry
	case registry || below(path, "/ebox"):
		return KindEBox
	default:
		return KindPlain
	}
}

// decodeNode reads a route. Its upstream is a URL, or {registry: true}.
func (r *Route) decodeNode(d *decoder, at string, n *node) {
	up := d.structure(at, n, reflect.ValueOf(r).Elem(), "upstream")
	at = join(at, "upstream")
	switch {
	case up == nil:
	case up.Kind == yaml.MappingNode:
		var ref struct {
			Registry bool `yaml:"registry" jsonschema:"required"`
		}
		d.decode(at, up, reflect.ValueOf(&ref).Elem(), "")
		if at += ".registry"; d.given(at) && !ref.Registry {
			d.fail(at, "only true makes sense here; for a fixed upstream write its URL")
		}
		r.Registry, r.Upstream = ref.Registry, nil
	default:
		r.Registry = false
		d.decode(at, up, reflect.ValueOf(&r.Upstream).Elem(), "")
	}
}

// decodeNode reads a cache. Its rules begin as the cache itself.
func (c *Cache) decodeNode(d *decoder, at string, n *node) {
	rules := d.structure(at, n, reflect.ValueOf(c).Elem(), "rules")
	if rules == nil {
		return
	}
	at = join(at, "rules")
	if rules.Kind != yaml.SequenceNode {
		d.failAt(rules, at, "a list of rules is expected, each beginning with - paths:")
		return
	}
	c.Rules = make([]CacheRule, len(rules.Content))
	for i, rule := range rules.Content {
		c.Rules[i] = CacheRule{CachePolicy: c.CachePolicy}
		d.decode(item(at, i), rule, reflect.ValueOf(&c.Rules[i]).Elem(), "")
	}
}

// decodeNode reads one listener or several, each an address or an object.
func (l *Listeners) decodeNode(d *decoder, at string, n *node) {
	items, path := []*node{n}, func(int) string { return at }
	if n.Kind == yaml.SequenceNode {
		items, path = n.Content, func(i int) string { return item(at, i) }
	}
	*l = make(Listeners, len(items))
	for i, entry := range items {
		one := &(*l)[i]
		d.decode(path(i), entry, reflect.ValueOf(one).Elem(), "")
		one.Name = cmp.Or(one.Name, one.Address)
	}
}

// decodeNode reads a listener: its address, or an object.
func (l *Listener) decodeNode(d *decoder, at string, n *node) {
	if n.Kind == yaml.ScalarNode {
		d.decode(at, n, reflect.ValueOf(&l.Address).Elem(), `config:"address"`)
		return
	}
	d.structure(at, n, reflect.ValueOf(l).Elem(), "")
}
