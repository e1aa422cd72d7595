package config

import (
	"bytes"
	"errors"
	"io"

	"go.yaml.in/yaml/v4"
)

// node is a piece of YAML that knows where it stands.
type node = yaml.Node

const (
	scalarNode   = yaml.ScalarNode
	mappingNode  = yaml.MappingNode
	sequenceNode = yaml.SequenceNode
	aliasNode    = yaml.AliasNode
)

// parseYAML reads the one document in content. Without a document the node is
// nil. A syntax error is reported to m.
func parseYAML(src *source, m *mistakes) *node {
	if i := strangeBreak(src.content); i >= 0 {
		line, column := src.position(i)
		src.unparsed = true
		m.add(src, line, column, "", "a NUL byte or a line break other than LF and CR LF: save the file as plain text")
		return nil
	}
	if line := indentedByTab(src.content); line > 0 {
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
	for i, c := range content {
		switch {
		case c == 0,
			c == '\r' && !bytes.HasPrefix(content[i+1:], []byte{'\n'}),
			c == 0xc2 && bytes.HasPrefix(content[i+1:], []byte{0x85}),
			c == 0xe2 && (bytes.HasPrefix(content[i+1:], []byte{0x80, 0xa8}) ||
				bytes.HasPrefix(content[i+1:], []byte{0x80, 0xa9})):
			return i
		}
	}
	return -1
}

// indentedByTab finds the first line whose indentation has a tab and which is no comment;
// 0 if there is none. Text in a block (|) may have tabs behind its blanks.
func indentedByTab(content []byte) (line int) {
	for text := range bytes.Lines(content) {
		line++
		if rest := bytes.TrimLeft(text, " "); bytes.HasPrefix(rest, []byte{'\t'}) {
			if rest = bytes.TrimSpace(rest); len(rest) > 0 && rest[0] != '#' {
				return line
			}
		}
	}
	return 0
}

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
func isNull(n *node) bool { return n.Kind == scalarNode && n.Tag == "!!null" }
