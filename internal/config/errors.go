package config

import (
	"fmt"
	"strings"
)

// Errors are all the mistakes found, in the order in which they stand.
type Errors []Error

// Error is one mistake and where it stands.
type Error struct {
	// File is the name of the file. Line and Column count from 1, the column in
	// characters; both are 0 if the mistake is about the file as a whole.
	File         string
	Line, Column int
	// Path is the path in the YAML, routes[2].upstream; empty in other files.
	Path string
	// Message says what is wrong and what is allowed.
	Message string
	// Excerpt is the offending line, with secrets hidden.
	Excerpt string
}

// Error gives the mistake and, on a line of its own, the line it stands on.
func (e Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		text += ": " + e.Path
	}
	text += ": " + e.Message
	if e.Excerpt != "" {
		text += "\n    " + e.Excerpt
	}
	return text
}

// Error gives all mistakes, one after the other.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
