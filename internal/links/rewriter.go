package links

import (
	"bytes"
	"slices"

	"ebox-gateway/internal/jsonscan"
)

// maxLink is the longest key or link that is looked at, in bytes as written: more
// than any server accepts in a request line. It bounds the rewriter's memory.
const maxLink = 8 << 10

// Rewriter copies a JSON text and turns the links in it into links that the caller can
// follow: the values of members named href, *Href or *Url, and of the Belgif guide's self,
// first, prev, next and last if they are strings, and the names of members below one
// named embedded. All other bytes stay as they are, and a text that is not JSON passes
// without harm.
//
// It works chunk by chunk: a chunk's end that may be part of a name or a link is carried
// over to the next. It does not parse: a string is found by its quotes, and is a name if
// a colon follows. That takes one jump per string, which for an answer of a few kilobytes
// is two or three microseconds. Only below embedded are brackets counted.
type Rewriter struct {
	Links Map
	state scanState
	odd   bool   // inLong, the last chunk ended with a backslash that escapes
	depth int    // how many brackets are open below embedded, 0 elsewhere
	carry []byte // the beginning of a string, its quote first
}

type scanState uint8

const (
	outside       scanState = iota // anywhere but in a string
	afterKey                       // behind a string that is a link's name, if a colon follows
	atValue                        // behind the colon of such a name
	afterEmbedded                  // behind the string "embedded"
	atEmbedded                     // behind its colon
	inLong                         // within a string that is too long to matter
)

// Write appends to dst the part of the output that is certain after chunk.
func (w *Rewriter) Write(dst, chunk []byte) []byte {
	if len(w.carry) > 0 {
		w.carry = append(w.carry, chunk...)
		chunk = w.carry
	}
	dst, left := w.scan(dst, chunk)
	w.carry = append(w.carry[:0], left...)
	return dst
}

// End appends what was held back.
func (w *Rewriter) End(dst []byte) []byte {
	dst = append(dst, w.carry...)
	w.carry = w.carry[:0]
	return dst
}

// scan copies from b to dst and returns what must wait for the next chunk: nothing,
// or the beginning of a string.
func (w *Rewriter) scan(dst, b []byte) (out, left []byte) {
	done := 0 // b[:done] is in dst
	for i := 0; ; {
		if w.state == inLong {
			end, odd := stringEnd(b[i:], w.odd)
			w.odd = odd
			if end < 0 {
				return append(dst, b[done:]...), nil
			}
			i += end + 1
			w.state = outside
		}
		quote := nextQuote(b[i:])
		if quote < 0 {
			w.between(b[i:])
			return append(dst, b[done:]...), nil
		}
		if w.state != outside || w.depth > 0 {
			w.between(b[i : i+quote])
		}
		i += quote
		end, odd := stringEnd(b[i+1:], false)
		if end < 0 {
			if len(b)-i-1 <= maxLink {
				return append(dst, b[done:i]...), b[i:]
			}
			w.state, w.odd = inLong, odd
			return append(dst, b[done:]...), nil
		}
		text := b[i+1 : i+1+end]
		value := w.state == atValue
		name := false
		if !value && w.depth > 0 && mayBeLink(text) {
			var certain bool
			name, certain = isName(b[i+end+2:])
			if !certain && len(b)-i-1 <= maxLink {
				return append(dst, b[done:i]...), b[i:]
			}
		}
		w.state = outside
		if len(text) <= maxLink {
			if value || name {
				mark := len(dst)
				dst = append(dst, b[done:i+1]...)
				var ok bool
				if dst, ok = w.Links.appendLink(dst, text, true); ok {
					done = i + 1 + end
				} else {
					dst = dst[:mark]
				}
			}
			if !value {
				if mayBeName(text) {
					w.state = behind(plain(text, b[i+end+2:]))
				}
				if w.depth > 0 && w.state == afterEmbedded {
					w.state = outside // already there
				}
			}
		}
		i += end + 2
	}
}

// nextQuote finds the quote that begins the next string: mostly it is one byte away, or two.
func nextQuote(b []byte) int {
	for i := range min(3, len(b)) {
		if b[i] == '"' {
			return i
		}
	}
	return bytes.IndexByte(b, '"')
}

// between goes through what stands between two strings: a colon, brackets, other values.
func (w *Rewriter) between(b []byte) {
	if w.state == outside && w.depth == 0 {
		return
	}
	for _, c := range b {
		opens := c == '{' || c == '['
		switch {
		case isBlank(c):
			continue
		case c == ':' && (w.state == afterKey || w.state == afterEmbedded):
			w.state++ // atValue or atEmbedded
			continue
		case opens && (w.depth > 0 || w.state == atEmbedded):
			w.depth++
		case w.depth > 0 && (c == '}' || c == ']'):
			w.depth--
		}
		w.state = outside
	}
}

// stringEnd finds the quote that ends the string that b continues; odd reports whether
// the byte before b was a backslash that escapes. Without a quote it returns -1
// and whether b ends with such a backslash.
func stringEnd(b []byte, odd bool) (end int, endsOdd bool) {
	i := 0
	if odd {
		if len(b) == 0 {
			return -1, true
		}
		i = 1
	}
	from := i
	for {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return -1, backslashes(b[from:])&1 == 1
		}
		i += quote
		if backslashes(b[from:i])&1 == 0 {
			return i, false
		}
		i++
		from = i
	}
}

// backslashes counts those at the end of b.
func backslashes(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n
}

// MayBeIn reports whether a whole JSON text can hold a link that a Rewriter would change. A
// link is a string that begins with a slash, or holds "://", unless it is written with
// escapes. Most answers hold neither, and need not be gone through string by string.
func MayBeIn(text []byte) bool {
	if bytes.IndexByte(text, '\\') >= 0 {
		return true
	}
	for i := 0; ; i++ {
		slash := bytes.IndexByte(text[i:], '/')
		if slash < 0 {
			return false
		}
		if i += slash; i > 0 && (text[i-1] == '"' || text[i-1] == ':') {
			return true
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// mayBeLink reports whether a string begins as links do.
func mayBeLink(text []byte) bool {
	return len(text) > 0 && (text[0] == 'h' || text[0] == 'H' || text[0] == '/' || text[0] == '\\')
}

// mayBeName reports whether a string ends as the names that behind knows do, or with the escape of such a letter.
// Few do, and no other needs a second look.
func mayBeName(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	switch text[len(text)-1] {
	case 'd', 'f', 'l', 't', 'v', '4', '6', 'c', 'C':
		return true
	}
	return false
}

// isName reports whether the string before rest is a member's name; it is not certain if
// rest ends too early.
func isName(rest []byte) (is, certain bool) {
	for _, c := range rest {
		if !isBlank(c) {
			return c == ':', true
		}
	}
	return false, false
}

// plain gives the string before rest without its escapes if it may be a member's name: two spellings
// are one name to whoever reads it.
func plain(text, rest []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	if is, certain := isName(rest); certain && !is {
		return nil
	}
	return []byte(jsonscan.Text(slices.Concat(quote, text, quote)))
}

// behind gives the state behind a string that may be a member's name.
func behind(name []byte) scanState {
	switch string(name) {
	case "href", "self", "first", "prev", "next", "last":
		return afterKey
	case "embedded":
		return afterEmbedded
	}
	if bytes.HasSuffix(name, []byte("Href")) || bytes.HasSuffix(name, []byte("Url")) {
		return afterKey
	}
	return outside
}
