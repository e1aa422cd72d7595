package config

import (
	"errors"
	"fmt"
	"math"
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
		path := s
		if !filepath.IsAbs(path) {
			path = filepath.Join(d.dir, path)
		}
		d.files = append(d.files, path)
		return path, nil
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

func parseDuration(s string) (time.Duration, error) {
	v, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("is no duration: write a number with a unit, as in 500ms, 30s, 5m or 1h30m")
	}
	if v < 0 {
		return 0, errors.New("is negative: a duration of 0s or more is expected")
	}
	return v, nil
}

var units = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

func parseSize(s string) (Size, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	number, size := s, 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	const form = "is no size: write bytes or a unit, as in 65536, 64KiB, 1MB or 2GB (MB is 1,000,000, MiB 1,048,576)"
	if number == "" || !isDigit(number[0]) || strings.ContainsAny(number, "eExXpP_+-") {
		return 0, errors.New(form)
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errors.New(form)
	}
	switch v *= size; {
	case v < 1:
		return 0, errors.New("is no size: it has to be at least one byte, or unlimited where that is allowed")
	case v > 1<<50 || v != math.Trunc(v):
		return 0, errors.New("is no size: a whole number of bytes below 1,024 TiB is expected")
	}
	return Size(v), nil
}

func parseNumber(s string) (enterprise.Number, error) {
	n, err := enterprise.Parse(s)
	if err != nil {
		return 0, numberError(err)
	}
	return n, nil
}

// numberError makes the error continue "the value …".
func numberError(err error) error {
	if errors.Is(err, enterprise.ErrCheckDigits) {
		return errors.New("is no enterprise number: its last two digits do not match the first eight; look for a typing error")
	}
	return errors.New("is no enterprise number: ten digits are expected, as in 0206731645, 0206.731.645 or BE0206731645")
}

func parseNetwork(s string) (netip.Prefix, error) {
	const form = "is no network: write an address or a prefix, as in 10.1.0.0/16, 192.0.2.7 or fd00::/8"
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New(form)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New(form)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("mixes IPv4 and IPv6: write the IPv4 network itself, as in 10.1.0.0/16")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("has bits beyond its prefix length: write %s, or /%d for the one address", p.Masked(), p.Addr().BitLen())
	}
	return p, nil
}

// parseURL reads a base URL; a slash at its end is dropped.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("is no URL: https://host/path is expected")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("has a user name in it: credentials do not belong in this URL")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, errors.New("has a query or a fragment: a base URL without them is expected")
	case !isHost(u.Hostname()):
		return nil, errors.New("has no valid host: letters, digits, \".\" and \"-\" are expected, internationalised names as xn--…")
	case !validPort(u.Host, u.Port()):
		return nil, errors.New("has no valid port: 1 to 65535 is expected")
	}
	escaped := u.EscapedPath()
	if strings.ContainsAny(escaped, `\;`) || strings.Contains(escaped, "//") || strings.Contains(escaped, "%") {
		return nil, errors.New("has an empty segment, an escape or a character in its path that a base URL cannot have")
	}
	for _, segment := range strings.Split(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, errors.New("has dot segments in its path: write the path they lead to")
		}
	}
	u.Host = strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}

func validPort(hostport, port string) bool {
	if port == "" {
		return !strings.HasSuffix(hostport, ":")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// isHost tells a name of letters, digits, dots and hyphens, or an IP literal.
func isHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	if h == "" || len(h) > 253 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(h, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func parseHostPattern(s string) (string, error) {
	const form = `is no host: write the name alone, as in registry.example.be, *.example.be or host.example.be:8443`
	host, port := strings.ToLower(s), ""
	if rest, ok := strings.CutPrefix(host, "["); ok { // an IPv6 literal
		literal, after, closed := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(literal)
		if !closed || err != nil || addr.Is4() || (after != "" && after[0] != ':') || (after != "" && !validPort(host, after[1:])) {
			return "", errors.New(form)
		}
		return host, nil
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Count(host, ":") == 1 {
		host, port = host[:i], host[i:]
		if port != ":*" && (port == ":" || !validPort(port, port[1:])) {
			return "", errors.New(form)
		}
	}
	if host == "*" {
		return "", errors.New(`would let every host in: name the hosts, or a domain as in *.example.be`)
	}
	if !isHost(strings.TrimPrefix(host, "*.")) {
		return "", errors.New(form)
	}
	return strings.TrimSuffix(host, ".") + port, nil
}

func parseOrigin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || !isHost(u.Hostname()) || !validPort(u.Host, u.Port()) ||
		u.Path != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") {
		return "", errors.New(`is no origin: write scheme, host and port alone, as in https://app.example.be; "*" is not allowed`)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

func parseDay(s string, last bool, brussels *time.Location) (time.Time, error) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, errors.New("is no day: write it as 2026-01-31")
	}
	if last {
		day = day.AddDate(0, 0, 1)
	}
	// Clocks change at two in the morning, so every day has its midnight.
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, brussels), nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

func parseInt(s string) (int, error) {
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil || v < 0 {
		return 0, errors.New("is no whole number of 0 or more")
	}
	return int(v), nil
}

func parseFloat(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, errors.New("is no number of 0 or more")
	}
	return v, nil
}
