package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// expand replaces every ${NAME} by the environment's value; $${ stands for a
// literal ${. What is inserted is text and is not looked at again. An error names
// every variable that is missing and never a value.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	var missing, wrong []string
	for {
		at := strings.Index(s, "${")
		if at < 0 {
			break
		}
		if at > 0 && s[at-1] == '$' {
			b.WriteString(s[:at-1] + "${")
			s = s[at+2:]
			continue
		}
		b.WriteString(s[:at])
		name, rest, closed := strings.Cut(s[at+2:], "}")
		if !closed {
			wrong = append(wrong, "${ without its }: write ${NAME} for a variable, $${ for the characters themselves")
			break
		}
		s = rest
		if !isVariable(name) {
			wrong = append(wrong, fmt.Sprintf("${%s} names no environment variable: letters, digits and \"_\" are allowed, no "+
				"defaults or other operators", clip(name)))
		} else if value, ok := lookup(name); ok {
			b.WriteString(value)
		} else {
			missing = append(missing, name)
		}
	}
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
	b.WriteString(s)
	return b.String(), nil
}

// bareVariable is what a shell would take for a variable: $NAME, of capital letters.
var bareVariable = regexp.MustCompile(`(?:^|[^$])\$([A-Z_][A-Z0-9_]+)`)

func isVariable(name string) bool {
	if name == "" || len(name) > 128 || isDigit(name[0]) {
		return false
	}
	for _, c := range []byte(name) {
		if !isLetter(c) && !isDigit(c) && c != '_' {
			return false
		}
	}
	return true
}
