package inbox

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
		`{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , {"b":"}]\""} ] , "providerId" : null } `, `{"providerId":"x"}`, `{"providerId":"x","b":2}`,
		`{"b":2 ,"providerId":"x"}`, `["\\",{"a\u0022":-1e5}]`, `{"providerId":{"providerId":[]},"c":"é"}`, `"text"`, `12.5`, `null`,
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
			elements(raw, func(e []byte) bool {
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
			members(raw, func(m member) bool { got[string(m.key)] = json.RawMessage(bytes.Clone(m.value)); return true })
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %v, want %v", raw, got, want)
			}
			whole := named(nil, raw, quoted("p&q"))
			var now map[string]json.RawMessage
			if err := json.Unmarshal(whole, &now); err != nil {
				t.Fatalf("%q became %q: %v", raw, whole, err)
			}
			want["providerId"] = json.RawMessage(`"p&q"`)
			if !reflect.DeepEqual(now, want) || bytes.Count(whole, []byte(`"p&q"`)) != 1+strings.Count(string(without(raw, "providerId")), `"p&q"`) {
				t.Fatalf("%q became %q", raw, whole)
			}
		}
	})
}

// FuzzReadList has whatever bytes read as a list: no more is read of it than allowed,
// and what is taken out of it is valid.
func FuzzReadList(f *testing.F) {
	for _, s := range []string{
		`{"items":[{"messageId":"1","receiptDate":"2026-01-01T00:00:00Z"}],"totalItems":1,"_links":{"next":{"href":"/x?page=2"}}}`,
		`{"items":[]}`, `{"totalItems":0}`, `{}`, `[]`, `null`, `{"items":null}`, `{"items":[{"messageId":5}]}`, `{"items":[{"messageId":""}]}`,
		`{"items":[1]}`, `{"items":[{"messageId":"1"}`, `<html>`, `{"items":[{"messageId":"1","receiptDate":1700000000000}]}x`, "", `{"_links":7,"items":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n := 0
		l, err := readList(bytes.NewReader(body), func(m *message) error {
			n++
			if m.id == "" || !json.Valid(m.raw) || m.raw[0] != '{' {
				t.Fatalf("%q is a message of %q", m.raw, body)
			}
			return nil
		})
		if err == nil && (!json.Valid(body) || l.total < 0) {
			t.Fatalf("%q was taken for a list", body)
		}
		if err != nil && !errors.As(err, new(unusable)) {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

func FuzzParseChanges(f *testing.F) {
	for _, s := range []string{
		`{"items":[{"providerId":"a","messageId":"1","visible":false}]}`, `{"totalItems":2,"items":[{"providerId":"a"},{"providerId":"b","x":[{}]}],"y":1}`,
		`{"items":[]}`, `{"items":[{"messageId":"1"}]}`, `{"items":[{"providerId":7}]}`, `{"items":[{"providerId":"a","a":1,"A":2}]}`, `[]`, ``, ` `, `{"items":{}}`, "\ufeff{}",
	} {
		f.Add([]byte(s))
	}
	known := []Provider{{ID: "a"}, {ID: "b"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseChanges(body, nil, known)
		if err != nil {
			return
		}
		var whole struct {
			Items []map[string]any `json:"items"`
		}
		if err := json.Unmarshal(body, &whole); err != nil {
			t.Fatalf("%q was understood: %v", body, err)
		}
		want := make(map[string][]map[string]any)
		for _, item := range whole.Items {
			id := item["providerId"].(string)
			delete(item, "providerId")
			want[id] = append(want[id], item)
		}
		if len(c.parts) != len(want) {
			t.Fatalf("%q in %d parts", body, len(c.parts))
		}
		for _, p := range c.parts {
			var got struct {
				Items []map[string]any `json:"items"`
			}
			if err := json.Unmarshal(p.body, &got); err != nil || !reflect.DeepEqual(got.Items, want[p.provider]) {
				t.Fatalf("%q for %s: %q %v", body, p.provider, p.body, err)
			}
		}
	})
}
