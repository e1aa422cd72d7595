package links

import "bytes"

// maxLink is the longest key or link that is looked at, in bytes as written: more
// than any server accepts in a request line. It bounds the rewriter's memory.
const maxLink = 8 << 10

// Rewriter copies a JSON text and turns the links in it, values of members named
// href, *Href or *Url, into links that the caller can follow. All other bytes stay
// as they are, and a text that is not JSON passes without harm.
//
// It works chunk by chunk: a chunk's end that may be part of a key or a link is
// carried over to the next. It does not parse: a string is found by its quotes,
// and is a key if a colon follows. That takes one jump per string, which for an
// answer of a few kilobytes is about a microsecond.
type Rewriter struct {
	Links Map
	state scanState
	odd   bool   // inLong, the last chunk ended with a backslash that escapes
	carry []byte // the beginning of a string, its quote first
}

type scanState uint8

const (
	outside  scanState = iota // anywhere but in a string
	afterKey                  // behind a string that is a link's name, if a colon follows
	atValue                   // behind the colon of such a key
	inLong                    // within a string that is too long to matter
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
	i := 0
	for i < len(b) {
		switch w.state {
		case inLong:
			end, odd := stringEnd(b[i:], w.odd)
			w.odd = odd
			if end < 0 {
				return append(dst, b[done:]...), nil
			}
			i += end + 1
			w.state = outside
			continue
		case afterKey, atValue:
			switch c := b[i]; {
			case c == ' ' || c == '\n' || c == '\r' || c == '\t':
				i++
				continue
			case c == ':' && w.state == afterKey:
				i++
				w.state = atValue
				continue
			case c == '"':
			default:
				w.state = outside
				continue
			}
		default:
			// Between strings there is mostly one byte or two.
			if b[i] != '"' {
				if i++; i < len(b) && b[i] == '"' {
					break
				}
				quote := bytes.IndexByte(b[i:], '"')
				if quote < 0 {
					return append(dst, b[done:]...), nil
				}
				i += quote
			}
		}

		// b[i] is a quote.
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
		w.state = outside
		if len(text) <= maxLink {
			if value {
				mark := len(dst)
				dst = append(dst, b[done:i+1]...)
				var ok bool
				if dst, ok = w.Links.appendLink(dst, text, true); ok {
					done = i + 1 + end
				} else {
					dst = dst[:mark]
				}
			} else if namesLink(text) {
				w.state = afterKey
			}
		}
		i += end + 2
	}
	return append(dst, b[done:]...), nil
}

// stringEnd finds the quote that ends the string that b continues; odd tells that
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

// namesLink tells whether a key, as written, is href or ends in Href or Url. Few
// keys end in a letter, or an escape, that makes a second look worth while.
func namesLink(key []byte) bool {
	n := len(key)
	if n < 3 {
		return false
	}
	switch key[n-1] {
	case 'l':
		if string(key[n-3:]) == "Url" {
			return true
		}
	case 'f':
		if n >= 4 && string(key[n-3:]) == "ref" && (key[n-4] == 'H' || n == 4 && key[n-4] == 'h') {
			return true
		}
	case '6', 'c', 'C': // \u0066 and \u006c
	default:
		return false
	}
	return bytes.IndexByte(key, '\\') >= 0 && namesLinkEscaped(key)
}

// namesLinkEscaped decides for keys that hold escapes.
func namesLinkEscaped(key []byte) bool {
	var last [4]byte
	n := 0
	for s := (scanner{b: key, inJSON: true}); ; n++ {
		c, more := s.peek()
		if !more {
			break
		}
		last = [4]byte{last[1], last[2], last[3], c}
		s.next()
	}
	return string(last[1:]) == "Url" && n >= 3 || string(last[:]) == "Href" || n == 4 && string(last[:]) == "href"
}
