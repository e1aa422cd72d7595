package telemetry

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"ebox-gateway/internal/enterprise"
)

// line is one log line that is being written, in the form of slog's JSON or text
// handler.
type line struct {
	b    []byte
	json bool
}

func (l *line) begin(asJSON bool, at time.Time, level slog.Level) {
	start, format := "time=", "2006-01-02T15:04:05.000Z07:00"
	if asJSON {
		start, format = `{"time":`, time.RFC3339Nano
	}
	l.json, l.b = asJSON, append(l.b[:0], start...)
	l.quote()
	l.b = at.AppendFormat(l.b, format)
	l.quote()
	l.text("level", level.String())
	l.text("msg", "request")
}

func (l *line) end() {
	if l.json {
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, '\n')
}

func (l *line) name(name string) {
	if l.json {
		l.b = append(l.b, ',', '"')
		l.b = append(l.b, name...)
		l.b = append(l.b, '"', ':')
		return
	}
	l.b = append(l.b, ' ')
	l.b = append(l.b, name...)
	l.b = append(l.b, '=')
}

// quote stands on both sides of a text in JSON.
func (l *line) quote() {
	if l.json {
		l.b = append(l.b, '"')
	}
}

func (l *line) text(name, value string) {
	if value == "" {
		return
	}
	l.name(name)
	if !isPlain(value, l.json) {
		l.b = appendQuoted(l.b, value, l.json)
		return
	}
	l.quote()
	l.b = append(l.b, value...)
	l.quote()
}

// number writes an enterprise's number as ten digits.
func (l *line) number(name string, n enterprise.Number) {
	if n == 0 {
		return
	}
	l.name(name)
	l.quote()
	l.b = n.AppendText10(l.b)
	l.quote()
}

func (l *line) addr(name string, a netip.Addr) {
	l.name(name)
	l.quote()
	l.b = a.AppendTo(l.b)
	l.quote()
}

func (l *line) count(name string, n int64) {
	if n == 0 {
		return
	}
	l.name(name)
	l.b = strconv.AppendInt(l.b, n, 10)
}

// truth writes that something is so; what is not so is left out.
func (l *line) truth(name string) {
	l.name(name)
	l.b = append(l.b, "true"...)
}

// took writes milliseconds, with three digits behind the point.
func (l *line) took(name string, d time.Duration) {
	if d == 0 {
		return
	}
	l.name(name)
	us := d.Microseconds()
	l.b = strconv.AppendInt(l.b, us/1000, 10)
	if frac := us % 1000; frac != 0 {
		l.b = append(l.b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
}

// isPlain reports whether a value can be written as it is: ASCII without control
// characters, quotes and backslashes, in text also without blanks and "=".
func isPlain(s string, asJSON bool) bool {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
		if !asJSON && (c == ' ' || c == '=') {
			return false
		}
	}
	return true
}

func appendQuoted(b []byte, s string, asJSON bool) []byte {
	if !asJSON {
		return strconv.AppendQuote(b, s)
	}
	quoted, err := json.Marshal(s)
	if err != nil { // no string fails
		return append(b, `""`...)
	}
	return append(b, quoted...)
}
