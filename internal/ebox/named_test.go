package ebox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// namedIn reads a call, "METHOD /path".
func namedIn(line, query, body string) ([]ebox.Named, error) {
	method, path, _ := strings.Cut(line, " ")
	parsed := ebox.ParsePath(path)
	return ebox.NamedIn(ebox.Classify(method, parsed, nil), parsed, query, []byte(body))
}

// say writes what was found as "part number at, …".
func say(list []ebox.Named) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = fmt.Sprintf("%s %s %s %s", n.Part, n.Number, n.In, n.At)
	}
	return strings.Join(texts, ", ")
}

func TestEnterprisesThatACallNames(t *testing.T) {
	const a, b = "0206731645", "0212148896"
	id := func(n string) string { return `{"eboxType":"ENTERPRISE","eboxIdValue":"` + n + `"}` }
	search := func(list string) string {
		return `{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":[` + list + `]}`
	}
	for _, c := range []struct{ name, line, query, body, want string }{
		{"a search of preferences", "POST /eboxPreferences/search", "", search(`"` + a + `","` + b + `","` + a + `"`),
			"asked " + a + " body /eboxIdValueList/0, asked " + b + " body /eboxIdValueList/1"},
		{"preferences changed", "PATCH /eboxPreferences", "", `{"eboxId":` + id(b) + `,"exclusivelyEbox":true}`,
			"changed " + b + " body /eboxId/eboxIdValue"},
		{"the id as a text", "PATCH /eboxPreferences", "", `{"eboxId":"` + b + `"}`, "changed " + b + " body /eboxId"},
		{"a search that is none, since it is written otherwise", "POST /eboxPreferences/Search", "", search(`"` + b + `"`),
			"changed " + b + " body /eboxIdValueList/0"},
		{"citizens", "POST /citizenEboxConsents/search", "",
			`{"eboxType":"CITIZEN","eboxIdValueList":["79072300048","00212148896"]}`, ""},
		{"an enterprise among citizens", "POST /citizenEboxConsents/search", "", `{"eboxIdValueList":["79072300048","` +
			b + `"]}`, "asked " + b + " body /eboxIdValueList/1"},
		{"a publication of version 2", "POST /publishMessage", "", `{"recipient":` + id(b) + `,"senderOrganizationId":"` +
			a + `","subject":{"nl":"0474028805"}}`,
			"recipient " + b + " body /recipient/eboxIdValue, sender " + a + " body /senderOrganizationId"},
		{"a publication of version 3", "POST /ebox/messages/", "",
			`{"recipient":{"eboxType":"enterprise","enterpriseNumber":"` + b +
				`"},"sender":{"eboxType":"enterprise","enterpriseNumber":"` + a +
				`","partition":"GENERAL"},"forTheAttentionOf":{"ssin":"79072300048"}}`,
			"recipient " + b + " body /recipient/enterpriseNumber, sender " + a + " body /sender/enterpriseNumber"},
		{"a publication for a citizen", "POST /ebox/messages", "",
			`{"recipient":{"eboxType":"citizen","ssin":"79072300048"}}`, ""},
		{"a reply", "POST /ebox/messages/17/replies", "", `{"recipient":` + id(b) + `}`, "recipient " + b +
			" body /recipient/eboxIdValue"},
		{"a broadcast", "POST /linkEboxMessage", "", `{"messageId":"1","recipients":[` + id(a) + `,` + id(b) + `]}`,
			"recipient " + a + " body /recipients/0/eboxIdValue, recipient " + b + " body /recipients/1/eboxIdValue"},
		{"how a message fares", "POST /searchMessageStatus", "", `[{"messageId":"1","eboxId":` + id(b) + `}]`,
			"recipient " + b + " body /0/eboxId/eboxIdValue"},
		{"messages marked", "PATCH /ebox/messages", "", `{"items":[{"messageId":"1000000001","visible":false}]}`, ""},
		{"messages marked in another e-Box", "PATCH /ebox/messages", "", `{"items":[{"messageId":"1","eboxId":` + id(b) +
			`}]}`, "changed " + b + " body /items/0/eboxId/eboxIdValue"},
		{"a name that ends at a NUL", "GET /ebox/messages", "enterpriseNumber%00x=" + b, "",
			"asked " + b + " query enterpriseNumber\x00x"},
		{"a filter by sender", "GET /ebox/messages", "senderOrganizationId=" + b + "&q=" + a, "", ""},
		{"a filter by sender in a body", "POST /ebox/messages/search", "",
			`{"sender":{"enterpriseNumber":"` + b + `"}}`, ""},
		{"another e-Box in a search", "POST /ebox/messages/search", "", `{"enterpriseNumber":"` + b + `"}`,
			"asked " + b + " body /enterpriseNumber"},
		{"a mandate", "GET /ebox/" + a + "/hasMandate", "mandataryEnterpriseNumber=" + b + "&operation=publish", "",
			"mandatary " + b + " query mandataryEnterpriseNumber"},
		{"a query parted by semicolons", "GET /ebox/" + a + "/hasMandate",
			"operation=publish;mandataryEnterpriseNumber=" + b,
			"", "mandatary " + b + " query mandataryEnterpriseNumber"},
		{"an e-Box in the query", "GET /statistics", "filter[eboxId]=BE0212.148.896," + a, "",
			"asked " + b + " query filter[eboxId], asked " + a + " query filter[eboxId]"},
		{"other forms of the number", "POST /eboxPreferences/search", "", search(`"BE 0206.731.645", 212148896`),
			"asked " + a + " body /eboxIdValueList/0, asked " + b + " body /eboxIdValueList/1"},
		{"another spelling of the name", "PATCH /eboxPreferences", "", `{"EBOX_ID":{"Ebox-Id-Value":"` + b + `"}}`,
			"changed " + b + " body /EBOX_ID/Ebox-Id-Value"},
		{"an escaped name", "PATCH /eboxPreferences", "", `{"\u0065boxId":"` + b + `"}`, "changed " + b + " body /eboxId"},
		{"nested", "PUT /anything", "", `[[{"x":{"eboxIdValueList":[[["` + b + `"]]]}}]]`,
			"changed " + b + " body /0/0/x/eboxIdValueList/0/0/0"},
		{"what is no number passes, for the upstream to refuse", "PATCH /eboxPreferences", "",
			`{"eboxId":{"eboxType":"ENTERPRISE","eboxIdValue":"x12","y":null,"z":true}}`, ""},
		{"no body", "GET /ebox", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := namedIn(c.line, c.query, c.body)
			if err != nil || say(got) != c.want {
				t.Errorf("%v %s\nwant %s", err, say(got), c.want)
			}
		})
	}
}

func TestWhatCouldNameAnotherEnterpriseIsRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	for _, c := range []struct{ name, query, body, at string }{
		{"a key twice", "", `{"eboxId":"0206731645","eboxId":"0212148896"}`, "/eboxId"},
		{"a key twice, once escaped", "", `{"eboxId":"0206731645","\u0065boxId":"0212148896"}`, "/eboxId"},
		{"a key twice in another case", "", `{"eboxId":"0206731645","EboxID":"0212148896"}`, "/EboxID"},
		{"too deep", "", deep, ""},
		{"invalid UTF-8", "", "{\"eboxId\":\"\xff\"}", ""},
		{"no JSON", "", `{"eboxId":`, ""},
		{"a byte order mark", "", "\ufeff{}", ""},
		{"wrong check digits", "", `{"eboxId":"0206731646"}`, "/eboxId"},
		{"digits of another script", "", `{"eboxId":"٠٢١٢١٤٨٨٩٦"}`, "/eboxId"},
		{"scientific notation", "", `{"eboxId":2.12148896e8}`, "/eboxId"},
		{"a JSON Patch", "", `[{"op":"replace","path":"/eboxId/eboxIdValue","value":"0212148896"}]`, "/0/path"},
		{"a value encoded twice", "eboxId=%2530212148896", "", "eboxId"},
		{"a query that cannot be decoded", "eboxId=%zz", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := namedIn("PATCH /eboxPreferences", c.query, c.body)
			var p *problem.Problem
			if !errors.As(err, &p) || p.Status != 400 || len(p.Issues) != 1 || c.at != "" && p.Issues[0].Name != c.at {
				t.Fatalf("%s %v %+v", say(got), err, p)
			}
		})
	}
}

func TestACallNamesNoMoreEnterprisesThanCanBeLookedAt(t *testing.T) {
	const most = 50_000
	body := func(count int) string {
		b := []byte(`{"eboxIdValueList":[""`)
		for i := range count {
			n := 2_000_000 + i
			b = fmt.Appendf(b, `,"%08d%02d"`, n, 97-n%97)
		}
		return string(b) + "]}"
	}
	list, err := namedIn("POST /eboxPreferences/search", "", body(most))
	if err != nil || len(list) != most {
		t.Fatalf("%d, %v", len(list), err)
	}
	if _, err := namedIn("POST /eboxPreferences/search", "", body(most+1)); err == nil {
		t.Error("one more was taken")
	}
}

func TestTheEnterpriseInAPath(t *testing.T) {
	const template = "/ebox/{enterpriseNumber}"
	for want, paths := range map[string][]string{
		"0206731645": {"/ebox/0206731645", "/ebox/0206731645/", "/ebox/0206731645/hasMandate",
			"/ebox/0206731645/routingRules/3"},
		"none": {"/ebox", "/ebox/", "/health", "/api/doc/0206731645", ""},
		"400": {"/ebox/0206.731.645/hasMandate", "/ebox/206731645/hasMandate", "/ebox/0206731646/hasMandate",
			"/ebox/x/hasMandate", "/EBOX/0206731645/hasMandate", "//ebox/0206731645/hasMandate",
			"/ebox//0206731645/hasMandate", "/ebox;a/0206731645/hasMandate", "/ebox/0206731645;a/hasMandate",
			"/ebox/%30206731645/hasMandate", "/%65box/0206731645/hasMandate", "/ebox/0206731645%20/hasMandate",
			"/ebox/0206731645.json", "/ebox/0206731645%3Fx"},
	} {
		for _, path := range paths {
			n, found, err := ebox.EnterpriseIn(template, ebox.ParsePath(path))
			got := n.String()
			if err != nil {
				got = "400"
			} else if !found {
				got = "none"
			}
			if got != want || err != nil && !found {
				t.Errorf("%s: %s, %t, %v", path, n, found, err)
			}
		}
	}
	const below = "/v1/{n}/things"
	if n, found, err := ebox.EnterpriseIn(below, ebox.ParsePath("/v1/0206731645/things/5")); n.String() != "0206731645" ||
		!found || err != nil {
		t.Errorf("%s %t %v", n, found, err)
	}
	if _, found, err := ebox.EnterpriseIn(below, ebox.ParsePath("/v1/0206731645/others")); found || err != nil {
		t.Errorf("another path: %t %v", found, err)
	}
}

// What encoding/json finds under the names that count is found as well, or the body is
// refused.
func FuzzNamedIn(f *testing.F) {
	for _, s := range []string{
		`{"eboxId":{"eboxIdValue":"0206731645"}}`, `{"eboxIdValueList":["0206731645",212148896,[{"x":"BE0206.731.645"}]]}`,
		`{"\u0065boxId":1,"eboxId":"0206731645"}`,
		`[{"eboxid":"0206731645"},{"enterpriseNumber":2.06e8}]`, `{"sender":{"enterpriseNumber":"0206731645"}}`, "{}", "",
		"[[[[", "{\"eboxId\":\"\xff\"}", `{"eboxId":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := namedIn("PATCH /eboxPreferences", "", string(body))
		if err != nil {
			if !errors.As(err, new(*problem.Problem)) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		found := make(map[enterprise.Number]bool)
		for _, n := range got {
			found[n.Number] = true
		}
		var whole any
		if len(body) > 0 && json.Unmarshal(body, &whole) != nil {
			t.Fatalf("%q was understood", body)
		}
		var walk func(v any, held bool)
		walk = func(v any, held bool) {
			switch v := v.(type) {
			case []any:
				for _, one := range v {
					walk(one, held)
				}
			case map[string]any:
				for name, one := range v {
					walk(one, held || strings.EqualFold(name, "eboxId") || strings.EqualFold(name, "eboxIdValueList") ||
						strings.EqualFold(name, "enterpriseNumber"))
				}
			case string:
				if n, err := enterprise.Parse(v); held && err == nil && !found[n] {
					t.Fatalf("%s was not found in %q", n, body)
				}
			}
		}
		walk(whole, false)
	})
}

// A publication is read whole before it is sent: that must stay a small part of what a call costs.
func BenchmarkNamedIn(b *testing.B) {
	lines := strings.Repeat(`{"no":1,"account":"1000","amount":17.00,"text":"line"},`, 70)
	body := []byte(`{"recipient":{"eboxId":"0206731645"},"lines":[` + lines[:len(lines)-1] + `]}`)
	path := ebox.ParsePath("/publishMessage")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ebox.NamedIn(ebox.Classify("POST", path, nil), path, "", body); err != nil {
			b.Fatal(err)
		}
	}
}
