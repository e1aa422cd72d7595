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
	r := &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		ExpandedStruct:             true,
		Anonymous:                  true,
	}
	r.CommentMap = make(map[string]string)
	comments := goComments(t)
	for name, text := range comments {
		for _, pkg := range []string{"config.", "ebox."} {
			r.CommentMap[modulePath+pkg+name] = text
		}
	}
	// In the file a field goes by its key, not by its name in Go.
	eachField(reflect.TypeFor[Config](), func(owner reflect.Type, f reflect.StructField) {
		key := owner.Name() + "." + f.Name
		if rest, ok := strings.CutPrefix(comments[key], f.Name); ok {
			r.CommentMap[owner.PkgPath()+"."+key] = f.Tag.Get("yaml") + rest
		}
	})
	r.Mapper = func(typ reflect.Type) *jsonschema.Schema {
		_, schema := valueOf(typ)
		return schema
	}
	s := r.Reflect(&Config{})
	s.Title = "config.yaml of the e-Box gateway"
	s.ID = ""

	// What the types alone do not say.
	r.ExpandedStruct = false
	for name, definition := range r.Reflect(&Listener{}).Definitions {
		s.Definitions[name] = definition
	}
	alternative(t, s.Definitions["Route"], "upstream", &jsonschema.Schema{
		Type: "object", Required: []string{"registry"}, AdditionalProperties: jsonschema.FalseSchema,
		Properties: jsonschema.NewProperties(),
	})
	upstream, _ := s.Definitions["Route"].Properties.Get("upstream")
	upstream.AnyOf[1].Properties.Set("registry", &jsonschema.Schema{Const: true})
	alternative(t, s.Definitions["Caller"], "enterprises", &jsonschema.Schema{Const: "all"})
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		if pair.Key != "environment" { // a section may be all commented out
			alternative(t, s, pair.Key, &jsonschema.Schema{Type: "null"})
		}
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	testkit.Must(t, err)
	return append(raw, '\n')
}

// valueOf says of a type that is one value to the reader of the file what such a value looks
// like, in the reference's words and in the schema.
func valueOf(typ reflect.Type) (kind string, schema *jsonschema.Schema) {
	or := func(s *jsonschema.Schema) *jsonschema.Schema { // a variable may stand anywhere
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Pattern: `\$\{`}}}
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
		return "size", &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "1"},
			text(`^[0-9.]+ ?([kKMG]i?B|B)?$|^unlimited$`)}}
	case reflect.TypeFor[enterprise.Number]():
		return "CBE number", &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer"},
			text(`^(BE ?)?[0-9][0-9. -]{8,12}$`)}}
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
		list := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{AnyOf: one}}
		return "", &jsonschema.Schema{AnyOf: append([]*jsonschema.Schema{list}, one...)}
	}
	return "", nil
}

// alternative lets a property have another form as well.
func alternative(t *testing.T, s *jsonschema.Schema, property string, other *jsonschema.Schema) {
	t.Helper()
	own, ok := s.Properties.Get(property)
	if !ok {
		t.Fatalf("no property %s", property)
	}
	description := own.Description
	bare := *own
	bare.Description = ""
	s.Properties.Set(property, &jsonschema.Schema{Description: description, AnyOf: []*jsonschema.Schema{&bare, other}})
}
