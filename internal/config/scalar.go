package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// scalar reads n into v if v is of a type that is written as one value, and
// tells whether it is.
func (d *decoder) scalar(at string, n *node, v reflect.Value, tag string) bool {
	tag, blank := strings.CutSuffix(tag, ",blank")
	read := reader(v, tag, d)
	if read == nil {
		return false
	}
	secret := v.Type() == reflect.TypeFor[Secret]()
	if secret {
		d.hide(n)
	}
	if n.Kind != scalarNode {
		// The one list that is a single Go value.
		if v.Type() == reflect.TypeFor[ebox.Actions]() && n.Kind == sequenceNode {
			d.actions(at, n, v)
			return true
		}
		d.failAt(n, at, "a single value is expected, no list and no mapping")
		return true
	}
	if isNull(n) {
		d.failAt(n, at, "a value is expected; to say nothing, leave the key out")
		return true
	}
	text, err := expand(n.Value, d.lookup)
	if err != nil {
		d.failAt(n, at, "%s", err)
		return true
	}
	if found := bareVariable.FindStringSubmatch(n.Value); found != nil {
		name := found[1]
		if secret {
			name = "NAME"
		}
		d.warn(at, "$"+name+" without braces is text: write ${"+name+"} for the environment variable")
	}
	if blank && text == "" {
		return true // the same as no key, for a variable that may be empty
	}
	if err := read(text); err != nil {
		// The value is shown as it is written, never as it was expanded.
		if secret {
			d.failAt(n, at, "this %s", err)
		} else {
			d.failAt(n, at, "%s %s", quote(n.Value), err)
		}
	}
	return true
}

// reader gives the function that reads text into v, or nil if v is a structure.
// Its errors continue a sentence that begins with the value.
func reader(v reflect.Value, tag string, d *decoder) func(string) error {
	if own, ok := v.Interface().(worded); ok {
		return func(s string) error {
			for _, w := range own.words() {
				if s == w {
					v.SetString(s)
					return nil
				}
			}
			guess := ""
			if near := nearest(s, own.words()); near != "" {
				guess = "; did you mean " + near + "?"
			}
			return fmt.Errorf("is not one of %s%s", strings.Join(own.words(), ", "), guess)
		}
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		return into(p, parseDuration)
	case *Size:
		return into(p, parseSize)
	case *enterprise.Number:
		return into(p, parseNumber)
	case *netip.Prefix:
		return into(p, parseNetwork)
	case *StopAfter:
		return into(p, parseStopAfter)
	case **url.URL:
		return into(p, parseURL)
	case *time.Time:
		return into(p, func(s string) (time.Time, error) { return parseDay(s, tag == "lastday", d.day) })
	case *ebox.Actions:
		return func(string) error {
			return errors.New("is no list: write [list, open], with actions among " + strings.Join(actionWords(), ", "))
		}
	case *Secret:
		return func(s string) error {
			if s == "" {
				return errors.New("is empty; to say nothing, leave the key out")
			}
			*p = Secret(s)
			return nil
		}
	case *string:
		return into(p, func(s string) (string, error) { return d.text(s, tag) })
	case *bool:
		return into(p, parseBool)
	case *int:
		return into(p, parseInt)
	case *float64:
		return into(p, parseFloat)
	}
	return nil
}

func into[T any](p *T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		value, err := parse(s)
		if err == nil {
			*p = value
		}
		return err
	}
}

// text reads a string, by the tag of its field.
func (d *decoder) text(s, tag string) (string, error) {
	if s == "" || strings.TrimSpace(s) != s {
		return "", errors.New("is empty or has blanks at its ends; to say nothing, leave the key out")
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return "", errors.New("has a line break or another control character in it")
		}
	}
	switch tag {
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
	case "hostpattern":
		return parseHostPattern(s)
	case "origin":
		return parseOrigin(s)
	}
	return s, nil
}

// path makes a path absolute: it begins where the configuration lies.
func (d *decoder) path(s string) string {
	if filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(d.dir, s)
}

func (d *decoder) actions(at string, n *node, v reflect.Value) {
	var set ebox.Actions
	for i, child := range n.Content {
		path := at + "[" + strconv.Itoa(i) + "]"
		var word string
		before := len(d.m.list)
		d.decode(path, child, reflect.ValueOf(&word).Elem(), "")
		if len(d.m.list) > before {
			continue
		}
		action, ok := ebox.ParseAction(word)
		if !ok {
			d.fail(path, "%s is not one of %s", quote(word), strings.Join(actionWords(), ", "))
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
