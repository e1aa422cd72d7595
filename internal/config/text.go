package config

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// inExcel is how a spreadsheet becomes a file that is read here.
const inExcel = "save it as UTF-8; in Excel: Save As, file type \"CSV UTF-8 (Comma delimited)\""

// textOf makes the source of a text file. One that is not UTF-8 is a mistake, and is read
// all the same as what it must be, so that whatever else is wrong in it is found too.
func textOf(name string, content []byte, m *mistakes) *source {
	src := &source{name: name, content: bytes.TrimPrefix(content, byteOrderMark), order: m.sources}
	m.sources++
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		if text, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Bytes(content); err == nil {
			src.content = text
		}
		m.add(src, 1, 1, "", "this is UTF-16 (\"Unicode Text\"), not UTF-8: "+inExcel)
		return src
	}
	at := firstInvalid(src.content)
	if at < 0 {
		return src
	}
	line, column := src.position(at)
	if text, err := charmap.Windows1252.NewDecoder().Bytes(src.content); err == nil {
		src.content = text
	}
	m.add(src, line, column, "", "this is not UTF-8, but looks like Windows-1252 (cp1252, \"ANSI\"): "+inExcel)
	return src
}

// firstInvalid finds the first byte that is no UTF-8; -1 if there is none.
func firstInvalid(content []byte) int {
	for at := 0; at < len(content); {
		r, size := utf8.DecodeRune(content[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
