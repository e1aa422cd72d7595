package tenancy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

// seen writes what was found in few characters: the numbers, "+" if present and
// "!" if direct.
func seen(n tenancy.Named) string {
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
		"a JSON number":                  {`{"representedEnterpriseNumber":206731645}`, "0206731645+!"},
		"a JSON number with an exponent": {`{"representedEnterpriseNumber":2.06731645E+8}`, "+!?"},
		"a key that ends at a NUL":       {`{"representedEnterpriseNumber\u0000x":"0206731645"}`, "0206731645+"},
		"an escaped value":               {`{"representedEnterpriseNumber":"\u0030206731645"}`, "0206731645+!"},
		"an escaped key":                 {`{"represented\u0045nterpriseNumber":"0206731645"}`, "0206731645+!"},
		"a key with a dotless i":         {`{"representedEnterprıseNumber":"0206731645"}`, "0206731645+"},
		"a dotted key":                   {`{"mandate.representedEnterpriseNumber":"0206731645"}`, "0206731645+"},
		"a longer key":                   {`{"representedEnterpriseNumbers":"0206731645"}`, ""},
		"nested":                         {`{"a":[{"b":{"representedEnterpriseNumber":"0206731645"}}]}`, "0206731645+"},
		"an object as the value": {
			`{"representedEnterprise":{"name":"Bakery","cbe":{"number":"0206731645"}}}`, "0206731645+!"},
		"an array as the value": {
			`{"representedEnterpriseNumber":["0206731645",474028805]}`, "0206731645,0474028805+!"},
		"the same twice": {
			`{"representedEnterpriseNumber":"0206731645","representedEnterprise":"206.731.645"}`, "0206731645+!"},
		"eleven digits":               {`{"representedEnterpriseNumber":"09333875470"}`, "+!"},
		"wrong check digits":          {`{"representedEnterpriseNumber":"0206731646"}`, "+!?"},
		"blank text is no value":      {`{"representedEnterpriseNumber":" \t\u00a0\u200b\u0000"}`, ""},
		"empty brackets are no value": {`{"representedEnterpriseNumber":[{},[null,""]]}`, ""},
		"null above, a number below": {
			`{"representedEnterpriseNumber":null,"x":{"representedEnterpriseNumber":"0206731645"}}`, "0206731645+"},
		"as a value it is only text": {`{"remark":"representedEnterpriseNumber","x":"0206731645"}`, ""},
		"with the representative":    {`{"create\u004dandateWithRepresentative": true}`, "r"},
		"the same, not true":         {`{"createMandateWithRepresentative":"true"}`, ""},
		"the same in an array":       {`[{"createMandateWithRepresentative":true}]`, ""},
		"a half surrogate":           {`{"remark":"\ud800","representedEnterpriseNumber":"0206731645"}`, "0206731645+!"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tenancy.NamedInBody([]byte(c.body), "application/json", "")
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
	} {
		got, err := tenancy.NamedInBody([]byte(text), "application/json", "")
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
		_, err := tenancy.NamedInBody([]byte(body), header[0], header[1])
		if status(t, err) != 400 || issues(err)[0].In != "header" {
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
		if tenancy.CheckMedia(media, "") == nil {
			t.Errorf("%s counts as JSON", media)
		}
	}
	for _, media := range []string{"", "application/json", "application/merge-patch+json",
		"application/vnd.platform+json; profile=form", "application/json;charset=UTF-8", "text/json"} {
		if err := tenancy.CheckMedia(media, " Identity"); err != nil {
			t.Errorf("%s: %v", media, err)
		}
	}
	for _, coding := range []string{"gzip", "identity, gzip"} {
		if tenancy.CheckMedia("application/json", coding) == nil {
			t.Errorf("%s counts as plain", coding)
		}
	}
}

// oracle reads a body as Go's own decoder does: every number below a name that equals
// representedEnterpriseNumber or representedEnterprise without regard to case, and whether a key is
// repeated in its object.
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
					below = below || strings.EqualFold(key, numberName) || strings.EqualFold(key, enterpriseName)
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

// No number is overlooked that Go's decoder finds, and what is no JSON, or repeats a key, is refused.
// That nothing else is refused is for the tables to say.
func FuzzNamedInBody(f *testing.F) {
	for _, seed := range []string{
		`{"representedEnterpriseNumber":"0206731645"}`, `{"a":[{"RepresentedEnterprise":{"n":206731645}}]}`,
		`{"a":1,"\u0061":2}`, `[{"path":"\/representedEnterpriseNumber"}]`, "\ufeff{}", `"\ud800"`, `[[[[1]]]]`, `{"":""}`,
		`{"repre\u017fentedEnterprise":[{"x":"BE 0212 148 896"},null,"\u0030800002352"],"b":{"representedEnterprise":[]}}`,
	} {
		f.Add([]byte(seed), "application/json")
	}
	f.Add([]byte("{}"), "application/merge-patch+json; charset=utf-8")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		got, err := tenancy.NamedInBody(body, contentType, "")
		if err != nil || len(body) == 0 {
			if err != nil && status(t, err) != 400 {
				t.Fatal(err)
			}
			return
		}
		numbers, repeated := oracle(body)
		if !json.Valid(body) || !utf8.Valid(body) || repeated {
			t.Fatalf("%q was accepted", body)
		}
		for _, n := range numbers {
			if !slices.Contains(got.Numbers, n) || !got.Present {
				t.Fatalf("%s was overlooked in %q", n, body)
			}
		}
	})
}
