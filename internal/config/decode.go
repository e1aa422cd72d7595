package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/ebox"
)

// decoder brings the nodes of one file into the types of this package. What a field
// accepts follows from its type; a config tag says what the type cannot: a path of a
// file, a day, a host pattern.
type decoder struct {
	src    *source
	m      *mistakes
	dir    string // relative paths begin here
	lookup func(string) (string, bool)

	warnings mistakes // what is allowed and looks like a slip
	files    []string // the paths named by file fields
	shapes   map[reflect.Type]*shape
	nodes    map[string]*node  // what was read, by its path
	routeAt  map[string]string // where in the file each route is mentioned
	// aliased is true within the target of an alias. An alias in there is
	// refused: nested ones can grow without bound.
	aliased bool
}

func newDecoder(src *source, m *mistakes, dir string, lookup func(string) (string, bool)) *decoder {
	return &decoder{src: src, m: m, dir: dir, lookup: lookup,
		shapes: make(map[reflect.Type]*shape), nodes: make(map[string]*node)}
}

// parse reads the YAML of the file; nil if there is none, or if it is none.
func (d *decoder) parse() *node {
	d.src.root = parseYAML(d.src, d.m)
	if d.src.root != nil {
		d.nodes[""] = d.src.root
	}
	return d.src.root
}

// nodeDecoder is a type with a form of its own in the file.
type nodeDecoder interface {
	decodeNode(d *decoder, at string, n *node)
}

// worded is a type with a fixed vocabulary.
type worded interface{ words() []string }

// at is the value that was read at a path such as routes[2].upstream, behind an alias; nil if
// the file says nothing there.
func (d *decoder) at(path string) *node { return d.nodes[path] }

// ahead is a decoder for what decides how the rest is read. What it finds wrong is not reported:
// it is found again.
func (d *decoder) ahead() *decoder {
	ahead := *d
	ahead.m = new(mistakes)
	return &ahead
}

// fail reports a mistake at the value of a path, or at the nearest that exists.
func (d *decoder) fail(at, format string, args ...any) {
	nearest := at
	for d.at(nearest) == nil && nearest != "" {
		nearest = nearest[:max(strings.LastIndexByte(nearest, '.'), strings.LastIndexByte(nearest, '['), 0)]
	}
	d.failAt(d.at(nearest), at, format, args...)
}

func (d *decoder) failAt(n *node, at, format string, args ...any) {
	d.m.add(d.src, n.Line, n.Column, at, fmt.Sprintf(format, args...))
}

// warn is fail for what is allowed and may not be meant.
func (d *decoder) warn(at, message string) {
	if n := d.at(at); n != nil {
		d.warnings.add(d.src, n.Line, n.Column, at, message)
	}
}

// given reports whether the file says anything at this path, or at one of the keys below it.
func (d *decoder) given(at string, keys ...string) bool {
	return len(keys) == 0 && d.at(at) != nil ||
		slices.ContainsFunc(keys, func(key string) bool { return d.at(join(at, key)) != nil })
}

// decode reads n, at this path of the file, into v. tag is that of its field:
//
//   - config:"file" and the like is the form of a text, see text, or "all", which stands for
//     no list; ",blank" takes an empty text for no key, ",some" refuses an empty list;
//   - least:"1MB", above:"0s" and most:"10" bound a number.
func (d *decoder) decode(at string, n *node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind == yaml.AliasNode {
		if d.aliased {
			d.failAt(n, at, "an alias within an alias (*%s): write the value out", n.Value)
			return
		}
		d.aliased = true
		defer func() { d.aliased = false }()
		n = n.Alias
	}
	d.nodes[at] = n
	switch own := v.Addr().Interface().(type) {
	case nodeDecoder:
		own.decodeNode(d, at, n)
		return
	case *ebox.Actions:
		d.actions(at, n, own)
		return
	}
	if tag.Get("config") == "all" && n.Kind == yaml.ScalarNode && n.Value == "all" {
		return // no list
	}
	if isText(v.Type()) {
		d.scalar(at, n, v, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(at, n, v, "")
	case reflect.Slice:
		d.list(at, n, v, tag)
	case reflect.Map:
		d.mapping(at, n, v)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			setDefaults(v.Elem())
		}
		d.decode(at, n, v.Elem(), tag)
	default:
		panic("config: no way to read a " + v.Type().String())
	}
}

// withDefaults gives a T in which the fields have what their default tags say.
func withDefaults[T any]() (t T) {
	setDefaults(reflect.ValueOf(&t).Elem())
	return t
}

// setDefaults gives a struct its defaults, and those within it; of another value there are none.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		switch text, given := field.Tag.Lookup("default"); {
		case given:
			if err := new(decoder).read(value, "", text); err != nil {
				panic("config: the default of " + field.Name + ": " + err.Error())
			}
		default:
			setDefaults(value)
		}
	}
}

// shape is what a struct looks like in the file.
type shape struct {
	names  []string // its keys, in the order of its fields
	fields map[string]reflect.StructField
	secret bool // one of the keys is a secret
}

func (d *decoder) shapeOf(t reflect.Type) *shape {
	s := d.shapes[t]
	if s != nil {
		return s
	}
	s = &shape{fields: make(map[string]reflect.StructField)}
	for _, field := range reflect.VisibleFields(t) {
		if name := field.Tag.Get("yaml"); name != "" && name != "-" {
			s.names = append(s.names, name)
			s.fields[name] = field
			s.secret = s.secret || field.Type == reflect.TypeFor[Secret]()
		}
	}
	d.shapes[t] = s
	return s
}

// structure reads a mapping into a struct, but for the key that is left for later: its value, if
// there is one, is returned.
func (d *decoder) structure(at string, n *node, v reflect.Value, later string) (left *node) {
	s := d.shapeOf(v.Type())
	if n.Kind != yaml.MappingNode {
		d.failAt(n, at, "a mapping is expected, with keys among %s", strings.Join(s.names, ", "))
		return nil
	}
	given := make(map[string]bool)
	d.keys(at, n, s.secret, func(name string, key, value *node) {
		field, ok := s.fields[name]
		switch {
		case !ok:
			d.unknown(at, key, value, s)
			return
		case at == "" && isNull(value): // a section whose content is all commented out
			return
		case name == later:
			left = aliased(value)
		default:
			d.decode(join(at, name), value, v.FieldByIndex(field.Index), field.Tag)
		}
		given[name] = true
	})
	for _, name := range s.names {
		if field := s.fields[name]; field.Tag.Get("jsonschema") == "required" && !given[name] {
			d.m.as(derived, func() { d.failAt(n, join(at, name), "%s is missing%s", name, allowedWords(field.Type)) })
		}
	}
	return left
}

// aliased is what an alias stands for, and anything else itself.
func aliased(n *node) *node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// keys visits the pairs of a mapping once each; secret hides what is not
// visited.
func (d *decoder) keys(at string, n *node, secret bool, visit func(name string, key, value *node)) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.src.hide(value)
			d.failAt(key, at, "a key has to be a word")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			if secret {
				d.src.hide(value)
			}
			d.failAt(key, join(at, key.Value), "%s is given twice, first on line %d", quote(key.Value), line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key.Value, key, value)
	}
}

func (d *decoder) unknown(at string, key, value *node, s *shape) {
	if s.secret {
		d.src.hide(value) // perhaps a misspelt password
	}
	if key.Value == "<<" {
		d.failAt(key, at, "merge keys (<<) are not understood: write the values out, or use an alias for a whole value")
		return
	}
	d.m.as(unknownKey, func() {
		d.failAt(key, join(at, key.Value), "unknown key %s: %sallowed here: %s", quote(key.Value),
			didYouMean(key.Value, s.names), strings.Join(s.names, ", "))
	})
}

func (d *decoder) list(at string, n *node, v reflect.Value, tag reflect.StructTag) {
	form := tag.Get("config")
	if n.Kind != yaml.SequenceNode {
		expected := "a list is expected, as in [first, second]"
		if form == "all" {
			expected = `"all" or a list is expected, as in [0206731645]`
		}
		d.failAt(n, at, "%s; without it, leave the key out", expected)
		return
	}
	if len(n.Content) == 0 && strings.HasSuffix(form, ",some") {
		d.failAt(n, at, "an empty list stands for nothing: leave the key out if it does not matter")
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	seen := make(map[any]bool)
	for i, child := range n.Content {
		one := items.Index(i)
		setDefaults(one)
		d.decode(item(at, i), child, one, tag)
		if !one.Comparable() || one.IsZero() {
			continue
		}
		value := one.Interface()
		switch {
		case !seen[value]:
			seen[value] = true
		case isText(one.Type()):
			d.failAt(child, item(at, i), "%s is given twice", quote(fmt.Sprint(value)))
		default:
			d.failAt(child, item(at, i), "the same is given twice")
		}
	}
	v.Set(items)
}

func (d *decoder) mapping(at string, n *node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.failAt(n, at, "a mapping is expected, from a name of your choosing to its settings")
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.keys(at, n, false, func(name string, key, value *node) {
		if _, err := parseName(name); err != nil {
			d.failAt(key, at, "%s %s", quote(name), err)
		}
		item := reflect.New(v.Type().Elem()).Elem()
		setDefaults(item)
		d.decode(join(at, name), value, item, "")
		v.SetMapIndex(reflect.ValueOf(name), item)
	})
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// item is the path of an element of a list.
func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
