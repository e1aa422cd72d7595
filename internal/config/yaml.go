package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"go.yaml.in/yaml/v4"
)

// node is a piece of YAML that knows where it stands.
type node = yaml.Node

// parseYAML reads the one document in content. Without a document the node is
// nil. A syntax error is reported to m.
func parseYAML(src *source, m *mistakes) *node {
	if i := strangeBreak(src.content); i >= 0 {
		line, column := src.position(i)
		src.unparsed = true
		m.add(src, line, column, "", "a NUL byte or a line break other than LF and CR LF: save the file as plain text")
		return nil
	}
	if at := tabs.FindIndex(src.content); at != nil {
		line, _ := src.position(at[0])
		src.unparsed = true
		m.add(src, line, 1, "", "a tab in the indentation: YAML takes blanks alone, two for each level")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(src.content))
	var document node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		addSyntax(src, m, err)
		return nil
	}
	var second node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		addSyntax(src, m, err)
		return nil
	default:
		m.add(src, second.Line, second.Column, "", "a second YAML document (---): put everything into one")
	}
	if len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

// strangeBreak finds what YAML takes for a line break and editors do not, or
// what no text has; -1 if there is none. With it, lines would be counted
// differently here and there, and an excerpt could show the wrong one.
func strangeBreak(content []byte) int {
	known := bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n\n")) // of the same length
	return bytes.IndexAny(known, "\x00\r\u0085\u2028\u2029")
}

// tabs finds a line whose indentation has a tab and which is no comment. Text in a block (|)
// may have tabs behind its blanks.
var tabs = regexp.MustCompile(`(?m)^ *\t[\t ]*[^\s#]`)

func addSyntax(src *source, m *mistakes, err error) {
	src.unparsed = true
	var several *yaml.LoadErrors
	if errors.As(err, &several) && len(several.Errors) > 0 {
		for _, one := range several.Errors {
			m.add(src, one.Mark.Line, one.Mark.Column, "", "this is not YAML: "+one.Message)
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		m.add(src, one.Mark.Line, one.Mark.Column, "", "this is not YAML: "+one.Message)
		return
	}
	m.add(src, 0, 0, "", "this is not YAML: "+err.Error())
}

// isNull tells a key without a value, null or ~.
func isNull(n *node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
