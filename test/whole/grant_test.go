package whole_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

const (
	grant    = "/grant/citizen"
	asJSON   = "Content-Type: application/json"
	citizen  = "79072300048"
	flexiJob = `"mandatorSsin":"79072300048","scopes":["precontractualDataFlexiJob"]`
)

// post sends a JSON body.
func (h *house) post(path, body string, fields ...string) answer {
	h.t.Helper()
	return h.send("POST", path, strings.NewReader(body), append(fields, asJSON)...)
}

// newMandate creates a mandate for an enterprise and gives its id.
func (h *house) newMandate(enterprise string) string {
	h.t.Helper()
	a := h.post(grant+"/mandates", `{`+flexiJob+`,"representedEnterpriseNumber":"`+enterprise+`"}`).want(h.t, 201)
	var mandate struct {
		ID int64 `json:"mandateId"`
	}
	if err := json.Unmarshal([]byte(a.body), &mandate); err != nil || mandate.ID == 0 {
		h.t.Fatalf("no mandate in %s: %v", a.body, err)
	}
	return strconv.FormatInt(mandate.ID, 10)
}

func TestLifeOfACitizenMandate(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "0s")
	var ids, made []string
	const named, asksJSON = "?representedEnterpriseNumber=" + mandated, "Accept: application/json"
	for _, c := range []struct{ prefix, field string }{
		{"", asksJSON}, // named in the body alone
		{"/enterprises/" + mandated, asksJSON},
		{"", "On-Behalf-Of-Enterprise-Number: " + mandated},
	} {
		order := "{ " + flexiJob + ",\n\t\"representedEnterpriseNumber\" : \"\\u0030206731645\"} "
		created := h.post(c.prefix+grant+"/mandates", order, c.field).want(t, 201)
		location := created.header.Get("Location")
		self := strings.TrimPrefix(location, h.Base)
		id := self[strings.LastIndexByte(self, '/')+1:]
		if self != c.prefix+grant+"/mandates/"+id || !strings.Contains(created.body, `"mandateId":`+id) {
			t.Fatalf("the id is not the last segment of Location %q", location)
		}
		ids = append(ids, id)
		sum := sha256.Sum256([]byte(order))
		if sent := h.last(simulator.UpstreamGrant); sent.Enterprise != mandated ||
			sent.BodySHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("upstream saw %q in the header, or another body", sent.Enterprise)
		}
		if c.prefix != "" || c.field != asksJSON {
			h.get(self, c.field).want(t, 200)
			if sent := h.last(simulator.UpstreamGrant); !strings.HasSuffix(sent.Target, named) {
				t.Errorf("upstream saw %q", sent.Target)
			}
			h.get(c.prefix+grant+"/mandates", c.field).want(t, 200)
		}
		h.get(self+named, c.field).want(t, 200)
		if list := h.get(c.prefix+grant+"/mandates"+named, c.field).want(t, 200); !strings.Contains(list.body,
			`"href":"`+location+`"`) {
			t.Errorf("the list does not lead to %s: %s", self, list.body)
		}
		stopped := h.post(self+"/stop", `{"representedEnterpriseNumber":"`+mandated+`"}`, c.field).want(t, 200)
		if !strings.Contains(stopped.body, `"status":"STOPPED"`) {
			t.Errorf("%s", stopped.body)
		}
	}
	for _, r := range h.evidence(dir) {
		if r.Status == http.StatusCreated {
			made = append(made, r.Created...)
		}
	}
	if !slices.Equal(made, ids) {
		t.Errorf("made %q, recorded %q", ids, made)
	}
}

// The gateway must not write anew what upstream wrote. Which errors there are is in package simulator.
func TestTheErrorsOfTheGuideArriveByteForByte(t *testing.T) {
	t.Parallel()
	h := open(t)
	const problem = "application/problem+json"
	for _, c := range []struct {
		status            int
		contentType, body string
	}{
		{400, problem, "{\n\"status\" :400, \"instance\":\"urn:UUID:1\",\"type\":\"urn:problem-type:x\"}\n"},
		{409, problem, `{"type":"urn:problem-type:cbss:mandateNotDisableable","detail":"a\/\u0062","detail":"twice"}`},
		{422, problem + ";charset=UTF-8", `{"href":"` + h.sim.GrantURL() + `/mandates/1","status":422}`},
		{503, "application/json", ` {"status":"DOWN"} `},
	} {
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: simulator.UpstreamGrant, Kind: simulator.FaultStatus, Status: c.status,
			ContentType: c.contentType, Body: c.body, Header: http.Header{"Content-Language": {"nl", "fr"}}})
		got := orderMandate(h).want(t, c.status)
		if got.body != c.body || got.header.Get("Content-Type") != c.contentType ||
			!slices.Equal(got.header["Content-Language"], []string{"nl", "fr"}) ||
			strings.Contains(got.header.Get("Proxy-Status"), "error=") {
			t.Errorf("of %q arrived %v %q", c.body, got.header, got.body)
		}
		for _, name := range []string{"Via", "Proxy-Status", "X-Request-Id", "X-Ebox-Environment"} {
			if len(got.header[name]) != 1 {
				t.Errorf("%s: %q", name, got.header[name])
			}
		}
	}
}

func TestWhoseMandateIsWorkedOutFromAllThatTheRequestSays(t *testing.T) {
	t.Parallel()
	h := open(t, add(`
callers:
  - {name: all, networks: [127.0.0.1], own: true}
  - {name: hr, networks: [127.0.0.2], enterprises: ["`+mandated+`"]}
`))
	// What upstream could read otherwise than the gateway is not sent.
	const all, hr = "127.0.0.1", "127.0.0.2"
	const list, mine = grant + "/mandates", "/enterprises/" + mandated + grant + "/mandates"
	const anonymous, of = `{` + flexiJob + `}`, `{` + flexiJob + `,"representedEnterpriseNumber":"`
	for _, c := range []struct {
		name, from, method, path, body string
		status                         int
		sent                           bool
	}{
		{"path and body agree", hr, "POST", "/enterprises/BE0206.731.645" + list, of + mandated + `"}`, 201, true},
		{"path and body disagree", all, "POST", mine, of + another + `"}`, 400, false},
		{"query escaped", hr, "GET", list + "?%72epresentedEnterpriseNumber=" + another, "", 403, false},
		{"GET by path alone", hr, "GET", mine + "?", "", 200, true},
		{"POST repeats it nowhere, path", all, "POST", mine, anonymous, 400, false},
		{"with representative", all, "POST", mine, `{` + flexiJob + `,"createMandateWithRepresentative":true}`,
			422, true},
		{"no number, own", all, "POST", list, anonymous, 201, true},
		{"no number in any form, upstream's to refuse", all, "POST", list, of + `09333875470"}`, 400, true},
		{"health needs nothing", hr, "GET", grant + "/health", "", 200, true},
		{"a key repeated with an escape", all, "POST", list,
			of + mandated + `","\u0072epresentedEnterpriseNumber":"` + another + `"}`, 400, false},
		{"not listed, nested", all, "POST", list, `{"a":[{"b":{"representedEnterpriseNumber":"` + unlisted + `"}}]}`,
			403, false},
		{"mine outside and another's inside", all, "POST", list,
			of + mandated + `","a":{"representedEnterpriseNumber":"` + another + `"}}`, 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			h.sendAs(c.from, c.method, c.path, c.body, asJSON).want(t, c.status)
			if n := h.sim.RequestCount(simulator.UpstreamGrant); (n > 0) != c.sent {
				t.Errorf("upstream saw %d requests", n)
			}
		})
	}
}

func TestBodiesOverTheLimitAreRefusedWithoutBeingAskedFor(t *testing.T) {
	t.Parallel()
	h := open(t)
	const start = "POST " + grant + "/mandates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	t.Run("declared", func(t *testing.T) {
		c := h.dial("")
		c.write(start + "Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n")
		p := c.read("POST").want(t, http.StatusRequestEntityTooLarge).problem(t) // a 100 would have come first
		if p["limit"] != float64(1e6) || p["type"] != "urn:problem-type:belgif:payloadTooLarge" {
			t.Errorf("%v", p)
		}
		if !c.closed() {
			t.Error("the connection stays open for a body that nobody reads")
		}
	})
	t.Run("at the limit", func(t *testing.T) {
		head := `{` + flexiJob + `,"representedEnterpriseNumber":"` + mandated + `","x":"`
		h.post(grant+"/mandates", head+strings.Repeat("x", 1e6-len(head)-2)+`"}`).want(t, 201)
	})
	t.Run("one that may come is asked for", func(t *testing.T) {
		body := `{` + flexiJob + `,"representedEnterpriseNumber":"` + mandated + `"}`
		c := h.dial("")
		c.write(start + "Expect: 100-continue\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
		c.read("POST").want(t, http.StatusContinue)
		c.write(body)
		c.read("POST").want(t, 201)
		if r := h.last(simulator.UpstreamGrant); r.Header.Get("Expect") != "" {
			t.Error("upstream is asked whether it wants a body that the gateway holds already")
		}
	})
	if n := h.sim.RequestCount(simulator.UpstreamGrant); n != 2 {
		t.Errorf("upstream saw %d requests instead of the 2 that are right", n)
	}
}
