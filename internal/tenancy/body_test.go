package tenancy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"ebox-gateway/internal/enterprise"

	"pgregory.net/rapid"
)

// seen writes what was found in few characters: the numbers, "+" if present and
// "!" if direct.
func seen(n Named) string {
	var parts []string
	for _, number := range n.Numbers {
		parts = append(parts, number.String())
	}
	s := strings.Join(parts, ",")
	if n.Present {
		s += "+"
	}
	if n.Direct {
		s += "!"
	}
	if n.Unreadable != "" {
		s += "?"
	}
	if n.CreateWithRepresentative {
		s += "r"
	}
	return s
}

func TestNamedInBody(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"nothing":                        {``, ""},
		"a mandate in the client's name": {`{"mandatorSsin":"79072300048","scopes":["x"]}`, ""},
		"named":                          {`{"representedEnterpriseNumber":"0206731645"}`, "0206731645+!"},
		"named by the other name":        {`{"representedEnterprise":"0206731645"}`, "0206731645+!"},
		"a JSON number":                  {`{"representedEnterpriseNumber":206731645}`, "0206731645+!"},
		"a JSON number with a fraction":  {`{"representedEnterpriseNumber":206731645.0}`, "+!?"},
		"a JSON number with an exponent": {`{"representedEnterpriseNumber":2.06731645E+8}`, "+!?"},
		"a negative number":              {`{"representedEnterpriseNumber":-206731645}`, "+!?"},
		"a number beyond all numbers":    {`{"representedEnterpriseNumber":1e999}`, "+!"},
		"an exponent in a text":          {`{"representedEnterpriseNumber":"2.06731645E8"}`, "+!?"},
		"another base":                   {`{"representedEnterpriseNumber":"0xC5276BD"}`, "+!?"},
		"a key that ends at a NUL":       {`{"representedEnterpriseNumber\u0000x":"0206731645"}`, "0206731645+"},
		"zeros in front":                 {`{"representedEnterpriseNumber":"0000206731645"}`, "+!?"},
		"two with dots in one text": {
			`{"representedEnterpriseNumber":"0206.731.645, BE 0474.028.805"}`, "+!?"},
		"an escaped value":       {`{"representedEnterpriseNumber":"\u0030206731645"}`, "0206731645+!"},
		"an escaped key":         {`{"represented\u0045nterpriseNumber":"0206731645"}`, "0206731645+!"},
		"a key in another case":  {`{"RepresentedEnterpriseNUMBER":"0206731645"}`, "0206731645+"},
		"a key with a dotless i": {`{"representedEnterprıseNumber":"0206731645"}`, "0206731645+"},
		"a key in snake case":    {`{"represented_enterprise_number":"0206731645"}`, "0206731645+"},
		"a dotted key":           {`{"mandate.representedEnterpriseNumber":"0206731645"}`, "0206731645+"},
		"a longer key":           {`{"representedEnterpriseNumbers":"0206731645"}`, ""},
		"nested":                 {`{"a":[{"b":{"representedEnterpriseNumber":"0206731645"}}]}`, "0206731645+"},
		"in an array":            {`[{"representedEnterpriseNumber":"0206731645"}]`, "0206731645+"},
		"an object as the value": {
			`{"representedEnterprise":{"name":"Bakery","cbe":{"number":"0206731645"}}}`, "0206731645+!"},
		"an array as the value": {
			`{"representedEnterpriseNumber":["0206731645",474028805]}`, "0206731645,0474028805+!"},
		"the same twice": {
			`{"representedEnterpriseNumber":"0206731645","representedEnterprise":"206.731.645"}`, "0206731645+!"},
		"two in one text":             {`{"representedEnterpriseNumber":"0206731645,0474028805"}`, "+!?"},
		"a line feed behind it":       {`{"representedEnterpriseNumber":"0206731645\n"}`, "+!?"},
		"blanks in between":           {`{"representedEnterpriseNumber":"02 06 73 16 45"}`, "+!?"},
		"full-width digits":           {`{"representedEnterpriseNumber":"０２０６７３１６４５"}`, "+!?"},
		"eleven digits":               {`{"representedEnterpriseNumber":"09333875470"}`, "+!"},
		"wrong check digits":          {`{"representedEnterpriseNumber":"0206731646"}`, "+!?"},
		"a word":                      {`{"representedEnterpriseNumber":"bakery"}`, "+!"},
		"true":                        {`{"representedEnterpriseNumber":true}`, "+!"},
		"null is no value":            {`{"representedEnterpriseNumber":null}`, ""},
		"empty text is no value":      {`{"representedEnterpriseNumber":""}`, ""},
		"blank text is no value":      {`{"representedEnterpriseNumber":" \t\u00a0\u200b\u0000"}`, ""},
		"empty brackets are no value": {`{"representedEnterpriseNumber":[{},[null,""]]}`, ""},
		"null above, a number below": {
			`{"representedEnterpriseNumber":null,"x":{"representedEnterpriseNumber":"0206731645"}}`, "0206731645+"},
		"as a value it is only text": {`{"remark":"representedEnterpriseNumber","x":"0206731645"}`, ""},
		"a number elsewhere":         {`{"mandataryEnterpriseNumber":"0206731645"}`, ""},
		"with the representative":    {`{"create\u004dandateWithRepresentative": true}`, "r"},
		"the same, not true":         {`{"createMandateWithRepresentative":"true"}`, ""},
		"the same in another case":   {`{"CreateMandateWithRepresentative":true}`, ""},
		"the same in an array":       {`[{"createMandateWithRepresentative":true}]`, ""},
		"a half surrogate":           {`{"remark":"\ud800","representedEnterpriseNumber":"0206731645"}`, "0206731645+!"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NamedInBody([]byte(c.body), "application/json", "")
			if err != nil || seen(got) != c.want {
				t.Fatalf("%s, %v; want %s", seen(got), err, c.want)
			}
		})
	}
}

// What is no JSON for everybody, package jsonscan refuses.
func TestBodiesThatTwoReadersMightReadDifferently(t *testing.T) {
	const body = `{"representedEnterpriseNumber":"0206731645"}`
	for text, refused := range map[string]bool{
		body:                          false,
		"":                            false,
		`[` + body + `,` + body + `]`: false, // the key in two objects
		"\ufeff" + body:               true,
		"{\x00}\x00":                  true, // UTF-16
		body + body:                   true,
		`{"x":[{"a":1,"a":1}]}`:       true,
		`{"a":1,"A":1}`:               true,
		`{"representedEnterpriseNumber":"0206731645","represented-enterprise-number":{}}`:         true,
		`{"representedEnterpriseNumber":"0206731645","RepresentedEnterpriseNumber":"0206731645"}`: true,
		`{"representedEnterpriseNumber":null,"represented-Enterprise-Number":"0206731645"}`:       true,
		`{"createMandateWithRepresentative":true,"CreateMandateWithRepresentative":false}`:        true,
		`[{"op":"add","value":"0206731645","path":"/representedEnterpriseNumber"}]`:               true,
		`[{"op":"add","value":"0206731645","path":"\/represented\u0045nterpriseNumber"}]`:         true,
		`[{"op":"replace","value":"x","path":"/remark"}]`:                                         false,
		`{"representedEnterpriseNumber":[` + manyNumbers(1000) + `1]}`:                            true,
	} {
		got, err := NamedInBody([]byte(text), "application/json", "")
		if !refused {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if status(t, err) != 400 || len(issues(err)) != 1 || issues(err)[0].In != "body" || seen(got) != "" {
			t.Errorf("%.200s: %s, %v, %+v", text, seen(got), err, issues(err))
		}
	}
	for _, header := range [][2]string{{"application/x-www-form-urlencoded", ""}, {"application/json", "gzip"}} {
		if _, err := NamedInBody([]byte(body), header[0], header[1]); status(t, err) != 400 || issues(err)[0].In != "header" {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestMediaTypesThatSomeServerTakesForAForm(t *testing.T) {
	for _, media := range []string{
		"application/x-www-form-urlencoded+json", "application/x-www-form-urlencoded",
		"Application/X-WWW-Form-Urlencoded+JSON", "multipart/form-data",
		"application/json; x=application/x-www-form-urlencoded", "application/json; x=\"multipart/form-data\"",
		"multipart/x+json", "application/form-data+json", "application/json; charset",
		"application/json, text/plain", "application/json; charset=utf-16", "text/plain", "text/x+json",
	} {
		if CheckMedia(media, "") == nil {
			t.Errorf("%s counts as JSON", media)
		}
	}
	for _, media := range []string{"", "application/json", "application/merge-patch+json",
		"application/vnd.platform+json; profile=form", "application/json;charset=UTF-8", "text/json"} {
		if err := CheckMedia(media, " Identity"); err != nil {
			t.Errorf("%s: %v", media, err)
		}
	}
	for _, coding := range []string{"gzip", "identity, gzip"} {
		if CheckMedia("application/json", coding) == nil {
			t.Errorf("%s counts as plain", coding)
		}
	}
}

// manyNumbers are n different numbers, each with a comma behind it.
func manyNumbers(n int) string {
	var b strings.Builder
	for _, e := range enterprises(n) {
		fmt.Fprintf(&b, "%q,", e.Number.String())
	}
	return b.String()
}

// oracle reads a body as Go's own decoder does: every member whose name equals
// representedEnterpriseNumber or representedEnterprise without regard to case, and
// whether a key is repeated in its object.
func oracle(body []byte) (numbers []enterprise.Number, repeated bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var walk func(inside bool)
	walk = func(inside bool) {
		token, err := d.Token()
		if err != nil {
			return
		}
		switch v := token.(type) {
		case json.Delim:
			keys := make(map[string]bool)
			for d.More() {
				below := inside
				if v == '{' {
					k, _ := d.Token()
					key := k.(string)
					repeated = repeated || keys[key]
					keys[key] = true
					below = below || strings.EqualFold(key, representedNumber) || strings.EqualFold(key, representedName)
				}
				walk(below)
			}
			_, _ = d.Token()
		case string, json.Number:
			if n, err := enterprise.Parse(fmt.Sprint(v)); err == nil && inside {
				numbers = append(numbers, n)
			}
		}
	}
	walk(false)
	return numbers, repeated
}

// agrees compares NamedInBody with the oracle.
func agrees(body []byte, contentType string) error {
	got, err := NamedInBody(body, contentType, "")
	if len(body) == 0 {
		return err
	}
	numbers, repeated := []enterprise.Number(nil), false
	valid := json.Valid(body) && utf8.Valid(body)
	if valid {
		numbers, repeated = oracle(body)
	}
	switch {
	case err == nil && (!valid || repeated):
		return fmt.Errorf("%q was accepted: valid %v, repeated %v", body, valid, repeated)
	case err != nil:
		return nil // what is refused does no harm; the tables say what must not be
	}
	for _, n := range numbers {
		if !slices.Contains(got.Numbers, n) {
			return fmt.Errorf("%s was overlooked in %q", n, body)
		}
	}
	if len(numbers) > 0 && !got.Present {
		return fmt.Errorf("numbers without presence in %q", body)
	}
	return nil
}

func TestNoNumberIsOverlooked(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		body := document(3).Draw(t, "body")
		if !json.Valid([]byte(body)) {
			t.Fatalf("%q is not valid", body)
		}
		if err := agrees([]byte(body), "application/json"); err != nil {
			t.Fatal(err)
		}
		if _, err := NamedInBody([]byte(body), "", ""); err == nil {
			accepted++
		} else if _, repeated := oracle([]byte(body)); !repeated && !strings.Contains(strings.ToLower(body), "represented") {
			t.Fatalf("%q was refused: %v", body, err)
		}
	})
	if accepted == 0 {
		t.Fatal("nothing was accepted: the property says nothing")
	}
}

// document draws JSON texts that are full of names, numbers and spellings.
func document(depth int) *rapid.Generator[string] {
	key := rapid.SampledFrom([]string{
		`"a"`, `"b"`, `"\u0061"`, `"representedEnterpriseNumber"`, `"representedEnterprise"`, `"REPRESENTEDENTERPRISENUMBER"`,
		`"represented\u0045nterpriseNumber"`, `"repreſentedEnterprise"`, `"createMandateWithRepresentative"`,
	})
	scalar := rapid.SampledFrom([]string{
		`"0206731645"`, `"0474.028.805"`, `206731645`, `"\u0030800002352"`, `null`, `true`, `""`, `"x"`, `0`, `1e3`,
		`"BE 0212 148 896"`, `"\/x"`,
	})
	if depth == 0 {
		return scalar
	}
	below := rapid.OneOf(scalar, rapid.Deferred(func() *rapid.Generator[string] { return document(depth - 1) }))
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		object := rapid.Bool().Draw(t, "object")
		b.WriteString(blank.Draw(t, "blank"))
		b.WriteString(map[bool]string{true: "{", false: "["}[object])
		for i := range rapid.IntRange(0, 4).Draw(t, "members") {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(blank.Draw(t, "blank"))
			if object {
				b.WriteString(key.Draw(t, "key") + blank.Draw(t, "blank") + ":")
			}
			b.WriteString(below.Draw(t, "value"))
			b.WriteString(blank.Draw(t, "blank"))
		}
		b.WriteString(map[bool]string{true: "}", false: "]"}[object])
		return b.String()
	})
}

func FuzzNamedInBody(f *testing.F) {
	for _, seed := range []string{
		`{"representedEnterpriseNumber":"0206731645"}`, `{"a":[{"RepresentedEnterprise":{"n":206731645}}]}`,
		`{"a":1,"\u0061":2}`,
		`[{"path":"\/representedEnterpriseNumber"}]`, `{"representedEnterpriseNumber":2.06731645e8}`, "\ufeff{}", `"\ud800"`,
		`[[[[1]]]]`, `{"":""}`, `1`,
	} {
		f.Add([]byte(seed), "application/json")
	}
	f.Add([]byte("{}"), "application/merge-patch+json; charset=utf-8")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		if err := agrees(body, contentType); err != nil {
			t.Fatal(err)
		}
		if _, err := NamedInBody(body, contentType, ""); err != nil && status(t, err) != 400 {
			t.Fatal(err)
		}
	})
}
