package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"ebox-gateway/internal/problem"
)

var (
	// variables are ${NAME}, also without its brace, and the $${ that stands for a literal ${.
	variables    = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// bareVariable is what a shell would take for a variable: $NAME, of capital letters.
	bareVariable = regexp.MustCompile(`(?:^|[^$])\$([A-Z_][A-Z0-9_]+)`)
)

// expand replaces every ${NAME} by the environment's value; $${ stands for a
// literal ${. What is inserted is text and is not looked at again. An error names
// every variable that is missing and never a value.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var missing, wrong []string
	expanded := variables.ReplaceAllStringFunc(s, func(found string) string {
		if found == "$${" {
			return "${"
		}
		name, closed := strings.CutSuffix(strings.TrimPrefix(found, "${"), "}")
		value, ok := lookup(name)
		switch {
		case !closed:
			wrong = append(wrong, "${ without its }: write ${NAME} for a variable, $${ for the characters themselves")
		case !variableName.MatchString(name):
			wrong = append(wrong, fmt.Sprintf("${%s} names no environment variable: letters, digits and \"_\" are allowed, no "+
				"defaults or other operators", problem.Clip(name)))
		case !ok:
			missing = append(missing, name)
		}
		return value
	})
	switch len(missing) {
	case 0:
	case 1:
		wrong = append(wrong, "the environment variable "+missing[0]+" is not set")
	default:
		wrong = append(wrong, "the environment variables "+strings.Join(missing, ", ")+" are not set")
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return expanded, nil
}
