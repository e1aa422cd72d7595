package ebox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

func TestMessagesThatABodyNames(t *testing.T) {
	const most, mostBytes = 1000, 64 << 10
	many := `{"items":[`
	for i := range most + 1 {
		many += fmt.Sprintf(`{"messageId":"%d"},`, i)
	}
	const one = `{"items":[{"messageId":"M1"}]}`
	for name, c := range map[string]struct {
		method, path, body string
		ids                []string
		more               bool
	}{
		"a change of messages": {"PATCH", "/v3/ebox/messages",
			`{"items":[{"messageId":"M1","visible":true},{"visible":false,"messageId":"M2"}]}`, []string{"M1", "M2"}, false},
		"a message linked into other e-Boxes": {"POST", "/v3/linkEboxMessage",
			`{"messageId":"M1","recipients":[{"eboxType":"messageId"}]}`, []string{"M1"}, false},
		"a value that looks like the name": {"PATCH", "/v3/ebox/messages",
			`{"items":[{"a":"messageId","b":"x"},["messageId","y"]]}`, nil, false},
		"a name in other letters": {"PATCH", "/messages", `{"MessageID":"M1"}`, []string{"M1"}, false},
		"no JSON":                 {"PATCH", "/v3/ebox/messages", `{"items":[{"messageId":"M1"`, []string{"M1"}, true},
		"more than is recorded":   {"PATCH", "/v3/ebox/messages", many, nil, true},
		"a long one hides no other": {"PATCH", "/messages", `[{"messageId":"` + strings.Repeat("x", mostBytes) +
			`1"},{"messageId":"M1"}]`, []string{"M1"}, true},
		"a publication":         {"POST", "/v3/ebox/messages", one, nil, false},
		"a path that ends in /": {"PATCH", "/ebox/messages/", one, []string{"M1"}, false},
		"a matrix parameter":    {"PATCH", "/ebox/messages;v=1", one, []string{"M1"}, false},
		"an encoded letter":     {"PATCH", "/ebox/%6dessages", one, []string{"M1"}, false},
		"a blank at the end":    {"PATCH", "/ebox/Messages%20", one, []string{"M1"}, false},
		"an empty segment":      {"PATCH", "/ebox/messages/;x", one, []string{"M1"}, false},
		"a suffix":              {"PATCH", "/ebox/messages.json", one, []string{"M1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ids, more := ebox.MessagesIn(c.method, ebox.ParsePath(c.path), []byte(c.body))
			if name == "more than is recorded" && len(ids) == most {
				ids = nil
			}
			if !slices.Equal(ids, c.ids) || more != c.more {
				t.Errorf("%d ids: %.40q, more: %v", len(ids), ids, more)
			}
		})
	}
}
