// Inside the package: the reference is made of what each type can be in the file, which only the package knows.

package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/testkit"
)

// docs/configuration.md is generated here from the types and their comments, so that
// it cannot say what the program does not do. Like the schema, it is written by
// go test ./internal/config -run Schema -update.
func TestReferenceFollowsTheSchema(t *testing.T) {
	const path = "../../docs/configuration.md"
	head, err := os.ReadFile("testdata/reference.head.md")
	testkit.Must(t, err)
	r := reference{generator: newGenerator(t), at: make(map[reflect.Type]string), examples: examples(t)}
	r.Write(head)
	r.walk("", reflect.TypeFor[Config]())
	for path := range r.examples {
		t.Errorf("there is an example of %s, which has no section", path)
	}
	writePresets(&r.Buffer)
	want := r.Bytes()
	if *update {
		testkit.Must(t, os.WriteFile(path, want, 0o644))
	}
	got, err := os.ReadFile(path)
	testkit.Must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run go test ./internal/config -run Schema -update\n(-types +file)\n%s", path,
			cmp.Diff(string(want), string(got)))
	}
}

// reference writes the page: a section for each struct of the configuration.
type reference struct {
	bytes.Buffer
	*generator
	at       map[reflect.Type]string // where a struct has its section
	examples map[string]string
}

// examples are the sections of a good file, by their names.
func examples(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/examples.good.yaml")
	testkit.Must(t, err)
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

// walk writes the section of a struct and then those of its members.
func (r *reference) walk(path string, typ reflect.Type) {
	r.at[typ] = path
	var rows, contents strings.Builder
	type member struct {
		path string
		typ  reflect.Type
	}
	var members []member
	for _, k := range r.keys(typ) {
		below := strings.TrimPrefix(path+"."+k.key, ".")
		about, standard := take(k.comment, k.Name)
		fmt.Fprintf(&contents, "- [`%s`](#%s): %s\n", k.key, below, cell(about))
		if typ == reflect.TypeFor[CacheRule]() {
			standard = "as in the route's cache"
		}
		if k.required {
			standard = "required"
		}
		kind, inner := valueOfKey(k)
		anchor := "<a id=\"" + below + "\"></a>"
		if inner != nil {
			at, known := r.at[inner]
			if !known {
				at, anchor = below, ""
				r.at[inner] = below
				members = append(members, member{below, inner})
			}
			kind = strings.Replace(kind, "object", "[object](#"+at+")", 1)
		}
		fmt.Fprintf(&rows, "| %s`%s` | %s | %s | %s |\n", anchor, k.key, cell(kind), cell(standard), cell(about))
	}
	switch level := "##"; {
	case path == "":
		fmt.Fprintf(r, "\n## Contents\n\n%s\n## Top level\n", &contents)
	default:
		if strings.Contains(path, ".") {
			level = "###"
		}
		fmt.Fprintf(r, "\n<a id=\"%s\"></a>\n\n%s `%s`\n\n%s\n", path, level, path, r.comments[typ.Name()])
	}
	fmt.Fprintf(r, "\n| key | value | default | meaning |\n|---|---|---|---|\n%s", &rows)
	if e, ok := r.examples[path]; ok {
		fmt.Fprintf(r, "\n```yaml\n%s```\n", e)
		delete(r.examples, path)
	}
	for _, m := range members {
		r.walk(m.path, m.typ)
	}
}

// take takes the default out of a comment, and the field's name off its beginning. A danger stands at the end.
func take(text, field string) (about, standard string) {
	if rest, ok := strings.CutPrefix(text, field+" "); ok {
		text = strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are ")
	}
	var kept []string
	danger := ""
	for _, s := range sentences(text) {
		if said, ok := strings.CutPrefix(s, "Default"); ok {
			standard = strings.TrimSuffix(strings.TrimLeft(said, ": "), ".")
		} else if said, ok := strings.CutPrefix(s, "Danger: "); ok {
			danger = " **⚠ " + said + "**"
		} else {
			kept = append(kept, s)
		}
	}
	about = strings.Join(kept, " ") + danger
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

// valueOfKey says in the reader's words what a key's value looks like, as the decoder reads it, and gives the
// section that it is or has; nil if there is none.
func valueOfKey(k key) (kind string, section reflect.Type) {
	kind, section = kindOf(k.Type)
	switch k.form {
	case "output":
		kind = "path, `stdout` or `stderr`"
	case "file", "path":
		kind = strings.Replace(kind, "text", "path", 1)
	case "url":
		kind = "URL"
	case "origin":
		kind = "list of origin"
	case "hostpattern":
		kind = "list of host"
	case "all":
		kind = "`all` or " + kind
	}
	return kind, section
}

func kindOf(t reflect.Type) (kind string, section reflect.Type) {
	if kind, _ := valueOf(t); kind != "" {
		return kind, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Slice:
		kind, section = kindOf(t.Elem())
		return "list of " + kind, section
	case reflect.Map:
		kind, section = kindOf(t.Elem())
		return "by name, " + kind, section
	}
	return "object", t
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
