package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// mostWords is how long a sentence of a page may be. Code between backquotes is one word.
const mostWords = 30

var (
	block    = regexp.MustCompile("(?s)```.*?```")
	span     = regexp.MustCompile("`[^`]*`")
	target   = regexp.MustCompile(`\]\([^)]*\)`)
	piece    = regexp.MustCompile(`\n\s*\n|\n\s*[-*] |\n\s*\d+\. |\n#+ |\|`)
	sentence = regexp.MustCompile(`[.!?]['")*_]*\s+`)
	word     = regexp.MustCompile(`[\pL\pN_][\pL\pN_'-]*`)
)

// longSentences are those of a page with more than mostWords words. Cells of tables, items
// of lists and headings are sentences of their own.
func longSentences(text string) (list []string) {
	text = block.ReplaceAllString(text, "\n\n")
	text = target.ReplaceAllString(span.ReplaceAllString(text, "X"), "]")
	for _, p := range piece.Split(text, -1) {
		for _, s := range sentence.Split(p, -1) {
			if len(word.FindAllString(s, -1)) > mostWords {
				list = append(list, strings.Join(strings.Fields(s), " "))
			}
		}
	}
	return list
}

func TestSentencesAreShort(t *testing.T) {
	decisions, err := filepath.Glob("decisions/*.md")
	testkit.Must(t, err)
	for _, page := range append(append(pages(t), decisions...), "../CONTRIBUTING.md", "../SECURITY.md",
		"../CHANGELOG.md", "../bench/README.md") {
		for _, s := range longSentences(testkit.Read(t, page)) {
			t.Errorf("%s: more than %d words: %s", page, mostWords, s)
		}
	}
}

func TestLongSentencesAreFound(t *testing.T) {
	long := strings.Repeat("word ", mostWords)
	for text, want := range map[string]int{
		long + "word.":                          1,
		long + ". Short.":                       0,
		long + "(`a long one`), and. Short.":    1,
		"| " + long + "| " + long + "|":         0,
		"Short. " + long + "\nword.":            1,
		"```\n" + long + long + "```":           0,
		"- " + long + "\n- " + long:             0,
		long + "word (and more). " + long + ".": 1,
	} {
		if got := longSentences(text); len(got) != want {
			t.Errorf("%d in %q", len(got), text)
		}
	}
}
