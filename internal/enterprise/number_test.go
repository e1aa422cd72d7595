package enterprise_test

import (
	"errors"
	"fmt"
	"testing"

	"ebox-gateway/internal/enterprise"
)

func TestParseUnderstandsEveryWrittenForm(t *testing.T) {
	for _, written := range []string{
		"0206731645", "206731645", "0206.731.645", "206.731.645", "BE0206731645", "be0206731645",
		"BE 0206.731.645", "BE 0206 731 645", "0206 731 645", "0206-731-645", "BE-0206.731.645",
		"BE206731645", "  0206731645 ", "BE.0206.731.645",
	} {
		t.Run(written, func(t *testing.T) {
			n, err := enterprise.Parse(written)
			if err != nil || n.String() != "0206731645" {
				t.Fatalf("Parse(%q) = %q, %v", written, n, err)
			}
		})
	}
	if n, err := enterprise.Parse("1000000035"); err == nil {
		t.Fatalf("1000000035 has wrong check digits, got %v", n)
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		written string
		want    error
	}{
		"empty":                     {"", enterprise.ErrMalformed},
		"wrong check digits":        {"0206731646", enterprise.ErrCheckDigits},
		"zeros":                     {"0000000000", enterprise.ErrCheckDigits},
		"first digit 2":             {"2206731645", enterprise.ErrMalformed},
		"eleven digits":             {"00206731645", enterprise.ErrMalformed},
		"other country":             {"NL0206731645", enterprise.ErrMalformed},
		"odd groups":                {"02.06731.645", enterprise.ErrMalformed},
		"four groups":               {"0.206.731.645", enterprise.ErrMalformed},
		"separator at the end":      {"0206.731.645.", enterprise.ErrMalformed},
		"Arabic digits":             {"٠٢٠٦٧٣١٦٤٥", enterprise.ErrMalformed},
		"line feed":                 {"0206731645\n", enterprise.ErrMalformed},
		"longer than any real form": {"BE                  0206731645", enterprise.ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if n, err := enterprise.Parse(c.written); !errors.Is(err, c.want) || n != 0 {
				t.Fatalf("Parse(%q) = %v, %v; want %v", c.written, n, err, c.want)
			}
		})
	}
}

func TestTextsThatSomeReaderTakesForANumber(t *testing.T) {
	for _, text := range []string{
		"0206731646", "206731646", "00206731645", "0000000206731645", "02067316450474028805", "0206.731.645, 0474.028.805",
		"0206731645 0474028805", "no. 0206731645", "٠٢٠٦٧٣١٦٤٥", "x²", "2.06731645E+8", "206731645.0", "207e6",
		" 2 e8", "0xC5276BD", "-0206731645",
	} {
		if !enterprise.IsAmbiguous(text) {
			t.Errorf("%s is not ambiguous", text)
		}
	}
	for _, text := range []string{"", "x", "x12", "1e999", "1e5", "196", "09333875470", "79072300048", "2206731645"} {
		if enterprise.IsAmbiguous(text) {
			t.Errorf("%s is ambiguous", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0206731645", "BE 0206.731.645", "206731645", "1", "be-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := enterprise.Parse(s)
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
		if again, err := enterprise.Parse(text); err != nil || again != n {
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
