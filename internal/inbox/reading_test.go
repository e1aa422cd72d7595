package inbox_test

import (
	"encoding/json"
	"testing"

	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/testkit"
)

// FuzzReadList has whatever bytes answered for a list: they spoil nothing for the other provider, and are named if they
// are none.
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
		r, _ := list(t, answers{"a": says(honest), "b": says(string(body))}, "pageSize=100")
		var l struct{ Items []map[string]any }
		testkit.Must(t, json.Unmarshal(r.Body, &l))
		missing, others := inbox.HeaderOf(r.Missing), 0
		for _, item := range l.Items {
			if item["messageId"] == nil || item["messageId"] == "" {
				t.Fatalf("%q gives a message without an id: %s", body, r.Body)
			}
			if item["providerId"] == "a" {
				others++
			}
		}
		if others != 1 || missing != "" && missing != "b;reason=malformed" || missing == "" && !json.Valid(body) {
			t.Fatalf("%q gives %s, and lacks %q", body, r.Body, missing)
		}
	})
}
