package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// isText tells whether a value of v's type is written as one word or text.
func isText(v reflect.Value) bool {
	switch v.Interface().(type) {
	case netip.Prefix, time.Time, *url.URL:
		return true
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		return false
	}
	return true
}

// scalar reads n, one value, into v.
func (d *decoder) scalar(at string, n *node, v reflect.Value, tag reflect.StructTag) {
	form, option, _ := strings.Cut(tag.Get("config"), ",")
	secret := v.Type() == reflect.TypeFor[Secret]()
	if secret {
		d.src.hide(n)
	}
	switch {
	case n.Kind == yaml.SequenceNode && v.Type() == reflect.TypeFor[ebox.Actions]():
		d.actions(at, n, v) // the one list that is a single Go value
		return
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
		// The value is shown as it is written, never as it was expanded.
		if secret {
			d.failAt(n, at, "this %s", err)
		} else {
			d.failAt(n, at, "%s %s", quote(n.Value), err)
		}
	}
}

// read reads text into v. Its errors continue a sentence that begins with the value.
func (d *decoder) read(v reflect.Value, form, s string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		return into(p, s, func(s string) (string, error) { return d.text(s, form) })
	case *bool:
		return into(p, s, parseBool)
	case *int:
		return into(p, s, parseInt)
	case *float64:
		return into(p, s, parseFloat)
	case *time.Duration:
		return into(p, s, parseDuration)
	case *time.Time:
		return into(p, s, func(s string) (time.Time, error) { return parseDay(s, form == "lastday") })
	case *Size:
		return into(p, s, parseSize)
	case *StopAfter:
		return into(p, s, parseStopAfter)
	case *enterprise.Number:
		return into(p, s, parseNumber)
	case *netip.Prefix:
		return into(p, s, parseNetwork)
	case **url.URL:
		return into(p, s, parseURL)
	case *Secret:
		if s == "" {
			return errors.New("is empty; to say nothing, leave the key out")
		}
		*p = Secret(s)
		return nil
	case *ebox.Actions:
		return errors.New("is no list: write [list, open], with actions among " + strings.Join(actionWords(), ", "))
	}
	words := v.Interface().(worded).words()
	if slices.Contains(words, s) {
		v.SetString(s)
		return nil
	}
	return fmt.Errorf("is unknown: %sallowed are %s", didYouMean(s, words), strings.Join(words, ", "))
}

// within holds a number, a size or a duration to the bounds that its field's tag gives.
func (d *decoder) within(v reflect.Value, tag reflect.StructTag) error {
	var expected []string
	broken := false
	for _, bound := range []struct {
		key, words string
		breaks     func(value, limit float64) bool
	}{
		{"least", "at least ", func(value, limit float64) bool { return value < limit }},
		{"above", "more than ", func(value, limit float64) bool { return value <= limit }},
		{"most", "at most ", func(value, limit float64) bool { return value > limit }},
	} {
		text, given := tag.Lookup(bound.key)
		if !given {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := d.read(limit, "", text); err != nil {
			panic("config: a bound in a tag: " + text + " " + err.Error())
		}
		expected = append(expected, bound.words+text)
		float := reflect.TypeFor[float64]()
		broken = broken || bound.breaks(v.Convert(float).Float(), limit.Convert(float).Float())
	}
	if broken {
		return errors.New("has to be " + strings.Join(expected, " and "))
	}
	return nil
}

func into[T any](p *T, s string, parse func(string) (T, error)) error {
	value, err := parse(s)
	if err == nil {
		*p = value
	}
	return err
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
		u, err := parseURL(s)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(s, "/") {
			return s, nil // an audience is compared letter by letter
		}
		return u.String(), nil
	}
	if parse, ok := forms[form]; ok {
		return parse(s)
	}
	return s, nil
}

// forms of texts that need no more than the text.
var forms = map[string]func(string) (string, error){
	"name": parseName, "hostpattern": parseHostPattern, "origin": parseOrigin, "fingerprint": parseFingerprint,
	"scope": parseScope, "pattern": parsePattern, "destination": parseDestination, "version": parseVersion,
}

// path makes a path absolute: it begins where the configuration lies.
func (d *decoder) path(s string) string {
	if filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(d.dir, s)
}

func (d *decoder) actions(at string, n *node, v reflect.Value) {
	if len(n.Content) == 0 {
		d.failAt(n, at, "an empty list allows nothing: leave the key out for all of %s", strings.Join(actionWords(), ", "))
	}
	var set ebox.Actions
	for i, child := range n.Content {
		path := item(at, i)
		var word string
		before := len(d.m.list)
		d.decode(path, child, reflect.ValueOf(&word).Elem(), "")
		if len(d.m.list) > before {
			continue
		}
		action, ok := ebox.ParseAction(word)
		if !ok {
			d.fail(path, "%s is unknown: allowed are %s", quote(word), strings.Join(actionWords(), ", "))
			continue
		}
		if set.Has(action) {
			d.fail(path, "%s is given twice", word)
		}
		set = set.With(action)
	}
	v.Set(reflect.ValueOf(set))
}

func actionWords() []string {
	words := make([]string, 0, ebox.Mandates)
	for a := ebox.List; a <= ebox.Mandates; a++ {
		words = append(words, a.String())
	}
	return words
}
