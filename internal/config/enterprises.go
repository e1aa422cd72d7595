package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/files"
)

// enterpriseTable gathers the enterprises of the configuration and its files.
type enterpriseTable struct {
	d     *decoder // of the configuration
	k     *check
	list  []Enterprise
	first map[enterprise.Number]origin
}

// origin is where an enterprise was first listed.
type origin struct {
	src  *source
	line int
}

func newEnterpriseTable(d *decoder, k *check) *enterpriseTable {
	return &enterpriseTable{d: d, k: k, first: make(map[enterprise.Number]origin)}
}

// enterprises reads the enterprise and suspended files and puts everything into
// the tenancy.
func (d *decoder) enterprises(c *Config, k *check, sums fileSums) {
	before := len(d.m.list)
	inline := c.Tenancy.Enterprises
	t := newEnterpriseTable(d, k)
	t.decoded(d, "tenancy.enterprises", inline)
	text := func(at, path string) *source {
		content, err := sums.read(path)
		if err != nil {
			d.fail(at, "the file cannot be read: %s", files.Bare(err))
			return nil
		}
		return textOf(path, content, d.m)
	}
	for i, path := range c.Tenancy.EnterpriseFiles {
		if path == "" {
			continue
		}
		at := item("tenancy.enterpriseFiles", i)
		if src := text(at, path); src != nil && !t.table(src) {
			d.fail(at, "%s is neither .csv nor .yaml", quote(filepath.Base(path)))
		}
	}
	c.Tenancy.Enterprises = t.list
	for i, path := range c.Tenancy.SuspendedFiles {
		if path == "" {
			continue
		}
		if src := text(item("tenancy.suspendedFiles", i), path); src != nil {
			c.Tenancy.Suspended = append(c.Tenancy.Suspended, suspended(src, d.m)...)
		}
	}
	if len(d.m.list) == before { // else what is missing may only be unreadable
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
	if e.Client != "" && !t.k.clients[e.Client] {
		return "client", t.k.unknownClient(e.Client)
	}
	for _, name := range e.Routes {
		if !t.k.routes[name] {
			return "routes", t.k.unknownRoute(name)
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
	for i := range list {
		e, item := &list[i], item(at, i)
		if e.Number == 0 {
			continue // reported
		}
		if part, message := t.wrong(e); message != "" {
			d.fail(item+"."+part, "%s", message)
		}
		if e.Rate != nil {
			t.k.rate(d, item+".rate", e.Rate, true)
		}
		if message := t.add(e, origin{d.src, nodes[i].Line}); message != "" {
			d.fail(item+".number", "%s", message)
		}
	}
}

// yaml reads a YAML file: a list like tenancy.enterprises, or a mapping with that list
// under enterprises.
func (t *enterpriseTable) yaml(src *source) {
	src.root = parseYAML(src, t.d.m)
	if src.root == nil {
		return
	}
	d := newDecoder(src, t.d.m, t.d.dir, t.d.lookup)
	var file struct {
		Enterprises []Enterprise `yaml:"enterprises" jsonschema:"required"`
	}
	at := "enterprises"
	if src.root.Kind == yaml.MappingNode {
		d.structure("", src.root, reflect.ValueOf(&file).Elem())
	} else {
		at = ""
		d.decode(at, src.root, reflect.ValueOf(&file.Enterprises).Elem(), "")
	}
	t.decoded(d, at, file.Enterprises)
}
