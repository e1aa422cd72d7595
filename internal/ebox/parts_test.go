package ebox_test

import (
	"fmt"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

func TestEnterprisesThatThePartsOfAPublicationName(t *testing.T) {
	const a, b = "0206731645", "0212148896"
	type part struct {
		name    string
		json    bool
		content string
	}
	for name, c := range map[string]struct {
		parts []part
		want  string
	}{
		"a message of version 2": {[]part{{"messageToPublish", true, `{"recipient":{"eboxIdValue":"` + a +
			`"},"senderOrganizationId":"` + b + `"}`}}, "recipient " + a + ", sender " + b},
		"without being called JSON": {[]part{{"messageToPublish", false, `{"senderOrganizationId":"` + b + `"}`}},
			"sender " + b},
		"a field":                {[]part{{"senderOrganizationId", false, b}}, "sender " + b},
		"a dotted field":         {[]part{{"sender.enterpriseNumber", false, b}}, "sender " + b},
		"a bracketed field":      {[]part{{"sender[enterprise_number]", false, b}}, "sender " + b},
		"a field in JSON":        {[]part{{"sender.enterpriseNumber", true, `"` + b + `"`}}, "sender " + b},
		"an object under a name": {[]part{{"sender", true, `{"enterpriseNumber":"` + b + `"}`}}, "sender " + b},
		"each once": {[]part{{"a", true, `{"senderOrganizationId":"` + b + `"}`}, {"b", true,
			`{"senderOrganizationId":"` + b + `","recipient":{"enterpriseNumber":"` + b + `"}}`}},
			"sender " + b + ", recipient " + b},
		"none":                     {[]part{{"upload1", true, `{"a":"` + b + `"}`}}, ""},
		"no JSON":                  {[]part{{"upload1", true, `{"a":1}{}`}}, "400"},
		"a message that is none":   {[]part{{"messageToPublish", false, `x`}}, "400"},
		"a number that is none":    {[]part{{"senderOrganizationId", false, "0206731646"}}, "400"},
		"a number in another form": {[]part{{"senderOrganizationId", false, "BE 0212.148.896"}}, "sender " + b},
	} {
		t.Run(name, func(t *testing.T) {
			all := ebox.PartsOf(ebox.Publish, ebox.ParsePath("/ebox/messages"))
			var got []string
			for _, p := range c.parts {
				named, err := all.Read(p.name, p.json, []byte(p.content))
				if err != nil {
					got = append(got, "400")
				}
				for _, n := range named {
					got = append(got, fmt.Sprint(n.Part, " ", n.Number))
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

func TestPartsThatAreReadWhateverTheyAre(t *testing.T) {
	p := ebox.PartsOf(ebox.Publish, ebox.ParsePath("/ebox/messages"))
	for name, want := range map[string]bool{
		"messageToPublish": true, "message_to-publish": true, "senderOrganizationId": true, "sender.enterpriseNumber": true,
		"SENDER[eboxIdValue]": true, "": false, "upload1": false, "sender": false, "subject": false,
	} {
		if p.Reads(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
