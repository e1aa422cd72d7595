package inbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// FuzzReadList has whatever bytes read as a list: no more is read of it than allowed,
// and what is taken out of it is valid.
func FuzzReadList(f *testing.F) {
	for _, s := range []string{
		`{"items":[{"messageId":"1","receiptDate":"2026-01-01T00:00:00Z"}],"totalItems":1,` +
			`"_links":{"next":{"href":"/x?page=2"}}}`,
		`{"items":[]}`, `{"totalItems":0}`, `{}`, `[]`, `null`, `{"items":null}`, `{"items":[{"messageId":5}]}`,
		`{"items":[{"messageId":""}]}`,
		`{"items":[1]}`, `{"items":[{"messageId":"1"}`, `<html>`,
		`{"items":[{"messageId":"1","receiptDate":1700000000000}]}x`, "", `{"_links":7,"items":[]}`,
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
		`{"items":[{"providerId":"a","messageId":"1","visible":false}]}`,
		`{"totalItems":2,"items":[{"providerId":"a"},{"providerId":"b","x":[{}]}],"y":1}`,
		`{"items":[]}`, `{"items":[{"messageId":"1"}]}`, `{"items":[{"providerId":7}]}`,
		`{"items":[{"providerId":"a","a":1,"A":2}]}`, `[]`, ``, ` `, `{"items":{}}`, "\ufeff{}",
	} {
		f.Add([]byte(s))
	}
	known := []Provider{{ID: "a"}, {ID: "b"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseChanges(body, nil, known, nil)
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
