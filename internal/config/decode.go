package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decoder brings nodes into the types of this package. What a field accepts
// follows from its type; a config tag says what the type cannot: a path of a
// file, a day, a host pattern.
type decoder struct {
	src    *source
	m      *mistakes
	dir    string // relative paths begin here
	lookup func(string) (string, bool)
	day    *time.Location

	warnings mistakes // what is allowed and looks like a slip

	nodes map[string]*node // the value at each path, for later checks
	files []string         // the paths named by file fields
	// aliased is true within the target of an alias. An alias in there is
	// refused: nested ones can grow without bound.
	aliased bool
}

// nodeDecoder is a type with a form of its own in the file.
type nodeDecoder interface {
	decodeNode(d *decoder, at string, n *node)
}

// defaulter is a type whose elements do not begin as zero.
type defaulter interface{ setDefaults() }

// worded is a type with a fixed vocabulary.
type worded interface{ words() []string }

// fail reports a mistake at the value of a path, or at the nearest that exists.
func (d *decoder) fail(at, format string, args ...any) {
	n := d.nodes[at]
	for p := at; n == nil && p != ""; {
		p = p[:max(strings.LastIndexByte(p, '.'), strings.LastIndexByte(p, '['), 0)]
		n = d.nodes[p]
	}
	if n == nil {
		d.m.add(d.src, 1, 1, at, fmt.Sprintf(format, args...))
		return
	}
	d.failAt(n, at, format, args...)
}

func (d *decoder) failAt(n *node, at, format string, args ...any) {
	d.m.add(d.src, n.Line, n.Column, at, fmt.Sprintf(format, args...))
}

// warn is fail for what is allowed and may not be meant.
func (d *decoder) warn(at, message string) {
	if n := d.nodes[at]; n != nil {
		d.warnings.add(d.src, n.Line, n.Column, at, message)
	}
}

// given tells whether the file says anything at this path.
func (d *decoder) given(at string) bool { return d.nodes[at] != nil }

// hide keeps the values in n out of every excerpt.
func (d *decoder) hide(n *node) { d.src.secrets = append(d.src.secrets, n) }

func (d *decoder) decode(at string, n *node, v reflect.Value, tag string) {
	d.nodes[at] = n
	if n.Kind == aliasNode {
		if d.aliased {
			d.failAt(n, at, "an alias within an alias (*%s): write the value out", n.Value)
			return
		}
		d.aliased = true
		defer func() { d.aliased = false }()
		n = n.Alias
	}
	d.nodes[at] = n
	if v.CanAddr() {
		if own, ok := v.Addr().Interface().(nodeDecoder); ok {
			own.decodeNode(d, at, n)
			return
		}
	}
	if tag == "all" && n.Kind == scalarNode && n.Value == "all" {
		v.SetZero()
		return
	}
	if d.scalar(at, n, v, tag) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(at, n, v)
	case reflect.Slice:
		d.list(at, n, v, tag)
	case reflect.Map:
		d.mapping(at, n, v)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		d.decode(at, n, v.Elem(), tag)
	default:
		panic("config: no way to read a " + v.Type().String())
	}
}

// fresh gives a pointer to a new value with its defaults.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if own, ok := p.Interface().(defaulter); ok {
		own.setDefaults()
	}
	return p
}

func (d *decoder) structure(at string, n *node, v reflect.Value) {
	if n.Kind != mappingNode {
		d.failAt(n, at, "a mapping is expected, with keys among %s", strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	d.keys(at, n, hasSecret(v.Type()), func(name string, key, value *node) {
		field, ok := fieldNamed(v.Type(), name)
		if !ok {
			d.unknown(at, key, value, v.Type())
			return
		}
		path := join(at, name)
		if at == "" && isNull(value) {
			return // a section whose content is all commented out
		}
		d.decode(path, value, v.FieldByIndex(field.Index), field.Tag.Get("config"))
	})
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Tag.Get("jsonschema") != "required" {
			continue
		}
		if name := field.Tag.Get("yaml"); !d.given(join(at, name)) {
			d.m.as(derived, func() { d.failAt(n, join(at, name), "%s is missing%s", name, allowedWords(field.Type)) })
		}
	}
}

func hasSecret(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).Type == reflect.TypeFor[Secret]() {
			return true
		}
	}
	return false
}

// keys visits the pairs of a mapping once each; secret hides what is not
// visited.
func (d *decoder) keys(at string, n *node, secret bool, visit func(name string, key, value *node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != scalarNode {
			d.hide(value)
			d.failAt(key, at, "a key has to be a word")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			if secret {
				d.hide(value)
			}
			d.failAt(key, join(at, key.Value), "%s is given twice, first on line %d", quote(key.Value), line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key.Value, key, value)
	}
}

func (d *decoder) unknown(at string, key, value *node, t reflect.Type) {
	names := fieldNames(t)
	if hasSecret(t) {
		d.hide(value) // perhaps a misspelt password
	}
	if key.Value == "<<" {
		d.failAt(key, at, "merge keys (<<) are not understood: write the values out, or use an alias for a whole value")
		return
	}
	guess := ""
	if near := nearest(key.Value, names); near != "" {
		guess = "did you mean " + near + "? "
	}
	d.m.as(unknownKey, func() {
		d.failAt(key, join(at, key.Value), "unknown key %s: %sallowed here: %s", quote(key.Value), guess,
			strings.Join(names, ", "))
	})
}

func (d *decoder) list(at string, n *node, v reflect.Value, tag string) {
	if n.Kind != sequenceNode {
		expected := "a list is expected, as in [first, second]"
		if tag == "all" {
			expected = `"all" or a list is expected, as in [0206731645]`
		}
		d.failAt(n, at, "%s; without it, leave the key out", expected)
		return
	}
	items := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, child := range n.Content {
		item := fresh(v.Type().Elem()).Elem()
		d.decode(at+"["+strconv.Itoa(i)+"]", child, item, tag)
		items = reflect.Append(items, item)
	}
	v.Set(items)
}

func (d *decoder) mapping(at string, n *node, v reflect.Value) {
	if n.Kind != mappingNode {
		d.failAt(n, at, "a mapping is expected, from a name of your choosing to its settings")
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.keys(at, n, false, func(name string, key, value *node) {
		if !isName(name) {
			d.failAt(key, at, "%s is no name: use letters, digits, \"-\", \"_\" and \".\", up to 64", quote(name))
		}
		item := fresh(v.Type().Elem()).Elem()
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

// fieldNames are the keys of a type, in the order of its fields.
func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag == name && tag != "" && tag != "-" {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func allowedWords(t reflect.Type) string {
	if own, ok := reflect.Zero(t).Interface().(worded); ok {
		return ": one of " + strings.Join(own.words(), ", ")
	}
	return ""
}

// isName tells what clients, routes, callers and listeners may be called: their
// names become labels, path segments and cells of tables.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
