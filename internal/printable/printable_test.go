package printable_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"ebox-gateway/internal/printable"
)

func TestWhatSteersATerminalIsReplaced(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":                       {"an.peeters@example.be", "an.peeters@example.be"},
		"letters with accents":        {"Zoë Lefèvre", "Zoë Lefèvre"},
		"an escape sequence":          {"a\x1b[2Jb", "a�[2Jb"},
		"a C1 control":                {"a\u009b2Jb", "a�2Jb"},
		"a C1 control as one byte":    {"a\x9bb", "a�b"},
		"a line break":                {"a\r\nb", "a��b"},
		"a line separator":            {"a\u2028b\u2029c", "a�b�c"},
		"a next line":                 {"a\u0085b", "a�b"},
		"a right-to-left override":    {"a\u202egnp.exe", "a�gnp.exe"},
		"bidirectional isolates":      {"\u2066a\u2069\u200f\u061c", "�a���"},
		"characters of no width":      {"a\u200bb\u200d\ufeff\u2060", "a�b���"},
		"a soft hyphen":               {"a\u00adb", "a�b"},
		"a tag character":             {"a\U000e0041", "a�"},
		"a variation selector":        {"a\ufe0f", "a�"},
		"a filler":                    {"a\u3164b\u115f", "a�b�"},
		"a grapheme joiner":           {"a\u034fb", "a�b"},
		"a space that is another one": {"a\u00a0b\u3000", "a�b�"},
		"private use":                 {"a\ue000", "a�"},
		"a blank braille cell":        {"a\u2800", "a�"},
		"what is no UTF-8":            {"\xff\xfe\xc3", "���"},
	} {
		if got := printable.Text(c.in, 256); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	if got := printable.Text(strings.Repeat("x", 60_000), 256); len(got) != 256 {
		t.Errorf("%d bytes", len(got))
	}
	if got := printable.Text("x"+strings.Repeat("é", 200), 256); len(got) != 255 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
	if got := printable.Text(strings.Repeat("\x9b", 60_000), 256); len(got) != 255 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestAFieldThatStandsTwiceIsOneText(t *testing.T) {
	if got := printable.Asserted([]string{"an", "jan\n"}); got != "an, jan�" {
		t.Errorf("%q", got)
	}
	if got := printable.Asserted(nil); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u202e\x9b", 4)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(most%1000, 0)
		got := printable.Text(s, most)
		if len(got) > most || !utf8.ValidString(got) || printable.Text(got, most) != got {
			t.Errorf("%q", got)
		}
	})
}
