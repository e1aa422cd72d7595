package enterprise

import (
	"errors"
	"fmt"
	"testing"
)

func TestParseUnderstandsEveryWrittenForm(t *testing.T) {
	for _, written := range []string{
		"0206731645", "206731645", "0206.731.645", "206.731.645", "BE0206731645", "be0206731645",
		"BE 0206.731.645", "BE 0206 731 645", "0206 731 645", "0206-731-645", "BE-0206.731.645",
		"BE206731645", "  0206731645 ", "BE.0206.731.645",
	} {
		t.Run(written, func(t *testing.T) {
			n, err := Parse(written)
			if err != nil || n.String() != "0206731645" {
				t.Fatalf("Parse(%q) = %q, %v", written, n, err)
			}
		})
	}
	if n, err := Parse("1000000035"); err == nil {
		t.Fatalf("1000000035 has wrong check digits, got %v", n)
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		written string
		want    error
	}{
		"empty":                     {"", ErrMalformed},
		"blank":                     {"   ", ErrMalformed},
		"wrong check digits":        {"0206731646", ErrCheckDigits},
		"zeros":                     {"0000000000", ErrCheckDigits},
		"first digit 2":             {"2206731645", ErrMalformed},
		"eight digits":              {"06731645", ErrMalformed},
		"eleven digits":             {"00206731645", ErrMalformed},
		"letters":                   {"02O6731645", ErrMalformed},
		"other country":             {"NL0206731645", ErrMalformed},
		"odd groups":                {"02.06731.645", ErrMalformed},
		"four groups":               {"0.206.731.645", ErrMalformed},
		"two separators in a row":   {"0206..731645", ErrMalformed},
		"separator at the end":      {"0206.731.645.", ErrMalformed},
		"Arabic digits":             {"٠٢٠٦٧٣١٦٤٥", ErrMalformed},
		"line feed":                 {"0206731645\n", ErrMalformed},
		"sign":                      {"+206731645", ErrMalformed},
		"longer than any real form": {"BE                  0206731645", ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if n, err := Parse(c.written); !errors.Is(err, c.want) || n != 0 {
				t.Fatalf("Parse(%q) = %v, %v; want %v", c.written, n, err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0206731645", "BE 0206.731.645", "206731645", "1", "be-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if n != 0 {
				t.Fatalf("an error with a number: %v", n)
			}
			return
		}
		text := n.String()
		if len(text) != 10 || text[0] > '1' {
			t.Fatalf("Parse(%q).String() = %q", s, text)
		}
		if again, err := Parse(text); err != nil || again != n {
			t.Fatalf("Parse(%q) = %v, %v after %q", text, again, err, s)
		}
		var check, head int
		fmt.Sscanf(text[8:], "%d", &check)
		fmt.Sscanf(text[:8], "%d", &head)
		if 97-head%97 != check {
			t.Fatalf("%q passed with wrong check digits", text)
		}
	})
}
