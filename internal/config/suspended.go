package config

import (
	"errors"
	"fmt"
	"strings"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/files"
)

// LoadSuspended reads a suspended file: CBE numbers, one a line, "#" begins a
// comment. The numbers that could be read are returned even if the error, an
// Errors, says that others could not: a slip in one line must not set another
// enterprise free.
func LoadSuspended(path string) ([]enterprise.Number, error) {
	content, err := files.Read(path, files.Most)
	if err != nil {
		return nil, fmt.Errorf("reading suspended enterprises: %w", err)
	}
	m := &mistakes{}
	numbers := suspended(textOf(path, content, m), m)
	return numbers, m.errors()
}

// suspended reads the numbers that can be read; a repeated one does no harm.
func suspended(src *source, m *mistakes) []enterprise.Number {
	var numbers []enterprise.Number
	line := 0
	for text := range strings.Lines(string(src.content)) {
		line++
		entry, _, _ := strings.Cut(text, "#")
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		n, err := enterprise.Parse(entry)
		if err != nil {
			why := "one enterprise number a line is expected, as in 0206731645, and # before a comment"
			if errors.Is(err, enterprise.ErrCheckDigits) {
				why = "its last two digits do not match the first eight; look for a typing error"
			}
			column := len([]rune(text[:strings.Index(text, entry)])) + 1
			m.add(src, line, column, "", quote(entry)+" is no enterprise number: "+why)
			continue
		}
		numbers = append(numbers, n)
	}
	return numbers
}
