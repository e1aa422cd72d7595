// Inside the package: the schema is made of what each type can be in the file, which only the package knows.

package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/testkit"
)

var update = flag.Bool("update", false, "write the schema, the reference and the expected errors anew")

// The schema is generated here and not in the package, so that the binary does
// not carry a generator.
func TestSchemaIsWhatTheTypesSay(t *testing.T) {
	want := generate(t)
	if *update {
		for _, path := range []string{"config.schema.json", "../../config.schema.json"} {
			testkit.Must(t, os.WriteFile(path, want, 0o644))
		}
	}
	embedded := want
	if !*update { // the embedded one is as old as the test binary
		embedded = Schema()
	}
	top, err := os.ReadFile("../../config.schema.json")
	testkit.Must(t, err)
	for name, got := range map[string][]byte{"the embedded schema": embedded, "config.schema.json": top} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go test ./internal/config -update\n(-types +file)\n%s", name,
				cmp.Diff(string(want), string(got)))
		}
	}
}

func generate(t *testing.T) []byte {
	t.Helper()
	g := newGenerator(t)
	g.schema(reflect.TypeFor[Listener]()) // which Listeners refers to
	s := g.object(reflect.TypeFor[Config]())
	s.Version, s.Definitions, s.Title = jsonschema.Version, g.definitions, "config.yaml of the e-Box gateway"
	raw, err := json.MarshalIndent(s, "", "  ")
	testkit.Must(t, err)
	return append(raw, '\n')
}

// generator makes the schema and the reference of the types as the decoder sees them, and of their
// comments: neither can say what the program does not do.
type generator struct {
	t           *testing.T
	decoder     *decoder
	comments    map[string]string // of types and fields, in one line each, by "Type" and "Type.Field"
	definitions jsonschema.Definitions
}

func newGenerator(t *testing.T) *generator {
	t.Helper()
	var r jsonschema.Reflector
	for _, dir := range []string{"./", "../ebox"} { // ReadRule is the route's and ebox's own
		testkit.Must(t, r.AddGoComments("internal/config", dir, jsonschema.WithFullComment()))
	}
	g := &generator{t: t, decoder: newDecoder(nil, nil, "", nil), comments: make(map[string]string),
		definitions: make(jsonschema.Definitions)}
	for name, text := range r.CommentMap {
		pkg, name, _ := strings.Cut(name, ".")
		if !strings.HasSuffix(pkg, "ebox") || strings.HasPrefix(name, "ReadRule") {
			g.comments[name] = strings.Join(strings.Fields(text), " ")
		}
	}
	return g
}

// key is a key of a section.
type key struct {
	reflect.StructField
	key, comment string
	form         string // of the config tag
	required     bool
}

// keys are those of a section, in the order of its fields.
func (g *generator) keys(section reflect.Type) (keys []key) {
	shape := g.decoder.shapeOf(section)
	for _, name := range shape.names {
		f := shape.fields[name]
		owner := section
		if n := len(f.Index) - 1; n > 0 { // it is of an embedded struct
			owner = section.FieldByIndex(f.Index[:n]).Type
		}
		comment := g.comments[owner.Name()+"."+f.Name]
		if comment == "" {
			g.t.Errorf("%s.%s has no comment: schema and reference are made of them", owner.Name(), f.Name)
		}
		if standard, given := f.Tag.Lookup("default"); given {
			comment += " Default " + standard + "."
		}
		form, _, _ := strings.Cut(f.Tag.Get("config"), ",")
		keys = append(keys, key{f, name, comment, form, f.Tag.Get("jsonschema") == "required"})
	}
	return keys
}

// object is the schema of a section.
func (g *generator) object(section reflect.Type) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Description: g.comments[section.Name()],
		Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, k := range g.keys(section) {
		property := g.schema(k.Type)
		switch {
		case k.form == "all":
			property = either(property, &jsonschema.Schema{Const: "all"})
		case section == reflect.TypeFor[Route]() && k.key == "upstream":
			reference := &jsonschema.Schema{Type: "object", Required: []string{"registry"},
				Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
			reference.Properties.Set("registry", &jsonschema.Schema{Const: true})
			property = either(property, reference)
		case section == reflect.TypeFor[Config]() && !k.required: // may be all commented out
			property = either(property, &jsonschema.Schema{Type: "null"})
		}
		property.Description = k.key + strings.TrimPrefix(k.comment, k.Name) // in the file a field goes by its key
		s.Properties.Set(k.key, property)
		if k.required {
			s.Required = append(s.Required, k.key)
		}
	}
	return s
}

func either(schemas ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: schemas}
}

// schema is that of a value. Sections are defined once, by the names of their types.
func (g *generator) schema(t reflect.Type) *jsonschema.Schema {
	if _, schema := valueOf(t); schema != nil {
		return schema
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem())
	case reflect.Slice:
		return &jsonschema.Schema{Type: "array", Items: g.schema(t.Elem())}
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: g.schema(t.Elem())}
	}
	if g.definitions[t.Name()] == nil {
		g.definitions[t.Name()] = g.object(t)
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
}

// valueOf says of a type that is one value to the reader of the file what such a value looks
// like, in the reference's words and in the schema.
func valueOf(typ reflect.Type) (kind string, schema *jsonschema.Schema) {
	or := func(s *jsonschema.Schema) *jsonschema.Schema { // a variable may stand anywhere
		return either(s, &jsonschema.Schema{Type: "string", Pattern: `\$\{`})
	}
	text := func(pattern string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern + `|\$\{`}
	}
	enum := func(words []string) *jsonschema.Schema {
		s := &jsonschema.Schema{}
		for _, w := range words {
			s.Enum = append(s.Enum, w)
			if w == "true" || w == "false" {
				s.Enum = append(s.Enum, w == "true")
			}
		}
		return or(s)
	}
	scalar := &jsonschema.Schema{Extras: map[string]any{"type": []string{"string", "number"}}}
	const duration = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`
	if own, ok := reflect.Zero(typ).Interface().(worded); ok {
		return "`" + strings.Join(own.words(), "`, `") + "`", enum(own.words())
	}
	switch typ {
	case reflect.TypeFor[time.Duration]():
		return "duration", text(duration)
	case reflect.TypeFor[StopAfter]():
		return "duration or `never`", text(duration + `|^never$`)
	case reflect.TypeFor[Size]():
		return "size", either(&jsonschema.Schema{Type: "integer", Minimum: "1"},
			text(`^[0-9.]+ ?([kKMG]i?B|B)?$|^unlimited$`))
	case reflect.TypeFor[enterprise.Number]():
		return "CBE number", either(&jsonschema.Schema{Type: "integer"}, text(`^(BE ?)?[0-9][0-9. -]{8,12}$`))
	case reflect.TypeFor[netip.Prefix]():
		return "network", text(`^[0-9a-fA-F:.]+(/[0-9]+)?$`)
	case reflect.TypeFor[url.URL]():
		return "URL", text(`^https?://`)
	case reflect.TypeFor[time.Time]():
		return "day", text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	case reflect.TypeFor[ebox.Actions]():
		return "list of `" + strings.Join(actionWords(), "`, `") + "`",
			&jsonschema.Schema{Type: "array", Items: enum(actionWords()), UniqueItems: true}
	case reflect.TypeFor[Secret]():
		return "secret", scalar
	case reflect.TypeFor[string]():
		return "text", scalar
	case reflect.TypeFor[bool]():
		return "`true` or `false`", or(&jsonschema.Schema{Type: "boolean"})
	case reflect.TypeFor[int]():
		return "whole number", or(&jsonschema.Schema{Type: "integer", Minimum: "0"})
	case reflect.TypeFor[float64]():
		return "number", or(&jsonschema.Schema{Type: "number", Minimum: "0"})
	case reflect.TypeFor[Listeners]():
		one := []*jsonschema.Schema{{Type: "string"}, {Ref: "#/$defs/Listener"}}
		list := &jsonschema.Schema{Type: "array", Items: either(one...)}
		return "", either(append([]*jsonschema.Schema{list}, one...)...)
	}
	return "", nil
}
