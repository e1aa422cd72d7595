package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzScan compares what is found in a text with what encoding/json finds there.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , {"b":"}]\""} ] , "providerId" : null } `, `{"providerId":"x"}`,
		`{"providerId":"x","b":2}`,
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
		if n := valueEnd(raw); n != len(raw) {
			t.Fatalf("%q ends at %d", raw, n)
		}
		switch raw[0] {
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil {
				return // deeper than encoding/json goes
			}
			i := 0
			Elements(raw, func(e []byte) bool {
				if i >= len(want) || !bytes.Equal(e, want[i]) {
					t.Fatalf("element %d of %q is %q", i, raw, e)
				}
				i++
				return true
			})
			if i != len(want) {
				t.Fatalf("%d elements of %d in %q", i, len(want), raw)
			}
		case '{':
			var want map[string]json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil {
				return
			}
			got := make(map[string]json.RawMessage)
			Members(raw, func(m Member) bool { got[string(m.Key)] = json.RawMessage(bytes.Clone(m.Value)); return true })
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %v, want %v", raw, got, want)
			}
			var rest map[string]json.RawMessage
			if err := json.Unmarshal([]byte("{"+string(Without(raw, "providerId"))+"}"), &rest); err != nil {
				t.Fatalf("%q without providerId: %v", raw, err)
			}
			for key := range want {
				if strings.EqualFold(key, "providerId") {
					delete(want, key)
				}
			}
			if !reflect.DeepEqual(rest, want) {
				t.Fatalf("%q became %q", raw, rest)
			}
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
		t.Run(c.name, func(t *testing.T) {
			err := Check([]byte(c.text))
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var fault *Fault
			if !errors.As(err, &fault) || c.at != "" && fault.At != c.at || !strings.Contains(fault.Detail, c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSpellsAsSomeServersFold(t *testing.T) {
	for s, want := range map[string]bool{
		"eboxId": true, "EBOXID": true, "ebox_id": true, "ebox-ıd": true, "ebox.id": false, "eboxIds": false,
		"ebox": false, "": false,
	} {
		if got := Spells(s, "eboxId"); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}
