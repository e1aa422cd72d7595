package inbox

import (
	"bytes"
	"encoding/json"
	"errors"
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
