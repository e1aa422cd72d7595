package config

import (
	"fmt"
	"strings"
)

// expand replaces every ${NAME} by the environment's value; $${ stands for a
// literal ${. What is inserted is text and is not looked at again. An error
// names the variable and never its value.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	at := strings.Index(s, "${")
	if at < 0 {
		return s, nil
	}
	var b strings.Builder
	for at >= 0 {
		if at > 0 && s[at-1] == '$' {
			b.WriteString(s[:at-1])
			b.WriteString("${")
			s = s[at+2:]
			at = strings.Index(s, "${")
			continue
		}
		b.WriteString(s[:at])
		name, rest, closed := strings.Cut(s[at+2:], "}")
		if !closed {
			return "", fmt.Errorf("${ without its }: write ${NAME} for a variable, $${ for the characters themselves")
		}
		if !isVariable(name) {
			return "", fmt.Errorf("${%s} names no environment variable: letters, digits and \"_\" are allowed, no defaults or other operators", clip(name))
		}
		value, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		b.WriteString(value)
		s = rest
		at = strings.Index(s, "${")
	}
	b.WriteString(s)
	return b.String(), nil
}

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
