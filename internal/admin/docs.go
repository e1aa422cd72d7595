package admin

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"

	"ebox-gateway/docs"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Runbook is where the listener shows the page that the sections of alerts are on.
const Runbook = "/docs/operations.md"

// markdown makes HTML of the pages. Headings get the ids that links to them have; markup
// within a page is left out.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()))

// document shows one page of the documentation, so that a runbook is at hand wherever the
// gateway is.
func document(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "*")
	text, err := docs.Pages.ReadFile(name)
	if err != nil {
		problem.Write(w, r, problem.NotFound("There is no such page of the documentation here. Begin at "+Runbook+"."),
			call.NewID(), 0)
		return
	}
	title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
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
	if err := markdown.Convert(text, &b); err != nil {
		problem.Write(w, r, problem.Internal(err), call.NewID(), 0)
		return
	}
	b.WriteString("</body>\n</html>\n")
	file(b.Bytes(), mediaTypes[".html"])(w, r)
}
