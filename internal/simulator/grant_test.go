package simulator_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// instancePattern is what varies in an error: its trace id.
var instancePattern = regexp.MustCompile(`(urn:trace-?[iI]d:)[0-9a-f]{24}"`)

func (l *lab) citizens() sending {
	return l.as(l.token(simulator.ScopeCitizenMandates), 0)
}

func mandateBody(represented, ssin, scopes string) string {
	return fmt.Sprintf(`{"representedEnterpriseNumber":%q,"mandatorSsin":%q,"scopes":%s}`, represented, ssin, scopes)
}

const flexiJob = `["precontractualDataFlexiJob"]`

// The errors of the guide, from the input that the guide describes, as it prints
// them; a trace id is written TRACE.
func TestTheErrorsOfTheGuide(t *testing.T) {
	l := newLab(t)
	send := l.citizens()
	stopped := createdID(t, send("POST", l.GrantURL()+"/mandates", mandateBody("0206731645", "00000000000", flexiJob)))
	is(t, send("POST", l.GrantURL()+"/mandates/"+stopped+"/stop?representedEnterpriseNumber=0206731645", ""),
		200, "", "stopping")
	l.SetGrantHealth(false)
	const withRepresentative = `{"createMandateWithRepresentative":true,`
	for _, c := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"invalid CBE number format", "POST", "/mandates", mandateBody("09333875470", "00000000000", flexiJob), 400},
		{"invalid SSIN number format", "POST", "/mandates", mandateBody("0206731645", "790723000485", flexiJob), 400},
		{"invalid scope", "POST", "/mandates", mandateBody("0206731645", "00000000000", `["precontractualDataFlexiJobs"]`),
			400},
		{"missing scope", "POST", "/mandates", `{"representedEnterpriseNumber":"0206731645","mandatorSsin":"00000000000"}`,
			400},
		{"invalid id format", "GET", "/mandates/hg", "", 400},
		{"conflicting fields", "POST", "/mandates",
			withRepresentative + strings.TrimPrefix(mandateBody("0206731645", "00000000000", flexiJob), "{"), 400},
		{"enterprise not part of the mandate", "GET", "/mandates/" + stopped, "", 403},
		{"enterprise mandate not active", "POST", "/mandates", mandateBody("0474028805", "00000000000", flexiJob), 403},
		{"id not found", "GET", "/mandates/2153151", "", 404},
		{"enterprise unknown in Mahis", "POST", "/mandates", mandateBody("0800002352", "00000000000", flexiJob), 404},
		{"mandate stopped already", "POST", "/mandates/" + stopped + "/stop",
			`{"representedEnterpriseNumber":"0206731645"}`, 409},
		{"representative not found", "POST", "/mandates",
			withRepresentative + `"mandatorSsin":"00000000000","scopes":["precontractualDataStudentJob"]}`, 422},
	} {
		want, err := os.ReadFile("testdata/grant-errors/" + strings.ReplaceAll(c.name, " ", "-") + ".json")
		testkit.Must(t, err)
		r := send(c.method, l.GrantURL()+c.path, c.body)
		got := instancePattern.ReplaceAllString(string(r.body), `${1}TRACE"`)
		if diff := cmp.Diff(string(want), got); r.status != c.status || diff != "" ||
			r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d, want %d; %v; -want +got:\n%s", c.name, r.status, c.status, r.header, diff)
		}
	}
	r := l.send("GET", l.GrantURL()+"/health", "", "Authorization", "Bearer unknown")
	if r.status != 503 || string(r.body) != `{"status":"DOWN"}`+"\n" || r.header.Get("Content-Type") != jsonType {
		t.Errorf("the service is down: %d %s %v", r.status, r.body, r.header)
	}
	l.SetGrantHealth(true)
	is(t, l.send("GET", l.GrantURL()+"/health", ""), 200, `{"status":"UP"}`, "the service is up")
}

func createdID(t *testing.T, r reply) string {
	t.Helper()
	m := decode[struct{ MandateID int }](t, r)
	if r.status != 201 || !strings.HasSuffix(r.header.Get("Location"), fmt.Sprintf("/mandates/%d", m.MandateID)) {
		t.Fatalf("creating: %d %s", r.status, r.body)
	}
	return fmt.Sprint(m.MandateID)
}

// How one is created, read and stopped is in test/whole.
func TestCitizenMandatesAreListedForThoseWhoMay(t *testing.T) {
	l := newLab(t)
	send := l.citizens()
	base := l.GrantURL() + "/mandates"
	const forCustomer = "?representedEnterpriseNumber=0206731645"
	id := createdID(t, send("POST", base, mandateBody("0206731645", "00000000000", flexiJob)))
	is(t, send("POST", base+"/"+id+"/stop"+forCustomer, ""), 200, "STOPPED", "stopping")
	const order = `{"mandatorSsin":"00000000000","scopes":` + flexiJob
	createdID(t, send("POST", base, order+`,"startDate":"2020-01-01","endDate":"2020-12-31"}`))
	for query, want := range map[string]struct {
		status int
		says   string
	}{
		forCustomer: {200, `"status":"STOPPED"`},
		"":          {200, `"status":"ENDED"`},
		"?representedEnterpriseNumber=0406798006":   {200, `"total":1`},
		"?representedEnterpriseNumber=0212148896":   {200, `"total":0`},
		"?representedEnterpriseNumber=0206.731.645": {400, "ECMA 262"},
		"?representedEnterpriseNumber=0800002352":   {404, "DacService"},
		"?representedEnterpriseNumber=0474028805":   {403, "represented enterprise"},
		"?page=0": {400, "a whole number"},
	} {
		is(t, send("GET", base+query, ""), want.status, want.says, query)
	}
	for body, says := range map[string]string{
		`{"mandatorSsin":`: "A JSON object", `[]`: "A JSON object", `null`: "A JSON object", order + `} {}`: "A JSON object",
		`{"mandatorSsin":79072300048,"scopes":` + flexiJob + `}`: `input string \"79072300048\"`,
		order + `,"startDate":"2026-02-30"}`:                     "/startDate",
		order + `,"createMandateWithRepresentative":"yes"}`:      "A boolean",
		`{"MandatorSsin":"00000000000","Scopes":[]}`:             `mandatorSsin\",\"scopes`,
	} {
		is(t, send("POST", base, body), 400, says, body)
	}
	l.control("PUT", "/mandates", `{"enterprise":"0406798006","representative":"0212148896","kind":"dmfa"}`)
	createdID(t, send("POST", base, order+`,"createMandateWithRepresentative":true}`))
}
