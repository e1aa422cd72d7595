package simulator

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"ebox-gateway/internal/problem"
)

// grantError is one of the error answers of the grant/citizen guide, with its
// members in the order in which the guide prints them. That order differs from
// error to error, and so does the form of instance: whoever writes such an answer
// anew instead of passing it on is found out.
type grantError struct {
	status  int
	members ordered
}

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, m := range o {
		b.WriteByte("{,"[min(i, 1)])
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := encodeJSON(m.value, false)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// refuseGrant sends the error as the guide prints it, indented.
func (c *call) refuseGrant(e *grantError) {
	compact, err := e.members.MarshalJSON()
	var body bytes.Buffer
	if err == nil {
		err = json.Indent(&body, compact, "", "  ")
	}
	if err != nil {
		c.fail(problem.Internal(err))
		return
	}
	body.WriteByte('\n')
	c.w.Header().Set("Cache-Control", "no-store")
	c.sendBytes(e.status, problem.ContentType, body.Bytes())
}

const (
	badRequestType = "urn:problem-type:belgif:badRequest"
	badRequestPage = "https://www.belgif.be/specification/rest/api-guide/problems/badRequest.html"
	incorrect      = "The input message is incorrect"
	citizenType    = "urn:problem-type:citizenMandates:"
)

// traceInstance names an occurrence in one of the guide's two spellings.
func traceInstance(prefix string) string {
	var id [12]byte
	_, _ = rand.Read(id[:]) // it never fails
	return prefix + hex.EncodeToString(id[:])
}

// badInput is the 400 of the schema check, with the issues it found.
func badInput(issues ...ordered) *grantError {
	members := ordered{
		{"type", badRequestType}, {"href", badRequestPage}, {"instance", traceInstance("urn:trace-id:")},
		{"status", http.StatusBadRequest}, {"title", "Bad Request"}, {"detail", incorrect},
	}
	if len(issues) > 0 {
		members = append(members, member{"issues", issues})
	}
	return &grantError{http.StatusBadRequest, members}
}

func patternIssue(in, name string, pattern *regexp.Regexp, value string) ordered {
	path := "/" + name
	if in == "body" { // named by its JSON pointer
		name = path
	}
	detail := fmt.Sprintf(`[Path '%s'] ECMA 262 regex "%s" does not match input string "%s"`, path, pattern, value)
	return ordered{{"in", in}, {"detail", detail}, {"name", name}, {"value", value}}
}

func missingIssue(names []string) ordered {
	list, _ := json.Marshal(names) // strings never fail
	return ordered{{"in", "body"}, {"detail", "Object has missing required properties (" + string(list) + ")"}}
}

func invalidScope(in string, sent any) *grantError {
	return &grantError{http.StatusBadRequest, ordered{
		{"type", badRequestType}, {"href", badRequestPage}, {"title", "Bad Request"},
		{"status", http.StatusBadRequest}, {"detail", incorrect},
		{"issues", []ordered{{{"in", in}, {"name", "scope"}, {"value", sent}}}},
		{"instance", traceInstance("urn:trace-id:")},
	}}
}

func invalidID(value string) *grantError {
	return &grantError{http.StatusBadRequest, ordered{
		{"type", "urn:problem-type:invalidRequestFormat"}, {"title", "Bad Request"}, {"status", http.StatusBadRequest},
		{"detail", "The request is not valid, please check the content of the issues array for more information"},
		{"instance", traceInstance("urn:traceId:")},
		{"issues", []ordered{{{"in", "query"}, {"name", "mandateId"}, {"value", value},
			{"detail", "Value is invalid. Should be numeric."}}}},
	}}
}

func citizenError(status int, kind, title, detail string) *grantError {
	return &grantError{status, ordered{
		{"type", kind}, {"title", title}, {"status", status}, {"detail", detail},
		{"instance", traceInstance("urn:trace-id:")},
	}}
}

func fieldsConflict() *grantError {
	return citizenError(http.StatusBadRequest, citizenType+"inputFieldsConflict", "Input Fields Conflict",
		"These fields are conflicting [createMandateWithRepresentative, representedEnterprise]; only one of them "+
			"should be provided at a time.")
}

func userNotPartOfMandate() *grantError {
	return citizenError(http.StatusForbidden, citizenType+"userNotPartOfMandate", "User not part of mandate",
		"User that tries to get the mandate should either be the mandator or the mandatary of the mandate.")
}

func representativeForbidden() *grantError {
	return citizenError(http.StatusForbidden, citizenType+"representativeEnterpriseForbidden",
		"Representative not authorized to act on behalf of the CBE number",
		"The authenticated user doesn't have the necessary rights to act on behalf of the represented enterprise")
}

func entityNotFound(id string) *grantError {
	return &grantError{http.StatusNotFound, ordered{
		{"type", "urn:problem-type:entityNotFound"}, {"title", "Not Found"}, {"status", http.StatusNotFound},
		{"detail", "The following entity [" + id + "] was not found"}, {"instance", traceInstance("urn:traceId:")},
	}}
}

func dacService() *grantError {
	return citizenError(http.StatusNotFound, citizenType+"DacService", "Dac Service Problem", "Dac Service Problem")
}

func mandateNotDisableable() *grantError {
	return citizenError(http.StatusConflict, citizenType+"mandateNotDisableable", "Mandate Cannot Be Disabled",
		"The requested mandate cannot be disabled because it is not active or has already been revoked.")
}

// representativeNotFound has no instance, as the guide prints it.
func representativeNotFound() *grantError {
	e := citizenError(http.StatusUnprocessableEntity, citizenType+"representativeNotFound", "No representative",
		"Representative not found. A representative is required when createMandateWithRepresentative is set to true.")
	e.members = e.members[:4]
	return e
}
