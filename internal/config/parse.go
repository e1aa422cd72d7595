package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// parseName reads what clients, routes, callers and the like may be called: their names become
// labels, path segments, folders and cells of tables.
func parseName(s string) (string, error) {
	if !namePattern.MatchString(s) || strings.Trim(s, ".") == "" {
		return "", errors.New("is no name: use letters, digits, \"-\", \"_\" and \".\", up to 64")
	}
	return s, nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// parsed gives a parser of texts of one pattern.
func parsed(pattern, otherwise string) func(string) (string, error) {
	of := regexp.MustCompile(pattern)
	return func(s string) (string, error) {
		if !of.MatchString(s) {
			return "", errors.New(otherwise)
		}
		return s, nil
	}
}

// parseFingerprint reads the SHA-256 of a certificate; colons may part the bytes.
func parseFingerprint(s string) (string, error) {
	plain := strings.ToLower(strings.ReplaceAll(s, ":", ""))
	if raw, err := hex.DecodeString(plain); err != nil || len(raw) != sha256.Size {
		return "", errors.New("is no SHA-256 fingerprint: 64 hexadecimal digits are expected, colons allowed")
	}
	return plain, nil
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

var (
	sizeForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)$`)
	units    = map[string]float64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
)

func parseSize(s string) (Size, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	parts := sizeForm.FindStringSubmatch(s)
	if parts == nil || units[parts[2]] == 0 {
		return 0, errors.New(
			"is no size: write bytes or a unit, as in 65536, 64KiB, 1MB or 2GB (MB is 1,000,000, MiB 1,048,576)")
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	switch v := number * units[parts[2]]; {
	case v < 1:
		return 0, errors.New("is no size: it has to be at least one byte, or unlimited where that is allowed")
	case err != nil || v > 1<<50 || v != math.Trunc(v):
		return 0, errors.New("is no size: a whole number of bytes below 1,024 TiB is expected")
	default:
		return Size(v), nil
	}
}

// parseNumber reads a CBE number.
func parseNumber(s string) (enterprise.Number, error) {
	n, err := enterprise.Parse(s)
	switch {
	case errors.Is(err, enterprise.ErrCheckDigits):
		err = errors.New("is no enterprise number: its last two digits do not match the first eight; look for a typing error")
	case err != nil:
		err = errors.New("is no enterprise number: ten digits are expected, as in 0206731645, 0206.731.645 or BE0206731645")
	}
	return n, err
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch a := p.Addr(); {
	case err != nil:
		return p, errors.New("is no network: write an address or a prefix, as in 10.1.0.0/16, 192.0.2.7 or fd00::/8")
	case a.Is4In6() && p.Bits() < 96:
		return p, errors.New("mixes IPv4 and IPv6: write the IPv4 network itself, as in 10.1.0.0/16")
	case a.Is4In6():
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		return p, fmt.Errorf("has bits beyond its prefix length: write %s, or /%d for the one address", p.Masked(),
			p.Addr().BitLen())
	}
	return p, nil
}

// parseDay reads a day in Brussels as the instant it begins.
func parseDay(s string) (time.Time, error) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, errors.New("is no day: write it as 2026-01-31")
	}
	// Clocks change at two in the morning, so every day has its midnight.
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, ebox.Brussels()), nil
}

// parseLastDay reads the last day of a time as the instant at which it ends.
func parseLastDay(s string) (time.Time, error) {
	day, err := parseDay(s)
	if err != nil {
		return day, err
	}
	return day.AddDate(0, 0, 1), nil
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
	if err != nil || !(v >= 0 && v <= math.MaxFloat64) { // NaN is neither
		return 0, errors.New("is no number of 0 or more")
	}
	return v, nil
}

// BaseURL reads the URL that paths are appended to, in the one form in which it is compared, shown and
// called: scheme and host in lower case, no final dot, no default port, an address in its shortest form,
// no slash at the end. Its errors continue a sentence that begins with the URL, and hold nothing of it.
func BaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("is no URL: https://host/path is expected")
	}
	host := strings.ToLower(u.Hostname())
	addr, errAddr := netip.ParseAddr(host)
	switch {
	case u.User != nil:
		return nil, errors.New("has a user name in it: credentials do not belong in this URL")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, errors.New("has a query or a fragment: a base URL without them is expected")
	case !isHost(host):
		return nil, errors.New("has no valid host: letters, digits, \".\" and \"-\" are expected, " +
			"internationalised names as xn--…")
	case !validPort(u.Host, u.Port()):
		return nil, errors.New("has no valid port: 1 to 65535 is expected")
	}
	if strings.ContainsAny(u.EscapedPath(), `\;%`) {
		return nil, errBasePath
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, errors.New("has dot segments in its path: write the path they lead to")
		}
	}
	if errAddr == nil {
		host = addr.Unmap().String()
	}
	host = strings.TrimSuffix(host, ".")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && port != defaultPorts[u.Scheme] {
		host += ":" + port
	}
	u.Host, u.Path, u.RawPath = host, strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

var defaultPorts = map[string]string{"https": "443", "http": "80"}

var errBasePath = errors.New("has an empty segment, an escape or a character in its path that a base URL cannot have")

// parseURL is BaseURL for what an operator writes.
func parseURL(s string) (*url.URL, error) {
	u, err := BaseURL(s)
	if err == nil && strings.Contains(u.Path, "//") {
		return nil, errBasePath
	}
	return u, err
}

func validPort(hostport, port string) bool {
	if port == "" {
		return !strings.HasSuffix(hostport, ":")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// parseAddress reads where to listen.
func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	_, errPort := strconv.ParseUint(port, 10, 16)
	_, errHost := netip.ParseAddr(host)
	if err != nil || errPort != nil || errHost != nil && host != "" && host != "localhost" {
		return "", errors.New("is no address: host:port is expected, as in 127.0.0.1:8080, [::1]:8080, localhost:8080 " +
			"or :8080 for every address")
	}
	return s, nil
}

// IsLoopbackHost reports whether a host of a URL is this machine: localhost or a loopback
// address. Names below localhost are not: some resolvers ask the network for them.
func IsLoopbackHost(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// isHost reports whether h is an address, or a name of letters, digits, dots and hyphens. A name that some
// resolvers read as an IPv4 address is none: 127.1, 0x7f.1, 2130706433.
func isHost(h string) bool {
	_, err := netip.ParseAddr(h)
	return err == nil || len(h) <= 253 && hostName.MatchString(h) && !numericEnd.MatchString(h)
}

// hostName are labels of up to 63 characters, which neither begin nor end with a hyphen.
var hostName = regexp.MustCompile(`^` + hostLabel + `(\.` + hostLabel + `)*\.?$`)

// numericEnd is the end of a host that is taken for an address if it is none.
var numericEnd = regexp.MustCompile(`(?i)(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)

const hostLabel = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// parsePattern reads a pattern of paths: segments, of which "*" is any one, and "/**" at the
// end for everything below.
func parsePattern(s string) (string, error) {
	stars := strings.TrimSuffix(s, "/**")
	bad := s != "/**" && (!cleanPath(s) || strings.ContainsAny(s, "{}") || strings.Contains(stars, "**"))
	for segment := range strings.SplitSeq(stars, "/") {
		bad = bad || len(segment) > 1 && strings.Contains(segment, "*")
	}
	if bad {
		return "", errors.New("is no pattern: /segments are expected, where * is one whole segment and /** at the end " +
			"everything below")
	}
	return s, nil
}

// cleanPath reports whether a path has no empty, dot or escaped segments.
func cleanPath(p string) bool {
	return pathPattern.MatchString(p) && p != "/" && path.Clean(p) == p
}

var pathPattern = regexp.MustCompile(`^/[A-Za-z0-9/._~{}*-]*$`)

// parseHostPattern reads a host, "*.domain" or an address, each alone or with a port, of which "*" is any.
func parseHostPattern(s string) (string, error) {
	const form = `is no host: write the name alone, as in registry.example.be, *.example.be or host.example.be:8443`
	s = strings.ToLower(s)
	bracketed := strings.HasPrefix(s, "[")
	host, port, errPort := net.SplitHostPort(s)
	hasPort := errPort == nil
	if !hasPort {
		host = s
		if bracketed && strings.HasSuffix(s, "]") {
			host = s[1 : len(s)-1]
		}
	} else if port != "*" && !validPort(s, port) {
		return "", errors.New(form)
	}
	name, wild := strings.CutPrefix(host, "*.")
	addr, err := netip.ParseAddr(name)
	switch {
	case host == "*":
		return "", errors.New(`would let every host in: name the hosts, or a domain as in *.example.be`)
	case !isHost(name), err == nil && (wild || addr.Zone() != ""), bracketed && !addr.Is6():
		return "", errors.New(form)
	case err == nil:
		host = addr.Unmap().String()
	}
	host = strings.TrimSuffix(host, ".")
	if hasPort {
		host = net.JoinHostPort(host, port)
	}
	return host, nil
}

// parseDestination reads what is reached without the proxy. It refuses what the rules of curl
// and Go would ignore in silence or misread.
func parseDestination(s string) (string, error) {
	_, err := netip.ParsePrefix(s)
	if strings.Contains(s, "/") && err != nil || strings.ContainsAny(s, ", \t@?#") ||
		strings.Contains(strings.TrimPrefix(s, "*"), "*") {
		return "", errors.New(`is no destination: write "example.be", ".example.be", "10.0.0.0/8", an address or "*"`)
	}
	return s, nil
}

func parseOrigin(s string) (string, error) {
	u, err := BaseURL(s)
	if err != nil || u.Path != "" || strings.HasSuffix(s, "/") {
		return "", errors.New(
			`is no origin: write scheme, host and port alone, as in https://app.example.be; "*" is not allowed`)
	}
	return u.String(), nil // as browsers write it: without the default port
}
