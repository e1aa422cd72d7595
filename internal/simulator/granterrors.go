package simulator

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"ebox-gateway/internal/problem"
)

// grantError is one of the error answers of the grant/citizen guide.
type grantError struct {
	status int
	body   []byte
}

// grantIssue is what the schema check found about one member.
type grantIssue struct {
	In     string `json:"in"`
	Detail string `json:"detail"`
	Name   string `json:"name,omitempty"`
	Value  any    `json:"value,omitempty"`
}

// guideError makes an error as the guide prints it, indented, with a new trace id for TRACE
// and values, as JSON, in the places of %s. The order of the members, and the form of
// instance, differ from error to error: whoever writes such an answer anew instead of passing
// it on is found out.
func guideError(status int, form string, values ...any) *grantError {
	var id [12]byte
	_, _ = rand.Read(id[:]) // it never fails
	form = strings.Replace(form, "TRACE", hex.EncodeToString(id[:]), 1)
	for i, v := range values {
		values[i], _ = encodeJSON(v) // texts, and JSON that was read
	}
	var body bytes.Buffer
	_ = json.Indent(&body, fmt.Appendf(nil, form, values...), "", "  ")
	body.WriteByte('\n')
	return &grantError{status, body.Bytes()}
}

// orRefuse serves with a handler that either answers or gives the error to answer with. The
// body is read whole before.
func orRefuse(handle func(*call) (response, *grantError)) func(*call) response {
	return func(c *call) response {
		body, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
		if c.body = body; err != nil || len(body) > maxJSON {
			c.body = []byte("{") // no JSON, and so refused as such
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		answer, refusal := handle(c)
		if refusal == nil {
			return answer
		}
		c.w.Header().Set("Cache-Control", "no-store")
		return c.sendBytes(refusal.status, problem.ContentType, refusal.body)
	}
}

const badRequestForm = `"type":"urn:problem-type:belgif:badRequest",` +
	`"href":"https://www.belgif.be/specification/rest/api-guide/problems/badRequest.html",`

// badInput is the 400 of the schema check, with the issues it found.
func badInput(issues ...grantIssue) *grantError {
	const form = "{" + badRequestForm + `"instance":"urn:trace-id:TRACE","status":400,"title":"Bad Request",` +
		`"detail":"The input message is incorrect"`
	if len(issues) == 0 {
		return guideError(http.StatusBadRequest, form+"}")
	}
	return guideError(http.StatusBadRequest, form+`,"issues":%s}`, issues)
}

// bodyIssue names a member of the body by its JSON pointer.
func bodyIssue(name, detail string, value any) grantIssue {
	return grantIssue{In: "body", Detail: "[Path '/" + name + "'] " + detail, Name: "/" + name, Value: value}
}

func patternIssue(in, name string, pattern *regexp.Regexp, value string) grantIssue {
	issue := bodyIssue(name, fmt.Sprintf(`ECMA 262 regex "%s" does not match input string "%s"`, pattern, value), value)
	if in != "body" {
		issue.In, issue.Name = in, name
	}
	return issue
}

func missingIssue(names []string) grantIssue {
	list, _ := json.Marshal(names) // strings never fail
	return grantIssue{In: "body", Detail: "Object has missing required properties (" + string(list) + ")"}
}

func invalidScope(in string, sent any) *grantError {
	return guideError(http.StatusBadRequest, "{"+badRequestForm+`"title":"Bad Request","status":400,`+
		`"detail":"The input message is incorrect","issues":[{"in":%s,"name":"scope","value":%s}],`+
		`"instance":"urn:trace-id:TRACE"}`, in, sent)
}

func invalidID(value string) *grantError {
	return guideError(http.StatusBadRequest, `{"type":"urn:problem-type:invalidRequestFormat","title":"Bad Request",`+
		`"status":400,"detail":"The request is not valid, please check the content of the issues array for more `+
		`information","instance":"urn:traceId:TRACE","issues":[{"in":"query","name":"mandateId","value":%s,`+
		`"detail":"Value is invalid. Should be numeric."}]}`, value)
}

func entityNotFound(id string) *grantError {
	return guideError(http.StatusNotFound, `{"type":"urn:problem-type:entityNotFound","title":"Not Found","status":404,`+
		`"detail":%s,"instance":"urn:traceId:TRACE"}`, "The following entity ["+id+"] was not found")
}

// citizenErrors are those with types of their own, by the last part of the type.
var citizenErrors = map[string]struct {
	status        int
	title, detail string
}{
	"inputFieldsConflict": {http.StatusBadRequest, "Input Fields Conflict", "These fields are conflicting " +
		"[createMandateWithRepresentative, representedEnterprise]; only one of them should be provided at a time."},
	"userNotPartOfMandate": {http.StatusForbidden, "User not part of mandate", "User that tries to get the mandate " +
		"should either be the mandator or the mandatary of the mandate."},
	"representativeEnterpriseForbidden": {http.StatusForbidden,
		"Representative not authorized to act on behalf of the CBE number",
		"The authenticated user doesn't have the necessary rights to act on behalf of the represented enterprise"},
	"DacService": {http.StatusNotFound, "Dac Service Problem", "Dac Service Problem"},
	"mandateNotDisableable": {http.StatusConflict, "Mandate Cannot Be Disabled",
		"The requested mandate cannot be disabled because it is not active or has already been revoked."},
}

func citizenError(kind string) *grantError {
	e := citizenErrors[kind]
	return guideError(e.status, `{"type":%s,"title":%s,"status":%s,"detail":%s,"instance":"urn:trace-id:TRACE"}`,
		"urn:problem-type:citizenMandates:"+kind, e.title, e.status, e.detail)
}

// representativeNotFound has no instance, as the guide prints it.
func representativeNotFound() *grantError {
	return guideError(http.StatusUnprocessableEntity, `{"type":"urn:problem-type:citizenMandates:representativeNotFound",`+
		`"title":"No representative","status":422,"detail":"Representative not found. A representative is required `+
		`when createMandateWithRepresentative is set to true."}`)
}
