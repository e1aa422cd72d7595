package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"ebox-gateway/internal/jsonscan"
)

// FuzzScan compares what is found in a text with what encoding/json finds there.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , {"b":"}]\""} ] , "providerId" : null } `, `{"providerId":"x"}`,
		`{"ProviderId":"x","b":2}`,
		`{"b":2 ,"providerId":"x"}`, `["\\",{"a\u0022":-1e5}]`, `{"providerId":{"providerId":[]},"c":"é"}`,
		`"text"`, `12.5`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			return
		}
		raw = bytes.TrimSpace(raw)
		object := raw
		if raw[0] != '{' {
			object = []byte(`{"whole": ` + string(raw) + `}`)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(object, &want); err != nil {
			return // deeper than encoding/json goes
		}
		got := make(map[string]json.RawMessage)
		for m := range jsonscan.Members(object) {
			got[string(m.Key)] = json.RawMessage(bytes.Clone(m.Value))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, want %v", object, got, want)
		}
		var rest map[string]json.RawMessage
		if err := json.Unmarshal([]byte("{"+string(jsonscan.Without(object, "providerId"))+"}"), &rest); err != nil {
			t.Fatalf("%q without providerId: %v", object, err)
		}
		for key := range want {
			if strings.EqualFold(key, "providerId") {
				delete(want, key)
			}
		}
		if !reflect.DeepEqual(rest, want) {
			t.Fatalf("%q became %q", object, rest)
		}
	})
}

func TestCheckRefusesWhatTwoReadersReadInTwoWays(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, text, at, says string }{
		{"an object", `{"a": [1, {"b": "\u00e9"}], "c": null}`, "", ""},
		{"as deep as it may be", deep(64), "", ""},
		{"the same key in two objects", `[{"a":1},{"a":2}]`, "", ""},
		{"a key twice", `{"a":1,"a":2}`, "/a", "repeated"},
		{"a key twice, once escaped", `{"eboxId":1,"\u0065boxId":2}`, "/eboxId", "repeated"},
		{"a key twice in another case", `[{"x":{"a/b":1,"A/B":2}}]`, "/0/x/A~1B", "repeated"},
		{"too deep", deep(66), "", "nested"},
		{"a byte order mark", "\ufeff{}", "", "byte order mark"},
		{"invalid UTF-8", "\"\xff\"", "", "UTF-8"},
		{"invalid JSON", `{"a":}`, "", "JSON"},
		{"nothing", "", "", "JSON"},
	} {
		fault := new(jsonscan.Fault)
		err := jsonscan.Check([]byte(c.text))
		errors.As(err, &fault)
		if (err == nil) != (c.says == "") || c.at != "" && fault.At != c.at || !strings.Contains(fault.Detail, c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLettersAreThoseThatSomeServerReads(t *testing.T) {
	for name, want := range map[string]string{
		"eboxId": "eboxid", "EBOX_ID": "eboxid", "ebox-\u0131d\u200b": "eboxid", "\u017fender": "sender", "n\u00b02": "n2",
		"": "", "-_": "", "ebox.id": "", "ebox[id]": "", "\u00e9box": "", strings.Repeat("x", 65): "",
	} {
		var room jsonscan.Name
		if got := string(jsonscan.Letters([]byte(name), &room)); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// FuzzRead compares the values that are read with those that encoding/json finds.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` {"a":1, "b" : [true,false,null,{"c":"\u00e9\n\"\\"}]} `, `-0.5e+10`, `{"a"}`, `[1,]`, `[`, ``, ` `,
		`{"A":1,"a":2}`, `{"":0}`, `1e700`, `[1,2 ,3]`, ` [ ] `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var seen scalars
		err := jsonscan.Read(raw, &seen)
		if valid := json.Valid(raw) && utf8.Valid(raw); err != nil {
			var fault *jsonscan.Fault
			if !errors.As(err, &fault) ||
				valid && fault.Detail != "the key is repeated within its object" && !strings.Contains(fault.Detail, "nested") {
				t.Fatalf("%q is refused: %v", raw, err)
			}
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber() // 1e700 is valid JSON, and no float64
		if err := d.Decode(&want); err != nil || count(want) != len(seen) {
			t.Fatalf("%d values of %d in %q: %q, %v", len(seen), count(want), raw, seen, err)
		}
	})
}

// scalars are the values that are neither objects nor arrays.
type scalars []string

func (s *scalars) Member(int, []byte) {}

func (s *scalars) Scalar(_ int, raw []byte, _ func() string) error {
	*s = append(*s, string(raw))
	return nil
}

func count(value any) (n int) {
	switch v := value.(type) {
	case map[string]any:
		for _, below := range v {
			n += count(below)
		}
	case []any:
		for _, below := range v {
			n += count(below)
		}
	default:
		return 1
	}
	return n
}

func TestRepeatedKeysAreFoundAmongMany(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"first":0`)
	for i := range 1000 {
		b.WriteString(`,"k` + strconv.Itoa(i) + `":{"k":0}`)
	}
	if err := jsonscan.Check([]byte(b.String() + "}")); err != nil {
		t.Error(err)
	}
	for _, again := range []string{"FIRST", "k7", "K999", "k50", "F\u0131rst"} {
		if err := jsonscan.Check([]byte(b.String() + `,"` + again + `":0}`)); err == nil {
			t.Errorf("%s is not found", again)
		}
	}
}
