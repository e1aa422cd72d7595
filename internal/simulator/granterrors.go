package simulator

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// guideErrors are the errors as the grant/citizen guide prints them, but for TRACE and VALUE.
// The order of the members, and the form of instance, differ from error to error: whoever
// writes such an answer anew instead of passing it on is found out.
//
//go:embed granterrors.json
var guideErrors []byte

// grantError is one of the error answers of the guide.
type grantError struct {
	status int
	body   []byte
}

// guideError makes an error with a new trace id, and with a value, if it has one.
func guideError(kind string, value any) *grantError {
	var forms map[string]json.RawMessage
	var out struct{ Status int }
	errForms := json.Unmarshal(guideErrors, &forms)
	if err := json.Unmarshal(forms[kind], &out); errForms != nil || err != nil {
		panic(fmt.Sprintf("reading %s in granterrors.json: %v %v", kind, errForms, err)) // it is part of the program
	}
	var id [12]byte
	_, _ = rand.Read(id[:])         // it never fails
	written, _ := encodeJSON(value) // texts, and JSON that was read
	text := strings.Replace(string(forms[kind]), `"VALUE"`, string(written), 1)
	var body bytes.Buffer
	_ = json.Indent(&body, []byte(strings.Replace(text, "TRACE", hex.EncodeToString(id[:]), 1)), "", "  ")
	body.WriteByte('\n')
	return &grantError{out.Status, body.Bytes()}
}

// grantIssue is what the schema check found about one member.
type grantIssue struct {
	In     string `json:"in"`
	Detail string `json:"detail,omitempty"`
	Name   string `json:"name,omitempty"`
	Value  any    `json:"value,omitempty"`
}

// badInput is the 400 of the schema check.
func badInput(issues ...grantIssue) *grantError { return guideError("badInput", issues) }

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
	return guideError("invalidScope", []grantIssue{{In: in, Name: "scope", Value: sent}})
}
