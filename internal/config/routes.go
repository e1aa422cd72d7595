package config

import (
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

// decodeRoutes brings the file's routes over those of the environment: a known
// name changes the route in place, a new one is added. It gives the path in the
// file of each route that the file mentions.
func (d *decoder) decodeRoutes(n *node, routes []Route) (all []Route, at map[string]string) {
	at = make(map[string]string)
	if n == nil || isNull(n) {
		return routes, at
	}
	if n.Kind != yaml.SequenceNode {
		d.failAt(n, "routes", "a list of routes is expected, each beginning with - name:")
		return routes, at
	}
	for i, entry := range n.Content {
		path := item("routes", i)
		name := d.peek(entry, "name")
		if first, twice := at[name]; twice && name != "" {
			d.failAt(entry, path, "the route %s is given twice, first as %s", quote(name), first)
			continue
		}
		slot := slices.IndexFunc(routes, func(r Route) bool { return r.Name == name })
		if slot < 0 {
			slot = len(routes)
			routes = append(routes, d.beginRoute(name, entry))
		}
		if name != "" {
			at[name] = path
		}
		d.decode(path, entry, reflect.ValueOf(&routes[slot]).Elem(), "")
	}
	return routes, at
}

// beginRoute begins a route that the environment does not have. A name that other
// environments have begins as there, but for the upstream; without a kind, the path
// of the internal endpoint or an upstream that is the registry's tells it: that
// mandates are checked and openings are never repeated must not hang on a key that
// was forgotten.
func (d *decoder) beginRoute(name string, entry *node) Route {
	kind := Kind(d.peek(entry, "kind"))
	if official, ok := officialRoutes()[name]; ok && kind == "" {
		return official
	}
	path := d.peek(entry, "path")
	if kind == "" {
		upstream := member(entry, "upstream")
		kind = kindOfPath(path, upstream != nil && upstream.Kind == yaml.MappingNode)
	}
	r := newRoute(kind)
	if kind == KindEBox && (name == routePartition || path == partitionRoute ||
		strings.HasPrefix(path, partitionRoute+"/")) {
		r.EnterpriseIn = partitionPaths
	}
	return r
}

// newRoute gives a route of a kind before the file, or the environment, has its
// say.
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

func kindOfPath(path string, registry bool) Kind {
	under := func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
	switch {
	case under("/grant/citizen"):
		return KindMandates
	case under("/ebox/registry"):
		return KindRegistry
	case registry || under("/ebox"):
		return KindEBox
	default:
		return KindPlain
	}
}

// peek reads one value of a mapping before the rest of it.
func (d *decoder) peek(n *node, name string) string {
	value := member(n, name)
	if value == nil || value.Kind != yaml.ScalarNode {
		return ""
	}
	text, err := expand(value.Value, d.lookup)
	if err != nil {
		return "" // reported when the value is decoded
	}
	return text
}

// member finds the value of a key, behind an alias too, before the mapping is decoded.
func member(n *node, name string) *node {
	if n = aliased(n); n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.Value == name {
			return aliased(n.Content[i+1])
		}
	}
	return nil
}

// aliased is what an alias stands for, and anything else itself.
func aliased(n *node) *node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// decodeNode reads a route. Its upstream is a URL, or {registry: true}.
func (r *Route) decodeNode(d *decoder, at string, n *node) {
	up, v := member(n, "upstream"), reflect.ValueOf(r).Elem()
	if up == nil || up.Kind != yaml.MappingNode {
		r.Registry = r.Registry && up == nil
		d.structure(at, n, v)
		return
	}
	var ref struct {
		Registry bool `yaml:"registry" jsonschema:"required"`
	}
	d.decode(join(at, "upstream"), up, reflect.ValueOf(&ref).Elem(), "")
	if given := join(at, "upstream.registry"); d.given(given) && !ref.Registry {
		d.fail(given, "only true makes sense here; for a fixed upstream write its URL")
	}
	r.Registry, r.Upstream = ref.Registry, nil
	d.structure(at, n, v, "upstream")
}

// decodeNode reads a cache. Its rules begin as the cache itself.
func (c *Cache) decodeNode(d *decoder, at string, n *node) {
	d.structure(at, n, reflect.ValueOf(c).Elem(), "rules")
	rules := member(n, "rules")
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
		if one.Name == "" {
			one.Name = one.Address
		}
	}
}

// decodeNode reads a listener: its address, or an object.
func (l *Listener) decodeNode(d *decoder, at string, n *node) {
	if n.Kind == yaml.ScalarNode {
		d.decode(at, n, reflect.ValueOf(&l.Address).Elem(), "")
		return
	}
	d.structure(at, n, reflect.ValueOf(l).Elem())
}
