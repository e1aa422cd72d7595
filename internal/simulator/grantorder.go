package simulator

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// grantBody is a JSON object by its members' exact names; of a repeated name the
// last counts, as with most parsers.
type grantBody map[string]json.RawMessage

// text gives a member that is a string, or "".
func (b grantBody) text(name string) string {
	var s string
	_ = json.Unmarshal(b[name], &s) // what is no string is refused elsewhere
	return s
}

func (b grantBody) has(name string) bool {
	return b[name] != nil && string(b[name]) != "null"
}

// represented is the customer's number. The guide calls the member
// representedEnterpriseNumber and, in one error, representedEnterprise.
func (b grantBody) represented() string {
	return cmp.Or(b.text("representedEnterpriseNumber"), b.text("representedEnterprise"))
}

// order is a mandate to create, checked against the schema.
type order struct {
	ssin, represented, start, end string
	scopes                        []string
	withRepresentative            bool
}

// readOrder checks in the order in which the guide's errors suggest it: what is
// missing, what has the wrong form, the scopes, then fields that conflict.
func readOrder(b grantBody) (order, *grantError) {
	o := order{ssin: b.text("mandatorSsin"), represented: b.represented(), start: b.text("startDate"),
		end: b.text("endDate")}
	scopesErr := json.Unmarshal(b["scopes"], &o.scopes)
	var missing []string
	if !b.has("mandatorSsin") {
		missing = append(missing, "mandatorSsin")
	}
	if !b.has("scopes") || scopesErr == nil && len(o.scopes) == 0 {
		missing = append(missing, "scopes")
	}
	if len(missing) > 0 {
		return o, badInput(missingIssue(missing))
	}
	var issues []grantIssue
	for _, name := range []string{"representedEnterpriseNumber", "representedEnterprise"} {
		if b.has(name) && !cbePattern.MatchString(b.text(name)) {
			issues = append(issues, patternIssue("body", name, cbePattern, b.written(name)))
		}
	}
	if !ssinPattern.MatchString(o.ssin) {
		issues = append(issues, patternIssue("body", "mandatorSsin", ssinPattern, b.written("mandatorSsin")))
	}
	for _, name := range []string{"startDate", "endDate"} {
		if _, err := time.Parse(time.DateOnly, b.text(name)); b.has(name) && err != nil {
			issues = append(issues,
				bodyIssue(name, "String is invalid against requested date format(s) yyyy-MM-dd", b.written(name)))
		}
	}
	const with = "createMandateWithRepresentative"
	if b.has(with) && json.Unmarshal(b[with], &o.withRepresentative) != nil {
		issues = append(issues, bodyIssue(with, "A boolean is expected", b.written(with)))
	}
	switch {
	case len(issues) > 0:
		return o, badInput(issues...)
	case scopesErr != nil ||
		slices.ContainsFunc(o.scopes, func(s string) bool { return !slices.Contains(citizenScopes, s) }):
		return o, invalidScope("body", b["scopes"])
	case b.has(with) && (b.has("representedEnterpriseNumber") || b.has("representedEnterprise")):
		return o, guideError("inputFieldsConflict", nil)
	}
	return o, nil
}

// written gives a member as it was sent: a string's text, or else the JSON.
func (b grantBody) written(name string) string {
	return cmp.Or(b.text(name), string(b[name]))
}
