package whole_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/simulator"
)

var office = demo.Office.String()

// limited is a caller at 127.0.0.2 that may represent mandated alone; 127.0.0.3 may do
// all, the office's own e-Box included.
const limited = `callers:
  - {name: a, networks: [127.0.0.2/32], enterprises: ["` + mandated + `"], may: [list, change, publish]}
  - {name: all, networks: [127.0.0.3/32], own: true}
  - {name: rest, networks: [127.0.0.0/8]}
`

func (h *house) sendAs(from, method, path, body string, fields ...string) answer {
	h.t.Helper()
	c := h.dial(from)
	defer c.conn.Close()
	lines := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	for _, f := range fields {
		lines += f + "\r\n"
	}
	if body != "" {
		lines += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	c.write(lines + "\r\n" + body)
	return c.read(method)
}

func searching(numbers ...string) string {
	return `{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":["` +
		strings.Join(numbers, `", "`) + `"]}`
}

func preferences(number string) string {
	return `{"eboxId":{"eboxType":"ENTERPRISE","eboxIdValue":"` + number + `"},"exclusivelyEbox":true}`
}

// Whoever asks who looked for an enterprise finds the call that only named it.
func TestTheEvidenceFindsEnterprisesThatACallOnlyNamed(t *testing.T) {
	h, dir := recording(t, "never", add(limited))
	h.sendAs("127.0.0.3", "POST", "/enterprises/"+mandated+"/ebox/federation/eboxPreferences/search",
		searching(mandated, another), "Content-Type: application/json").want(t, 200)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]int{mandated: 1, another: 1, office: 0} {
		all := inChain(t, dir, audit.Query{Enterprise: number})
		if len(all) != want || want > 0 && (all[0].Enterprise != mandated || !slices.Contains(all[0].Named, another)) {
			t.Errorf("of %s there are %d: %+v", number, len(all), all)
		}
	}
}

func TestACallerAsksAboutItsOwnEnterprisesAlone(t *testing.T) {
	h := open(t, add(limited))
	const federation, search = "/ebox/federation", "/ebox/federation/eboxPreferences/search"
	const json, merge = "Content-Type: application/json", merging
	forA, forB := "/enterprises/"+mandated, "/enterprises/"+another
	h.sim.ResetRequests()
	for _, c := range []struct {
		name, from, method, path, body, media string
		status                                int
	}{
		{"others in a search", "127.0.0.2", "POST", forA + search, searching(another, office), json, 403},
		{"one other beside its own", "127.0.0.2", "POST", forA + search, searching(mandated, another), json, 403},
		{"the office's own", "127.0.0.2", "POST", forA + search, searching(office), json, 403},
		{"the office's own, by a rule for all enterprises", "127.0.0.4", "POST", forA + search, searching(office), json, 403},
		{"written otherwise", "127.0.0.2", "POST", forA + search, searching("BE 0212.148.896"), json, 403},
		{"under escapes", "127.0.0.2", "POST", forA + search, `{"\u0065boxIdValueList":["` + another + `"]}`, json, 403},
		{"in the query", "127.0.0.2", "POST", forA + search + "?eboxId=" + another, searching(mandated), json, 403},
		{"in the query, encoded twice", "127.0.0.2", "POST", forA + search + "?ebox%2549d=" + another,
			searching(mandated), json, 403},
		{"hidden in another value", "127.0.0.2", "POST", forA + search + "?q=x%26eboxId%3D" + another,
			searching(mandated), json, 403},
		{"a key twice", "127.0.0.2", "POST", forA + search, `{"eboxIdValueList":["` + mandated + `"],"eboxIdValueList":["` +
			another + `"]}`, json, 400},
		{"no JSON", "127.0.0.2", "POST", forA + search, searching(mandated) + "}", json, 400},
		{"a form that is JSON", "127.0.0.2", "POST", forA + search, searching(mandated),
			"Content-Type: application/x-www-form-urlencoded+json", 400},
		{"text", "127.0.0.2", "POST", forA + search, searching(another), "Content-Type: text/plain", 400},
		{"parts", "127.0.0.2", "POST", forA + search, searching(another), "Content-Type: multipart/form-data; boundary=x",
			400},
		{"a coding", "127.0.0.2", "POST", forA + search, searching(mandated), "Content-Encoding: gzip", 400},
		{"endless", "127.0.0.3", "POST", forA + search, `"` + strings.Repeat("x", 5<<20) + `"`, json, 413},
		{"another's preferences changed", "127.0.0.2", "PATCH", forA + federation + "/eboxPreferences",
			preferences(another), merge, 403},
		{"another's, by somebody who might", "127.0.0.3", "PATCH", forA + federation + "/eboxPreferences",
			preferences(another), merge, 400},
		{"another's as the office's own", "127.0.0.3", "PATCH", "/enterprises/own" + federation + "/eboxPreferences",
			preferences(another), merge, 400},
		{"another marked in a provider's list", "127.0.0.2", "PATCH", forA + nsso + "/ebox/messages",
			`{"items":[{"messageId":"1","eboxId":"` + another + `"}]}`, merge, 403},
		{"another marked in all providers' list", "127.0.0.2", "PATCH", forA + "/ebox/messages",
			`{"items":[{"providerId":"nsso","messageId":"1","eboxId":"` + another + `"}]}`, merge, 403},
		{"published in another's name", "127.0.0.2", "POST", forA + nsso + "/ebox/messages",
			`{"sender":{"enterpriseNumber":"` + another + `"}}`, json, 403},
		{"another's partitions", "127.0.0.2", "GET", "/ebox/partition/ebox/" + another + "/routingRules", "",
			"Accept: */*", 403},
		{"another's partitions than the path's", "127.0.0.3", "GET", forA + "/ebox/partition/ebox/" + another, "",
			"Accept: */*", 400},
		{"another's partitions than the header's", "127.0.0.3", "GET", "/ebox/partition/ebox/" + another, "",
			"On-Behalf-Of-Enterprise-Number: " + mandated, 400},
		{"another's partitions as the office's own", "127.0.0.3", "GET", "/enterprises/own/ebox/partition/ebox/" + another,
			"", "Accept: */*", 400},
		{"partitions of a number under escapes", "127.0.0.2", "GET", forA + "/ebox/partition/ebox/%30" + another[1:], "",
			"Accept: */*", 400},
	} {
		if got := h.sendAs(c.from, c.method, c.path, c.body, c.media); got.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, got.status, c.status, got.body)
		}
	}
	for _, upstream := range []string{simulator.UpstreamFederation, simulator.UpstreamPartition, "provider:nsso"} {
		if n := h.sim.RequestCount(upstream); n != 0 {
			t.Errorf("%s saw %d requests", upstream, n)
		}
	}

	// Whoever asks for what is theirs gets it, and the body goes out unchanged.
	body := " " + searching(mandated) + "\n"
	h.sendAs("127.0.0.2", "POST", forA+search, body, json).want(t, 200)
	if sent := h.last(simulator.UpstreamFederation); sent.BodySHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(body))) {
		t.Errorf("upstream got another body of %d bytes", sent.BodyBytes)
	}
	h.sendAs("127.0.0.3", "POST", forB+search, searching(mandated, another, office), json).want(t, 200)
	h.sendAs("127.0.0.2", "PATCH", forA+federation+"/eboxPreferences", preferences(mandated), merge).want(t, 200)
	if got := h.sendAs("127.0.0.3", "PATCH", "/enterprises/own"+federation+"/eboxPreferences", preferences(office),
		merge); strings.Contains(got.header.Get("Proxy-Status"), "http_request_denied") {
		t.Errorf("the office's own preferences: %d %s", got.status, got.body)
	}
	if got := h.sendAs("127.0.0.2", "POST", forA+nsso+"/ebox/messages", `{"sender":{"enterpriseNumber":"`+mandated+
		`"},"recipient":{"enterpriseNumber":"`+another+`"}}`, json); strings.Contains(got.header.Get("Proxy-Status"),
		"http_request_denied") {
		t.Errorf("a publication: %d %s", got.status, got.body)
	}
}

func TestTheNumberInThePartitionPathStandsForPathAndHeader(t *testing.T) {
	h, dir := recording(t, "4h", add(limited))
	h.sendAs("127.0.0.2", "GET", "/ebox/partition/ebox/"+mandated+"/routingRules", "").want(t, 200)
	if v := h.last(simulator.UpstreamPartition).Header["On-Behalf-Of-Enterprise-Number"]; !slices.Equal(v,
		[]string{mandated}) {
		t.Errorf("upstream saw %q", v)
	}
	h.sendAs("127.0.0.2", "GET", "/ebox/partition/ebox/"+mandated+
		"/hasMandate?operation=publish&mandataryEnterpriseNumber="+mandated, "").want(t, 200)
	h.sendAs("127.0.0.3", "POST", "/enterprises/"+mandated+"/ebox/federation/eboxPreferences/search",
		searching(another, mandated), "Content-Type: application/json").want(t, 200)
	all := h.evidence(dir)
	if len(all) != 3 {
		t.Fatalf("%d records", len(all))
	}
	for i, named := range [][]string{{mandated}, {mandated}, {another, mandated}} {
		if all[i].Enterprise != mandated || !slices.Equal(all[i].Named, named) {
			t.Errorf("record %d: for %s, names %q", i, all[i].Enterprise, all[i].Named)
		}
	}
}
