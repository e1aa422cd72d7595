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
	r := reference{generator: newGenerator(t), at: make(map[reflect.Type]string), dangers: dangers(),
		examples: examples(t)}
	r.Write(head)
	r.walk("", reflect.TypeFor[Config]())
	for path := range r.dangers {
		t.Errorf("a danger is told of %s, which is no key: mend dangers()", path)
	}
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
	dangers  map[string]string       // those not met yet
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
		if danger := r.dangers[below]; danger != "" {
			about += " **⚠ " + danger + "**"
			delete(r.dangers, below)
		}
		kind, anchor := kindOf(k), "<a id=\""+below+"\"></a>"
		if inner := objectOf(k.Type); inner != nil {
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

// take takes the default out of a comment, and the field's name off its beginning.
func take(text, field string) (about, standard string) {
	if rest, ok := strings.CutPrefix(text, field+" "); ok {
		text = strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are ")
	}
	var kept []string
	for _, s := range sentences(text) {
		if said, ok := strings.CutPrefix(s, "Default"); ok {
			standard = strings.TrimSuffix(strings.TrimLeft(said, ": "), ".")
		} else {
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

// kindOf says in the reader's words what a field's value looks like, as the decoder reads it.
func kindOf(k key) string {
	kind := kindOfType(k.Type)
	switch k.form {
	case "output":
		return "path, `stdout` or `stderr`"
	case "file", "path":
		return strings.Replace(kind, "text", "path", 1)
	case "url":
		return "URL"
	case "origin":
		return "list of origin"
	case "hostpattern":
		return "list of host"
	case "all":
		return "`all` or " + kind
	}
	return kind
}

func kindOfType(t reflect.Type) string {
	if kind, _ := valueOf(t); kind != "" {
		return kind
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOfType(t.Elem())
	case reflect.Slice:
		return "list of " + kindOfType(t.Elem())
	case reflect.Map:
		return "by name, " + kindOfType(t.Elem())
	}
	return "object"
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

// dangers are the keys that give up a check, or can do harm, and what then.
func dangers() map[string]string {
	return map[string]string{
		"server.listen.open":            "Everybody who reaches the address reads and changes every e-Box.",
		"server.allowedOrigins":         "A page of that origin acts with the reach of whoever visits it.",
		"server.trustedProxies":         "Whoever is in such a network can pretend to be any caller.",
		"oauth.allowHttp":               "Whoever listens on the way gets tokens.",
		"oauth.allowPrivateNetworks":    "A name that resolves inside the company is connected to.",
		"tenancy.mode":                  "`any` leaves it to the upstream for whom calls are allowed.",
		"callers.own":                   "The caller reads the office's own e-Box, and makes citizen mandates in its name.",
		"registry.allowedHosts":         "Every host here receives tokens.",
		"registry.allowHttp":            "Whoever listens on the way gets tokens and documents.",
		"registry.allowPrivateNetworks": "A registry that was tampered with could lead calls into the company's network.",
		"audit.stopAfter":               "`never` lets reads and writes go on of which nothing is proven.",
		"tracing.allowHttp":             "Whoever is on the way reads the collector's credentials.",
		"routes.callerCredentials":      "What a caller sends as its own credentials reaches the upstream.",
		"routes.scopes":                 "A scope too many is one that the receiver of the token could use elsewhere.",
		"routes.allowHttp":              "Whoever listens on the way gets tokens and documents.",
		"routes.allowPrivateNetworks":   "A name that resolves inside the company is connected to.",
		"routes.cache.shared":           "`always` gives one enterprise's answer to another.",
		"routes.cache.staleIfError":     "A state that is no longer true may be shown.",
	}
}
