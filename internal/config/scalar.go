package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

func allowedWords(t reflect.Type) string {
	if own, ok := reflect.Zero(t).Interface().(worded); ok {
		return ": one of " + strings.Join(own.words(), ", ")
	}
	return ""
}

// readers are the types that are written as one word or text, besides strings. What they say of a
// text that is wrong continues a sentence that begins with it.
var readers = map[reflect.Type]func(s string) (any, error){
	reflect.TypeFor[bool]():              reader(parseBool),
	reflect.TypeFor[int]():               reader(parseInt),
	reflect.TypeFor[float64]():           reader(parseFloat),
	reflect.TypeFor[time.Duration]():     reader(parseDuration),
	reflect.TypeFor[time.Time]():         reader(parseDay),
	reflect.TypeFor[Size]():              reader(parseSize),
	reflect.TypeFor[StopAfter]():         reader(parseStopAfter),
	reflect.TypeFor[enterprise.Number](): reader(parseNumber),
	reflect.TypeFor[netip.Prefix]():      reader(parseNetwork),
	reflect.TypeFor[*url.URL]():          reader(parseURL),
	// As a default; what a file has is decoded.
	reflect.TypeFor[Listeners]():    func(s string) (any, error) { return Listeners{{Name: s, Address: s}}, nil },
	reflect.TypeFor[ebox.Actions](): func(string) (any, error) { return ebox.All, nil },
}

func reader[T any](parse func(string) (T, error)) func(string) (any, error) {
	return func(s string) (any, error) { return parse(s) }
}

// isText reports whether a value of type t is written as one word or text.
func isText(t reflect.Type) bool { return readers[t] != nil || t.Kind() == reflect.String }

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
		v.SetZero() // so that nothing is said of what follows from it
		// The value is shown as it is written, never as it was expanded.
		if secret {
			d.failAt(n, at, "this %s", err)
		} else {
			d.failAt(n, at, "%s %s", quote(n.Value), err)
		}
	}
}

// read reads text into v. Its errors continue a sentence that begins with the value.
func (d *decoder) read(v reflect.Value, form, s string) (err error) {
	var value any
	own, vocabulary := v.Interface().(worded)
	switch parse := readers[v.Type()]; {
	case parse != nil:
		if form == "lastday" {
			parse = reader(parseLastDay)
		}
		value, err = parse(s)
	case vocabulary:
		if words := own.words(); !slices.Contains(words, s) {
			err = fmt.Errorf("is unknown: %sallowed are %s", didYouMean(s, words), strings.Join(words, ", "))
		}
		value = s
	case v.Type() != reflect.TypeFor[Secret]():
		value, err = d.text(s, form)
	case s == "":
		err = errors.New("is empty; to say nothing, leave the key out")
	default:
		value = s
	}
	if err == nil {
		v.Set(reflect.ValueOf(value).Convert(v.Type()))
	}
	return err
}

// within holds a number, a size or a duration to the bounds that its field's tag gives.
func (d *decoder) within(v reflect.Value, tag reflect.StructTag) error {
	var expected []string
	broken, float := false, reflect.TypeFor[float64]()
	bound := func(key, words string, breaks func(order int) bool) {
		text, given := tag.Lookup(key)
		if !given {
			return
		}
		limit := reflect.New(v.Type()).Elem()
		if err := d.read(limit, "", text); err != nil {
			panic("config: a bound in a tag: " + text + " " + err.Error())
		}
		expected = append(expected, words+text)
		broken = broken || breaks(cmp.Compare(v.Convert(float).Float(), limit.Convert(float).Float()))
	}
	bound("least", "at least ", func(order int) bool { return order < 0 })
	bound("above", "more than ", func(order int) bool { return order <= 0 })
	bound("most", "at most ", func(order int) bool { return order > 0 })
	if broken {
		return errors.New("has to be " + strings.Join(expected, " and "))
	}
	return nil
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
		_, err := parseURL(s)
		return s, err // an audience is compared letter by letter
	}
	if parse, ok := forms[form]; ok {
		return parse(s)
	}
	return s, nil
}

// forms of texts that need no more than the text.
var forms = map[string]func(string) (string, error){
	"name": parseName, "address": parseAddress, "hostpattern": parseHostPattern, "origin": parseOrigin,
	"fingerprint": parseFingerprint,
	"pattern":     parsePattern, "destination": parseDestination,
	// RFC 6749, section 3.3: printable ASCII but for blank, quote and backslash.
	"scope":   parsed(`^[!#-\[\]-~]+$`, "is no scope: one per item, without blanks, quotes and backslashes"),
	"keyid":   parsed(`^[A-Za-z0-9_-]{1,32}$`, `is no id: up to 32 letters, digits, "-" and "_" are expected`),
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
	var list []action
	d.list(at, n, reflect.ValueOf(&list).Elem(), `config:",some"`)
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
	var wrong []string
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
			wrong = append(wrong, "the environment variable "+name+" is not set")
		}
		return value
	})
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return expanded, nil
}
