package admin

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	htmlrender "github.com/yuin/goldmark/renderer/html"

	"ebox-gateway/docs"
	"ebox-gateway/internal/problem"
)

// Runbook is where the listener shows the page that the sections of alerts are on.
const Runbook = "/docs/operations.md"

// markdown makes HTML of the pages. Headings get the ids that links to them have. Markup
// within a page, the anchors of the configuration's keys, is taken as it is: the pages are
// the program's own.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.GFM),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(htmlrender.WithUnsafe()),
)

// link is one to a file: its text, the path, and perhaps a section.
var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)#: ]+)(?:#[^) ]*)?\)`)

// named makes text of a page's links to files that are in the repository and not served here:
// "the rules" becomes "the rules (deploy/prometheus-rules.yaml in the repository)".
func named(page string, source []byte) []byte {
	return link.ReplaceAllFunc(source, func(whole []byte) []byte {
		parts := link.FindSubmatch(whole)
		file := path.Join("docs", path.Dir(page), string(parts[2]))
		if inside, ok := strings.CutPrefix(file, "docs/"); ok {
			if _, err := docs.Pages.Open(inside); err == nil {
				return whole
			}
		}
		return fmt.Appendf(nil, "%s (%s in the repository)", parts[1], file)
	})
}

// document shows one page of the documentation, so that a runbook is at hand wherever the
// gateway is.
func document(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "*")
	source, err := docs.Pages.ReadFile(name)
	if err != nil {
		fail(w, r, problem.NotFound("There is no such page of the documentation here. Begin at "+Runbook+"."))
		return
	}
	title, _, _ := strings.Cut(strings.TrimPrefix(string(source), "# "), "\n")
	var b bytes.Buffer
	fmt.Fprintf(&b, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%s · e-Box gateway</title>
<link rel="stylesheet" href="/page/page.css">
</head>
<body class="document">
<nav><a href="/">e-Box gateway</a> · <a href="%s">Operations</a></nav>
`, html.EscapeString(title), Runbook)
	if err := markdown.Convert(named(name, source), &b); err != nil {
		fail(w, r, err)
		return
	}
	b.WriteString("</body>\n</html>\n")
	file(w, r, b.Bytes(), mediaTypes[".html"])
}
