package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ebox-gateway/internal/enterprise"
)

// enterpriseTable gathers the enterprises of the configuration and its files.
type enterpriseTable struct {
	d     *decoder // of the configuration
	k     *check
	list  []Enterprise
	first map[enterprise.Number]origin
	// Cells repeat: each client, list of routes and day is kept once.
	words  map[string]string
	routes map[string][]string
	days   map[string]time.Time
}

// origin is where an enterprise was first listed.
type origin struct {
	src  *source
	line int
}

func newEnterpriseTable(d *decoder, k *check) *enterpriseTable {
	return &enterpriseTable{
		d: d, k: k,
		first:  make(map[enterprise.Number]origin),
		words:  make(map[string]string),
		routes: make(map[string][]string),
		days:   make(map[string]time.Time),
	}
}

// enterprises reads the enterprise and suspended files and puts everything into
// the tenancy.
func (d *decoder) enterprises(c *Config, k *check, sums *fileSet) {
	before := len(d.m.list)
	inline := c.Tenancy.Enterprises
	t := newEnterpriseTable(d, k)
	t.decoded(d, "tenancy.enterprises", inline)
	for i, path := range c.Tenancy.EnterpriseFiles {
		if path == "" {
			continue
		}
		at := "tenancy.enterpriseFiles[" + strconv.Itoa(i) + "]"
		content, err := sums.read(path)
		if err != nil {
			d.fail(at, "the file cannot be read: %s", clipPath(err))
			continue
		}
		src := &source{name: path, content: bytes.TrimPrefix(content, byteOrderMark), order: 1 + i}
		if !t.isText(src) {
			continue
		}
		if !t.table(src) {
			d.fail(at, "%s is neither .csv nor .yaml", quote(filepath.Base(path)))
		}
	}
	c.Tenancy.Enterprises = t.list
	for i, path := range c.Tenancy.SuspendedFiles {
		if path == "" {
			continue
		}
		content, err := sums.read(path)
		if err != nil {
			d.fail("tenancy.suspendedFiles["+strconv.Itoa(i)+"]", "the file cannot be read: %s", clipPath(err))
			continue
		}
		src := &source{name: path, content: bytes.TrimPrefix(content, byteOrderMark), order: 1 + len(c.Tenancy.EnterpriseFiles) + i}
		c.Tenancy.Suspended = append(c.Tenancy.Suspended, suspended(src, d.m)...)
	}
	if len(d.m.list) == before { // else what is missing may only be unreadable
		k.listed = make(map[enterprise.Number]bool, len(t.first))
		for n := range t.first {
			k.listed[n] = true
		}
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

var byteOrderMark = []byte("\xef\xbb\xbf")

func (t *enterpriseTable) isText(src *source) bool {
	if utf8.Valid(src.content) && bytes.IndexByte(src.content, 0) < 0 {
		return true
	}
	at := 0
	for at < len(src.content) && src.content[at] != 0 {
		r, size := utf8.DecodeRune(src.content[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	line, column := src.position(at)
	t.d.m.add(src, line, column, "", "this is not UTF-8: save the file as UTF-8, with or without a byte order mark")
	return false
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
	for i := range list {
		e, item := &list[i], at+"["+strconv.Itoa(i)+"]"
		if e.Number == 0 {
			continue // reported
		}
		if part, message := t.wrong(e); message != "" {
			d.fail(item+"."+part, "%s", message)
		}
		if n := d.nodes[item+".routes"]; n != nil && n.Kind == sequenceNode && len(n.Content) == 0 {
			d.fail(item+".routes", "an empty list allows nothing: leave the key out for all routes, or write suspended: true")
		}
		if e.Rate != nil {
			d.rate(item+".rate", e.Rate, t.k.rateStore(), true)
		}
		if message := t.add(e, origin{d.src, d.nodes[item].Line}); message != "" {
			d.fail(item+".number", "%s", message)
		}
	}
}

// yaml reads a YAML file: a list like tenancy.enterprises, or a mapping with
// that list under enterprises. What is not plain, or not right, is left to the
// full reader, which understands it or says why not.
func (t *enterpriseTable) yaml(src *source) {
	if !t.plain(src) {
		t.full(src)
	}
}

// plain takes in a file that the fast reader understands and in which nothing is
// wrong.
func (t *enterpriseTable) plain(src *source) bool {
	rows, ok := t.plainRows(src)
	if !ok || !distinct(rows) {
		return false
	}
	for i := range rows {
		if _, message := t.wrong(&rows[i].Enterprise); message != "" {
			return false
		}
		if _, twice := t.first[rows[i].Number]; twice {
			return false
		}
	}
	for i := range rows {
		t.add(&rows[i].Enterprise, origin{src, rows[i].line})
	}
	return true
}

func (t *enterpriseTable) full(src *source) {
	src.root = parseYAML(src, t.d.m)
	if src.root == nil {
		return
	}
	d := &decoder{src: src, m: t.d.m, dir: t.d.dir, lookup: t.d.lookup, day: t.d.day, nodes: make(map[string]*node)}
	var file struct {
		Enterprises []Enterprise `yaml:"enterprises" jsonschema:"required"`
	}
	at := "enterprises"
	if src.root.Kind == mappingNode {
		d.nodes[""] = src.root
		d.structure("", src.root, reflect.ValueOf(&file).Elem())
	} else {
		at = ""
		d.decode(at, src.root, reflect.ValueOf(&file.Enterprises).Elem(), "")
	}
	t.decoded(d, at, file.Enterprises)
}

func distinct(rows []plainRow) bool {
	seen := make(map[enterprise.Number]struct{}, len(rows))
	for i := range rows {
		seen[rows[i].Number] = struct{}{}
	}
	return len(seen) == len(rows)
}

// word keeps one copy of a repeated text.
func (t *enterpriseTable) word(s string) string {
	if s == "" {
		return ""
	}
	if kept, ok := t.words[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	t.words[s] = s
	return s
}

// day reads a day, once for all rows that have it.
func (t *enterpriseTable) day(s string, last bool) (time.Time, error) {
	key := s
	if last {
		key = "<" + s
	}
	if kept, ok := t.days[key]; ok {
		return kept, nil
	}
	day, err := parseDay(s, last, t.d.day)
	if err == nil {
		t.days[strings.Clone(key)] = day
	}
	return day, err
}
