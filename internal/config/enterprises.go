package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/files"
)

// enterpriseTable gathers the enterprises of the configuration and its files.
type enterpriseTable struct {
	k     *check // of the configuration
	list  []Enterprise
	first map[enterprise.Number]origin
}

// origin is where an enterprise was first listed.
type origin struct {
	src  *source
	line int
}

// enterprises reads the enterprise and suspended files and puts everything into
// the tenancy.
func (k *check) enterprises(sums fileSums) {
	before, in := len(k.m.list), &k.c.Tenancy
	t := &enterpriseTable{k: k, first: make(map[enterprise.Number]origin)}
	t.decoded(k.decoder, "tenancy.enterprises", in.Enterprises)
	read := func(at string, paths []string, use func(at string, src *source)) {
		for i, path := range paths {
			if path == "" {
				continue // reported
			}
			if content, err := sums.read(path); err != nil {
				k.fail(item(at, i), "the file cannot be read: %s", files.Bare(err))
			} else {
				use(item(at, i), textOf(path, content, k.m))
			}
		}
	}
	read("tenancy.enterpriseFiles", in.EnterpriseFiles, func(at string, src *source) {
		if !t.table(src) {
			k.fail(at, "%s is neither .csv nor .yaml", quote(filepath.Base(src.name)))
		}
	})
	in.Enterprises = t.list
	read("tenancy.suspendedFiles", in.SuspendedFiles, func(_ string, src *source) {
		in.Suspended = append(in.Suspended, suspended(src, k.m)...)
	})
	if len(k.m.list) == before { // else what is missing may only be unreadable
		k.listed = t.first
	}
}

// table reads a file in the form that its extension says; false if that is none.
func (t *enterpriseTable) table(src *source) bool {
	switch strings.ToLower(filepath.Ext(src.name)) {
	case ".csv":
		t.csv(src)
	case ".yaml", ".yml":
		t.yaml(src)
	default:
		return false
	}
	return true
}

// add takes an enterprise in, unless it is there already.
func (t *enterpriseTable) add(e *Enterprise, from origin) (message string) {
	if was, twice := t.first[e.Number]; twice {
		where := "line " + strconv.Itoa(was.line)
		if was.src != from.src {
			where = was.src.name + ":" + strconv.Itoa(was.line)
		}
		return fmt.Sprintf("%s is listed twice, first on %s", e.Number, where)
	}
	t.first[e.Number] = from
	t.list = append(t.list, *e)
	return ""
}

// wrong says what is wrong with an enterprise as a whole, and with which part.
func (t *enterpriseTable) wrong(e *Enterprise) (part, message string) {
	if message := t.k.unknownClient(e.Client); message != "" {
		return "client", message
	}
	for _, name := range e.Routes {
		if message := t.k.unknownRoute(name); message != "" {
			return "routes", message
		}
	}
	if !e.From.IsZero() && !e.Until.IsZero() && !e.From.Before(e.Until) {
		return "until", "until is before from"
	}
	return "", ""
}

// decoded takes in enterprises that the decoder read, from the configuration or
// from a YAML file.
func (t *enterpriseTable) decoded(d *decoder, at string, list []Enterprise) {
	if len(list) == 0 {
		return
	}
	nodes := d.at(at).Content
	t.list = slices.Grow(t.list, len(list))
	for i := range list {
		e, item := &list[i], item(at, i)
		if e.Number == 0 {
			continue // reported
		}
		if part, message := t.wrong(e); message != "" {
			d.fail(item+"."+part, "%s", message)
		}
		e.Rate.check(t.k, d, item+".rate", true)
		if message := t.add(e, origin{d.src, nodes[i].Line}); message != "" {
			d.fail(item+".number", "%s", message)
		}
	}
}

// yaml reads a YAML file: a list like tenancy.enterprises, or a mapping with that list
// under enterprises.
func (t *enterpriseTable) yaml(src *source) {
	d := newDecoder(src, t.k.m, t.k.dir, t.k.lookup)
	root := d.parse()
	if root == nil {
		return
	}
	var file struct {
		Enterprises []Enterprise `yaml:"enterprises" jsonschema:"required"`
	}
	at := "enterprises"
	if root.Kind == yaml.MappingNode {
		d.structure("", root, reflect.ValueOf(&file).Elem(), "")
	} else {
		at = ""
		d.decode(at, root, reflect.ValueOf(&file.Enterprises).Elem(), "")
	}
	t.decoded(d, at, file.Enterprises)
}

// EnterprisesIn reads a file of enterprises that need not be in the configuration
// yet: CSV or YAML as in tenancy.enterpriseFiles, by its extension, or else plain
// CBE numbers, one a line, with "#" before a comment. A client that a row names has
// to be one of the configuration's. An enterprise that the configuration lists is
// given with the client that it has there, unless its row names another.
//
// The error is an Errors with every mistake, or that of reading.
func (c *Config) EnterprisesIn(path string) ([]Enterprise, error) {
	content, err := files.Read(path, files.Most)
	if err != nil {
		return nil, fmt.Errorf("reading the enterprises: %w", err)
	}
	m := &mistakes{}
	src := textOf(path, content, m)
	d := newDecoder(src, m, filepath.Dir(path), func(string) (string, bool) { return "", false })
	k := &check{decoder: d, c: c}
	k.references()
	t := &enterpriseTable{k: k, first: make(map[enterprise.Number]origin)}
	if !t.table(src) {
		for _, n := range suspended(src, m) {
			t.add(&Enterprise{Number: n}, origin{src: src}) // one that stands twice is taken once
		}
	}
	if err := m.errors(); err != nil {
		return nil, err
	}
	clients := make(map[enterprise.Number]string)
	for _, e := range c.Tenancy.Enterprises {
		clients[e.Number] = e.Client
	}
	for i := range t.list {
		e := &t.list[i]
		e.Client = cmp.Or(e.Client, clients[e.Number], c.Tenancy.DefaultClient)
	}
	return t.list, nil
}

// LoadSuspended reads a suspended file: CBE numbers, one a line, "#" begins a
// comment. The numbers that could be read are returned even if the error, an
// Errors, says that others could not: a slip in one line must not set another
// enterprise free.
func LoadSuspended(path string) ([]enterprise.Number, error) {
	content, err := files.Read(path, files.Most)
	if err != nil {
		return nil, fmt.Errorf("reading suspended enterprises: %w", err)
	}
	m := &mistakes{}
	numbers := suspended(textOf(path, content, m), m)
	return numbers, m.errors()
}

// suspended reads the numbers that can be read; a repeated one does no harm.
func suspended(src *source, m *mistakes) []enterprise.Number {
	var numbers []enterprise.Number
	line := 0
	for text := range strings.Lines(string(src.content)) {
		line++
		entry, _, _ := strings.Cut(text, "#")
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		n, err := parseNumber(entry)
		if err != nil {
			column := utf8.RuneCountInString(text[:strings.Index(text, entry)]) + 1
			m.add(src, line, column, "", quote(entry)+" "+err.Error()+" (one a line, # begins a comment)")
			continue
		}
		numbers = append(numbers, n)
	}
	return numbers
}
