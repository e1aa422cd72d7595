package admin

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	htmlrender "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

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
	goldmark.WithParserOptions(parser.WithAutoHeadingID(),
		parser.WithASTTransformers(util.Prioritized(outside{}, 0))),
	goldmark.WithRendererOptions(htmlrender.WithUnsafe()),
)

// pageName is the parser's key for the name of the page.
var pageName = parser.NewContextKey()

// outside makes text of links to files that are in the repository and not served here:
// "the rules" becomes "the rules (deploy/prometheus-rules.yaml in the repository)".
type outside struct{}

// Transform implements parser.ASTTransformer.
func (outside) Transform(page *ast.Document, _ text.Reader, c parser.Context) {
	name, _ := c.Get(pageName).(string)
	var links []*ast.Link
	_ = ast.Walk(page, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it never fails
		if link, ok := n.(*ast.Link); ok && entering {
			links = append(links, link)
		}
		return ast.WalkContinue, nil
	})
	for _, link := range links {
		to, err := url.Parse(string(link.Destination))
		if err != nil || to.Scheme != "" || to.Path == "" {
			continue
		}
		file := path.Join("docs", path.Dir(name), to.Path)
		if _, err := docs.Pages.Open(strings.TrimPrefix(file, "docs/")); err == nil && strings.HasPrefix(file, "docs/") {
			continue
		}
		where := ast.NewString([]byte(" (" + file + " in the repository)"))
		parent := link.Parent()
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			parent.InsertBefore(parent, link, child)
		}
		parent.ReplaceChild(parent, link, where)
	}
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
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/page.css">
</head>
<body class="document">
<nav><a href="/">e-Box gateway</a> · <a href="%s">Operations</a></nav>
`, html.EscapeString(title), Runbook)
	c := parser.NewContext()
	c.Set(pageName, name)
	if err := markdown.Convert(source, &b, parser.WithContext(c)); err != nil {
		fail(w, r, err)
		return
	}
	b.WriteString("</body>\n</html>\n")
	file(b.Bytes(), mediaTypes[".html"])(w, r)
}
