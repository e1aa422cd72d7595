package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

// docs/configuration.md is generated here from the types and their comments, so that
// it cannot say what the program does not do. Like the schema, it is written by
// go test ./internal/config -run Schema -update.
func TestReferenceFollowsTheSchema(t *testing.T) {
	const path = "../../docs/configuration.md"
	want := newReference(t).write()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run go test ./internal/config -run Schema -update\n(-types +file)\n%s", path,
			cmp.Diff(string(want), string(got)))
	}
}

// reference walks the types of the configuration, a section for each struct.
type reference struct {
	t        *testing.T
	comments map[string]string // see goComments
	sections []section
	at       map[reflect.Type]string // where a struct has its section
	dangers  map[string]string       // those not met yet
	examples map[string]string
}

// section is one struct.
type section struct {
	path, about string
	keys        []key
}

// key is one key of the file.
type key struct {
	path, name, kind, standard, about, danger string
}

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{t: t, comments: goComments(t), at: make(map[reflect.Type]string), dangers: dangers(),
		examples: examples(t)}
	r.walk("", reflect.TypeFor[Config]())
	for path := range r.dangers {
		t.Errorf("a danger is told of %s, which is no key: mend dangers()", path)
	}
	return r
}

// goComments reads the comments of types and fields, in one line each, by "Type" and "Type.Field".
func goComments(t *testing.T) map[string]string {
	t.Helper()
	var r jsonschema.Reflector
	for _, dir := range []string{"./", "../ebox"} { // ReadRule is the route's and ebox's own
		if err := r.AddGoComments(packagePath, dir, jsonschema.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	comments := make(map[string]string)
	for name, text := range r.CommentMap {
		pkg, name, _ := strings.Cut(strings.TrimPrefix(name, modulePath), ".")
		if pkg == "config" || strings.HasPrefix(name, "ReadRule") {
			comments[name] = strings.Join(strings.Fields(text), " ")
		}
	}
	eachField(reflect.TypeFor[Config](), func(owner reflect.Type, f reflect.StructField) {
		if text, given := f.Tag.Lookup("default"); given {
			comments[owner.Name()+"."+f.Name] += " Default " + text + "."
		}
	})
	return comments
}

// eachField visits the fields of a struct and of those that it holds, once each.
func eachField(t reflect.Type, visit func(owner reflect.Type, f reflect.StructField)) {
	seen := make(map[reflect.Type]bool)
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || !strings.HasPrefix(t.PkgPath(), modulePath) || seen[t] {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			visit(t, t.Field(i))
			walk(t.Field(i).Type)
		}
	}
	walk(t)
}

const (
	modulePath  = "ebox-gateway/internal/"
	packagePath = modulePath + "config"
)

// examples are the sections of a good file, by their names.
func examples(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/examples.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "environment: production\n")
	all := make(map[string]string)
	name := ""
	for line := range strings.Lines(rest) {
		if before, _, found := strings.Cut(line, ":"); found && line[0] != ' ' {
			name = before
		}
		all[name] += line
	}
	return all
}

// walk makes the section of a struct and then those of its members.
func (r *reference) walk(path string, typ reflect.Type) {
	r.at[typ] = path
	s := section{path: path, about: r.comments[typ.Name()]}
	type member struct {
		path string
		typ  reflect.Type
	}
	var members []member
	place := len(r.sections)
	r.sections = append(r.sections, s)
	for _, f := range reflect.VisibleFields(typ) {
		name := f.Tag.Get("yaml")
		if !f.IsExported() || name == "-" || name == "" {
			continue
		}
		owner := typ
		if n := len(f.Index) - 1; n > 0 { // it is of an embedded struct
			owner = typ.FieldByIndex(f.Index[:n]).Type
		}
		k := key{path: strings.TrimPrefix(path+"."+name, "."), name: name}
		k.danger = r.dangers[k.path]
		delete(r.dangers, k.path)
		text := r.comments[owner.Name()+"."+f.Name]
		if text == "" {
			r.t.Errorf("%s.%s has no comment: the reference is made of them", owner.Name(), f.Name)
		}
		k.about, k.standard = r.take(text, f.Name, name)
		if typ == reflect.TypeFor[CacheRule]() {
			k.standard = "as in the route's cache"
		}
		if strings.Contains(f.Tag.Get("jsonschema"), "required") {
			k.standard = "required"
		}
		inner := objectOf(f.Type)
		k.kind = kindOf(f.Type)
		switch form, _, _ := strings.Cut(f.Tag.Get("config"), ","); form { // as the decoder reads it
		case "output":
			k.kind = "path, `stdout` or `stderr`"
		case "file", "path":
			k.kind = strings.Replace(k.kind, "text", "path", 1)
		case "url":
			k.kind = "URL"
		case "origin", "hostpattern":
			k.kind = "list of " + map[string]string{"origin": "origin", "hostpattern": "host"}[form]
		case "all":
			k.kind = "`all` or " + k.kind
		}
		if inner != nil {
			below := k.path
			if at, known := r.at[inner]; known {
				k.kind = strings.Replace(k.kind, "object", "[object](#"+at+")", 1)
			} else {
				r.at[inner] = below
				members = append(members, member{below, inner})
				k.kind = strings.Replace(k.kind, "object", "[object](#"+below+")", 1)
			}
		}
		s.keys = append(s.keys, k)
	}
	r.sections[place] = s
	for _, m := range members {
		r.walk(m.path, m.typ)
	}
}

// take takes the default out of a comment, and puts the key in the field's place.
func (r *reference) take(text, field, name string) (about, standard string) {
	if rest, ok := strings.CutPrefix(text, field+" "); ok {
		text = rest
		for _, verb := range []string{"is ", "are "} {
			text = strings.TrimPrefix(text, verb)
		}
	}
	var kept []string
	for _, s := range sentences(text) {
		said := strings.TrimSuffix(s, ".")
		switch {
		case strings.HasPrefix(said, "Default"):
			standard = strings.TrimLeft(strings.TrimPrefix(said, "Default"), ": ")
		case strings.HasPrefix(said, "defaults to "), strings.Contains(said, ", defaults to "):
			before, after, _ := strings.Cut(said, "defaults to ")
			standard = after
			if before = strings.Trim(before, ", "); before != "" {
				kept = append(kept, before+".")
			}
		default:
			kept = append(kept, s)
		}
	}
	about = strings.Join(kept, " ")
	if about != "" {
		about = strings.ToUpper(about[:1]) + about[1:]
	}
	return about, standard
}

// sentences parts a text behind full stops that a capital, a digit or a quotation
// mark follows.
func sentences(text string) (list []string) {
	for start, i := 0, 0; i < len(text); i++ {
		if text[i] != '.' || i+1 < len(text) && (text[i+1] != ' ' || i+2 < len(text) &&
			!strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\"", rune(text[i+2]))) {
			continue
		}
		list = append(list, strings.TrimSpace(text[start:i+1]))
		start = i + 1
	}
	return list
}

// objectOf is the struct that a field holds, at whatever depth; nil if it is a value
// to the reader of the file.
func objectOf(t reflect.Type) reflect.Type {
	if kind, _ := valueOf(t); kind != "" {
		return nil
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return objectOf(t.Elem())
}

// kindOf says in the reader's words what a value looks like.
func kindOf(t reflect.Type) string {
	if kind, _ := valueOf(t); kind != "" {
		return kind
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Slice:
		return "list of " + kindOf(t.Elem())
	case reflect.Map:
		return "by name, " + kindOf(t.Elem())
	}
	return "object"
}

// write gives the page.
func (r *reference) write() []byte {
	var b bytes.Buffer
	head, err := os.ReadFile("testdata/reference.head.md")
	if err != nil {
		r.t.Fatal(err)
	}
	b.Write(head)
	top := r.sections[0]
	b.WriteString("\n## Contents\n\n")
	for _, k := range top.keys {
		fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", k.name, k.path, cell(k.about))
	}
	b.WriteString("\n## Top level\n")
	r.table(&b, top)
	for _, s := range r.sections[1:] {
		level := "##"
		if strings.Contains(s.path, ".") {
			level = "###"
		}
		fmt.Fprintf(&b, "\n<a id=\"%s\"></a>\n\n%s `%s`\n\n%s\n", s.path, level, s.path, s.about)
		r.table(&b, s)
		if e, ok := r.examples[s.path]; ok {
			fmt.Fprintf(&b, "\n```yaml\n%s```\n", e)
			delete(r.examples, s.path)
		}
	}
	for path := range r.examples {
		r.t.Errorf("there is an example of %s, which has no section", path)
	}
	writePresets(&b)
	return b.Bytes()
}

func (r *reference) table(b *bytes.Buffer, s section) {
	b.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range s.keys {
		about := cell(k.about)
		if k.danger != "" {
			about += " **⚠ " + k.danger + "**"
		}
		anchor := ""
		if !slices.ContainsFunc(r.sections, func(s section) bool { return s.path == k.path }) {
			anchor = "<a id=\"" + k.path + "\"></a>"
		}
		fmt.Fprintf(b, "| %s`%s` | %s | %s | %s |\n", anchor, k.name, cell(k.kind), cell(k.standard), about)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// writePresets shows what each environment fills in.
func writePresets(b *bytes.Buffer) {
	b.WriteString("\n<a id=\"environments\"></a>\n\n## What the environments fill in\n\n" +
		"A route of yours with the name of one of these changes only what it says. `custom` fills in nothing.\n")
	for _, e := range Production.words() {
		if Environment(e) == Custom {
			continue
		}
		var c Config
		presetOf(Environment(e)).apply(&c)
		endpoint := "not public: give `oauth.tokenUrl`"
		if c.OAuth.TokenURL != "" {
			endpoint = "`" + c.OAuth.TokenURL + "`"
		}
		fmt.Fprintf(b, "\n### `%s`\n\n- Token endpoint and audience: %s\n", e, endpoint)
		if c.Registry.URL != nil {
			fmt.Fprintf(b, "- Provider Registry: `%s`\n", c.Registry.URL)
		}
		b.WriteString("\n| route | path | upstream | scopes, unless a rule says others |\n|---|---|---|---|\n")
		for _, route := range c.Routes {
			upstream := "the provider's base URL"
			if route.Upstream != nil {
				upstream = "`" + route.Upstream.String() + "`"
			}
			fmt.Fprintf(b, "| `%s` | `%s` | %s | `%s` |\n", route.Name, route.Path, upstream, strings.Join(route.Scopes, " "))
		}
		for _, a := range c.Absent {
			fmt.Fprintf(b, "\n`%s`: 404. %s\n", a.Path, a.Reason)
		}
	}
}
