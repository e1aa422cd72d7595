package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
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
	// aliased is true within the target of an alias. An alias in there is
	// refused: nested ones can grow without bound.
	aliased bool
}

func newDecoder(src *source, m *mistakes, dir string, lookup func(string) (string, bool)) *decoder {
	return &decoder{src: src, m: m, dir: dir, lookup: lookup,
		shapes: make(map[reflect.Type]*shape)}
}

// parse reads the YAML of the file; nil if there is none, or if it is none.
func (d *decoder) parse() *node {
	d.src.root = parseYAML(d.src, d.m)
	return d.src.root
}

// nodeDecoder is a type with a form of its own in the file.
type nodeDecoder interface {
	decodeNode(d *decoder, at string, n *node)
}

// worded is a type with a fixed vocabulary.
type worded interface{ words() []string }

// at finds the value at a path such as routes[2].upstream, behind an alias; nil if the file
// says nothing there. A section of the file whose content is all commented out says nothing.
func (d *decoder) at(path string) *node {
	n := d.src.root
	if n = find(n, path); n != nil && isNull(n) && !strings.ContainsAny(path, ".[") {
		return nil
	}
	return n
}

// find walks from n along a path. A key may have dots in it, and the shortest that leads on
// counts: of the others a name of the reader's choosing alone can be meant.
func find(n *node, path string) *node {
	if n == nil || path == "" {
		return n
	}
	if index, rest, ok := strings.Cut(path, "]"); ok && path[0] == '[' {
		i, err := strconv.Atoi(index[1:])
		if err != nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
			return nil
		}
		return find(aliased(n.Content[i]), rest)
	}
	path = strings.TrimPrefix(path, ".")
	for end := range len(path) + 1 {
		if end < len(path) && path[end] != '.' && path[end] != '[' {
			continue
		}
		if value := member(n, path[:end]); value != nil {
			if found := find(value, path[end:]); found != nil {
				return found
			}
		}
	}
	return nil
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

// given reports whether the file says anything at this path.
func (d *decoder) given(at string) bool { return d.at(at) != nil }

// emptyList reports whether the file has a list without elements at this path.
func (d *decoder) emptyList(at string) bool {
	n := d.at(at)
	return n != nil && n.Kind == yaml.SequenceNode && len(n.Content) == 0
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
	switch own := v.Addr().Interface().(type) {
	case nodeDecoder:
		own.decodeNode(d, at, n)
		return
	case *ebox.Actions:
		d.actions(at, n, own)
		return
	}
	if tag.Get("config") == "all" && n.Kind == yaml.ScalarNode && n.Value == "all" {
		v.SetZero()
		return
	}
	if isText(v) {
		d.scalar(at, n, v, tag)
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
			v.Set(reflect.New(v.Type().Elem()))
			d.begin(v.Elem())
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

func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		text, given := field.Tag.Lookup("default")
		actions, _ := value.Addr().Interface().(*ebox.Actions)
		switch {
		case given && actions != nil: // "all"
			*actions = ebox.All
		case given:
			if err := new(decoder).read(value, "", text); err != nil {
				panic("config: the default of " + field.Name + ": " + err.Error())
			}
		case value.Kind() == reflect.Struct:
			setDefaults(value)
		}
	}
}

// shape is what a struct looks like in the file.
type shape struct {
	names  []string // its keys, in the order of its fields
	fields map[string]reflect.StructField
	secret bool          // one of the keys is a secret
	begin  reflect.Value // one with the defaults
}

func (d *decoder) shapeOf(t reflect.Type) *shape {
	s := d.shapes[t]
	if s != nil {
		return s
	}
	s = &shape{fields: make(map[string]reflect.StructField), begin: reflect.New(t).Elem()}
	setDefaults(s.begin)
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

// begin gives an element of a list or mapping its defaults.
func (d *decoder) begin(v reflect.Value) {
	if v.Kind() == reflect.Struct {
		v.Set(d.shapeOf(v.Type()).begin)
	}
}

// structure reads a mapping into a struct. Keys in later are left out, for whoever reads
// them after the others.
func (d *decoder) structure(at string, n *node, v reflect.Value, later ...string) {
	s := d.shapeOf(v.Type())
	if n.Kind != yaml.MappingNode {
		d.failAt(n, at, "a mapping is expected, with keys among %s", strings.Join(s.names, ", "))
		return
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
		case !slices.Contains(later, name):
			d.decode(join(at, name), value, v.FieldByIndex(field.Index), field.Tag)
		}
		given[name] = true
	})
	for _, name := range s.names {
		if field := s.fields[name]; field.Tag.Get("jsonschema") == "required" && !given[name] {
			d.m.as(derived, func() { d.failAt(n, join(at, name), "%s is missing%s", name, allowedWords(field.Type)) })
		}
	}
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
		d.failAt(n, at, "an empty list matches nothing: leave the key out if it does not matter")
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	seen := make(map[any]bool)
	for i, child := range n.Content {
		one := items.Index(i)
		d.begin(one)
		d.decode(item(at, i), child, one, tag)
		if !one.Comparable() || one.IsZero() {
			continue
		}
		value := one.Interface()
		switch {
		case !seen[value]:
			seen[value] = true
		case isText(one):
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
		d.begin(item)
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

func allowedWords(t reflect.Type) string {
	if own, ok := reflect.Zero(t).Interface().(worded); ok {
		return ": one of " + strings.Join(own.words(), ", ")
	}
	return ""
}

// isText reports whether a value of v's type is written as one word or text.
func isText(v reflect.Value) bool {
	switch v.Interface().(type) {
	case netip.Prefix, time.Time, *url.URL:
		return true
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		return false
	}
	return true
}

// scalar reads n, one value, into v.
func (d *decoder) scalar(at string, n *node, v reflect.Value, tag reflect.StructTag) {
	form, option, _ := strings.Cut(tag.Get("config"), ",")
	secret := v.Type() == reflect.TypeFor[Secret]()
	if secret {
		d.src.hide(n)
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		d.failAt(n, at, "a single value is expected, no list and no mapping")
		return
	case isNull(n):
		d.failAt(n, at, "a value is expected; to say nothing, leave the key out")
		return
	}
	text, err := expand(n.Value, d.lookup)
	if err != nil {
		d.failAt(n, at, "%s", err)
		return
	}
	if found := bareVariable.FindStringSubmatch(n.Value); found != nil {
		name := found[1]
		if secret {
			name = "NAME"
		}
		d.warn(at, "$"+name+" without braces is text: write ${"+name+"} for the environment variable")
	}
	if option == "blank" && text == "" {
		return // the same as no key, for a variable that may be empty
	}
	err = d.read(v, form, text)
	if err == nil {
		err = d.within(v, tag)
	}
	if err != nil {
		// The value is shown as it is written, never as it was expanded.
		if secret {
			d.failAt(n, at, "this %s", err)
		} else {
			d.failAt(n, at, "%s %s", quote(n.Value), err)
		}
	}
}

// read reads text into v. Its errors continue a sentence that begins with the value.
func (d *decoder) read(v reflect.Value, form, s string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		return into(p, s, func(s string) (string, error) { return d.text(s, form) })
	case *bool:
		return into(p, s, parseBool)
	case *int:
		return into(p, s, parseInt)
	case *float64:
		return into(p, s, parseFloat)
	case *time.Duration:
		return into(p, s, parseDuration)
	case *time.Time:
		return into(p, s, func(s string) (time.Time, error) { return parseDay(s, form == "lastday") })
	case *Size:
		return into(p, s, parseSize)
	case *StopAfter:
		return into(p, s, parseStopAfter)
	case *enterprise.Number:
		return into(p, s, parseNumber)
	case *netip.Prefix:
		return into(p, s, parseNetwork)
	case **url.URL:
		return into(p, s, parseURL)
	case *Listeners: // a default; a file's are decoded
		*p = Listeners{{Name: s, Address: s}}
		return nil
	case *Secret:
		if s == "" {
			return errors.New("is empty; to say nothing, leave the key out")
		}
		*p = Secret(s)
		return nil
	}
	words := v.Interface().(worded).words()
	if slices.Contains(words, s) {
		v.SetString(s)
		return nil
	}
	return fmt.Errorf("is unknown: %sallowed are %s", didYouMean(s, words), strings.Join(words, ", "))
}

// within holds a number, a size or a duration to the bounds that its field's tag gives.
func (d *decoder) within(v reflect.Value, tag reflect.StructTag) error {
	var expected []string
	broken := false
	for _, bound := range []struct {
		key, words string
		breaks     func(value, limit float64) bool
	}{
		{"least", "at least ", func(value, limit float64) bool { return value < limit }},
		{"above", "more than ", func(value, limit float64) bool { return value <= limit }},
		{"most", "at most ", func(value, limit float64) bool { return value > limit }},
	} {
		text, given := tag.Lookup(bound.key)
		if !given {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := d.read(limit, "", text); err != nil {
			panic("config: a bound in a tag: " + text + " " + err.Error())
		}
		expected = append(expected, bound.words+text)
		float := reflect.TypeFor[float64]()
		broken = broken || bound.breaks(v.Convert(float).Float(), limit.Convert(float).Float())
	}
	if broken {
		return errors.New("has to be " + strings.Join(expected, " and "))
	}
	return nil
}

func into[T any](p *T, s string, parse func(string) (T, error)) error {
	value, err := parse(s)
	if err == nil {
		*p = value
	}
	return err
}

// text reads a string in the form that the tag of its field says.
func (d *decoder) text(s, form string) (string, error) {
	if s == "" || strings.TrimSpace(s) != s {
		return "", errors.New("is empty or has blanks at its ends; to say nothing, leave the key out")
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return "", errors.New("has a line break or another control character in it")
		}
	}
	switch form {
	case "file":
		path := d.path(s)
		d.files = append(d.files, path)
		return path, nil
	case "output":
		if s == "stdout" || s == "stderr" {
			return s, nil
		}
		return d.path(s), nil
	case "path": // written to, not read: its content is not the configuration's
		return d.path(s), nil
	case "url":
		u, err := parseURL(s)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(s, "/") {
			return s, nil // an audience is compared letter by letter
		}
		return u.String(), nil
	}
	if parse, ok := forms[form]; ok {
		return parse(s)
	}
	return s, nil
}

// forms of texts that need no more than the text.
var forms = map[string]func(string) (string, error){
	"name": parseName, "hostpattern": parseHostPattern, "origin": parseOrigin, "fingerprint": parseFingerprint,
	"pattern": parsePattern, "destination": parseDestination,
	// RFC 6749, section 3.3: printable ASCII but for blank, quote and backslash.
	"scope":   parsed(`^[!#-\[\]-~]+$`, "is no scope: one per item, without blanks, quotes and backslashes"),
	"version": parsed(`^[0-9]+(\.[0-9]+)*$`, `is no version: write it as "3" or "2.1"`),
}

// path makes a path absolute: it begins where the configuration lies.
func (d *decoder) path(s string) string {
	if filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(d.dir, s)
}

// action is a word of the one list that is a single Go value.
type action string

func (action) words() []string { return actionWords() }

func (d *decoder) actions(at string, n *node, set *ebox.Actions) {
	all := strings.Join(actionWords(), ", ")
	switch {
	case n.Kind != yaml.SequenceNode:
		d.failAt(n, at, "a list is expected: write [list, open], with actions among %s", all)
		return
	case len(n.Content) == 0:
		d.failAt(n, at, "an empty list allows nothing: leave the key out for all of %s", all)
	}
	var list []action
	d.list(at, n, reflect.ValueOf(&list).Elem(), "")
	*set = 0
	for _, word := range list {
		if a, known := ebox.ParseAction(string(word)); known {
			*set = set.With(a)
		}
	}
}

func actionWords() []string {
	words := make([]string, 0, ebox.Mandates)
	for a := ebox.List; a <= ebox.Mandates; a++ {
		words = append(words, a.String())
	}
	return words
}

var (
	// variables are ${NAME}, also without its brace, and the $${ that stands for a literal ${.
	variables    = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// bareVariable is what a shell would take for a variable: $NAME, of capital letters.
	bareVariable = regexp.MustCompile(`(?:^|[^$])\$([A-Z_][A-Z0-9_]+)`)
)

// expand replaces every ${NAME} by the environment's value; $${ stands for a
// literal ${. What is inserted is text and is not looked at again. An error names
// every variable that is missing and never a value.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var missing, wrong []string
	expanded := variables.ReplaceAllStringFunc(s, func(found string) string {
		if found == "$${" {
			return "${"
		}
		name, closed := strings.CutSuffix(strings.TrimPrefix(found, "${"), "}")
		value, ok := lookup(name)
		switch {
		case !closed:
			wrong = append(wrong, "${ without its }: write ${NAME} for a variable, $${ for the characters themselves")
		case !variableName.MatchString(name):
			wrong = append(wrong, fmt.Sprintf("${%s} names no environment variable: letters, digits and \"_\" are allowed, no "+
				"defaults or other operators", problem.Clip(name)))
		case !ok:
			missing = append(missing, name)
		}
		return value
	})
	switch len(missing) {
	case 0:
	case 1:
		wrong = append(wrong, "the environment variable "+missing[0]+" is not set")
	default:
		wrong = append(wrong, "the environment variables "+strings.Join(missing, ", ")+" are not set")
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return expanded, nil
}
