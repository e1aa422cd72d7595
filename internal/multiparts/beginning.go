package multiparts

// beginning sees by its first bytes whether a part could be read as a JSON object, which has
// nothing to do with what it is said to be: servers choose a part by its name, and readers of
// JSON recognise UTF-16 and UTF-32. Blanks, the bytes of byte order marks and the zeros of
// those encodings are passed over, and so are the arrays around an object.
//
//	{"sender"    JSON
//	[ {}         JSON
//	{\rtf1       other, as is every beginning of a PDF, a zip file, an image
//	[section]    other
type beginning struct {
	at    int  // as far as it was read
	brace bool // an object has begun
}

type verdict uint8

const (
	undecided verdict = iota
	asJSON
	asOther
)

// read goes on with a text that has grown.
func (b *beginning) read(text []byte) verdict {
	for ; b.at < len(text); b.at++ {
		switch c := text[b.at]; {
		case c == ' ', c == '\t', c == '\r', c == '\n', c == 0, c == 0xef, c == 0xbb, c == 0xbf, c == 0xfe, c == 0xff:
		case b.brace:
			// A name, with or without quotes, the end or a comment.
			if c == '"' || c == '\'' || c == '}' || c == '/' || c == '#' || c == '_' || c == '$' || c >= 0x80 ||
				c|0x20 >= 'a' && c|0x20 <= 'z' {
				return asJSON
			}
			return asOther
		case c == '{':
			b.brace = true
		case c == '[':
		default:
			return asOther
		}
	}
	return undecided
}
