package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// The schema is generated here and not in the package, so that the binary does
// not carry a generator.
func TestSchemaIsWhatTheTypesSay(t *testing.T) {
	want := generate(t)
	if *update {
		for _, path := range []string{"config.schema.json", "../../config.schema.json"} {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	embedded := want
	if !*update { // the embedded one is as old as the test binary
		embedded = Schema()
	}
	top, err := os.ReadFile("../../config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"the embedded schema": embedded, "config.schema.json": top} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go test ./internal/config -update\n(-types +file)\n%s", name,
				cmp.Diff(string(want), string(got)))
		}
	}
}

func TestSchemaAcceptsGoodFiles(t *testing.T) {
	schema := compile(t)
	for _, path := range append(glob(t, "testdata/*.good.yaml"), "../../config.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if err := schema.Validate(document(t, path)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSchemaRefusesWhatItCanSee(t *testing.T) {
	schema := compile(t)
	for _, name := range []string{"unknown_keys", "wrong_types", "environment_missing", "not_a_mapping", "numbers",
		"clients", "callers"} {
		t.Run(name, func(t *testing.T) {
			if err := schema.Validate(document(t, "testdata/"+name+".bad.yaml")); err == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func compile(t *testing.T) *validator.Schema {
	t.Helper()
	parsed, err := validator.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("config.schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// document reads YAML as an editor's validator sees it.
func document(t *testing.T, path string) any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &mistakes{}
	root := parseYAML(&source{name: path, content: content}, m)
	if root == nil {
		t.Fatal(m.errors())
	}
	return value(root)
}

func value(n *node) any {
	switch n.Kind {
	case yaml.AliasNode:
		return value(n.Alias)
	case yaml.MappingNode:
		object := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			object[n.Content[i].Value] = value(n.Content[i+1])
		}
		return object
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, child := range n.Content {
			list = append(list, value(child))
		}
		return list
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return v
		}
	}
	return n.Value
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
	for name, text := range goComments(t) {
		for _, pkg := range []string{"config.", "ebox."} {
			r.CommentMap[modulePath+pkg+name] = text
		}
	}
	// In the file a field goes by its key, not by its name in Go.
	renameFields(r.CommentMap, reflect.TypeFor[Config](), make(map[reflect.Type]bool))

	variable := &jsonschema.Schema{Type: "string", Pattern: `\$\{`}
	or := func(s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, variable}}
	}
	text := func(pattern string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern + `|\$\{`}
	}
	scalar := func() *jsonschema.Schema {
		return &jsonschema.Schema{Extras: map[string]any{"type": []string{"string", "number"}}}
	}
	r.Mapper = func(typ reflect.Type) *jsonschema.Schema {
		if own, ok := reflect.Zero(typ).Interface().(worded); ok {
			s := &jsonschema.Schema{}
			for _, w := range own.words() {
				s.Enum = append(s.Enum, w)
				if w == "true" || w == "false" {
					s.Enum = append(s.Enum, w == "true")
				}
			}
			return or(s)
		}
		switch typ {
		case reflect.TypeFor[time.Duration]():
			return text(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`)
		case reflect.TypeFor[StopAfter]():
			return text(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$|^never$`)
		case reflect.TypeFor[Size]():
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "1"},
				text(`^[0-9.]+ ?([kKMG]i?B|B)?$|^unlimited$`)}}
		case reflect.TypeFor[enterprise.Number]():
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer"}, text(`^(BE ?)?[0-9][0-9. -]{8,12}$`)}}
		case reflect.TypeFor[netip.Prefix]():
			return text(`^[0-9a-fA-F:.]+(/[0-9]+)?$`)
		case reflect.TypeFor[url.URL]():
			return text(`^https?://`)
		case reflect.TypeFor[time.Time]():
			return text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
		case reflect.TypeFor[ebox.Actions]():
			item := &jsonschema.Schema{}
			for _, w := range actionWords() {
				item.Enum = append(item.Enum, w)
			}
			return &jsonschema.Schema{Type: "array", Items: or(item), UniqueItems: true}
		case reflect.TypeFor[Secret](), reflect.TypeFor[string]():
			return scalar()
		case reflect.TypeFor[bool]():
			return or(&jsonschema.Schema{Type: "boolean"})
		case reflect.TypeFor[int]():
			return or(&jsonschema.Schema{Type: "integer", Minimum: "0"})
		case reflect.TypeFor[float64]():
			return or(&jsonschema.Schema{Type: "number", Minimum: "0"})
		case reflect.TypeFor[Listeners]():
			one := []*jsonschema.Schema{{Type: "string"}, {Ref: "#/$defs/Listener"}}
			list := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{AnyOf: one}}
			return &jsonschema.Schema{AnyOf: append([]*jsonschema.Schema{list}, one...)}
		}
		return nil
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
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
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

func renameFields(comments map[string]string, t reflect.Type, seen map[reflect.Type]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || !strings.HasPrefix(t.PkgPath(), modulePath) || seen[t] {
		return
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		key := t.PkgPath() + "." + t.Name() + "." + f.Name
		if rest, ok := strings.CutPrefix(comments[key], f.Name); ok {
			comments[key] = f.Tag.Get("yaml") + rest
		}
		renameFields(comments, f.Type, seen)
	}
}
