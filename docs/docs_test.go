package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// pages are all that people read first.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.md")
	testkit.Must(t, err)
	callers, err := filepath.Glob("callers/*.md")
	testkit.Must(t, err)
	return append(append(list, callers...), "../README.md")
}

func TestEachAlertHasASectionThatSaysWhatToDo(t *testing.T) {
	var alerts, sections []string
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(testkit.Read(t,
		"../deploy/prometheus-rules.yaml"), -1) {
		alerts = append(alerts, m[1])
	}
	_, about, _ := strings.Cut(testkit.Read(t, "operations.md"), "\n## Alerts\n")
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(about, -1) {
		sections = append(sections, m[1])
	}
	if len(alerts) == 0 {
		t.Fatal("there are no alerts")
	}
	for _, a := range alerts {
		if !slices.Contains(sections, a) {
			t.Errorf("operations.md does not say what to do about %s", a)
		}
	}
	for _, s := range sections {
		if !slices.Contains(alerts, s) {
			t.Errorf("operations.md is about an alert %s, which there is not", s)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	anchor  = regexp.MustCompile(`<a id="([^"]+)">`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	places := make(map[string][]string)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(testkit.Read(t, page), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if fragment == "" || !strings.HasSuffix(path, ".md") {
				continue
			}
			if places[path] == nil {
				places[path] = anchors(t, path)
			}
			if !slices.Contains(places[path], fragment) {
				t.Errorf("%s links to %s, which has no such place", page, m[1])
			}
		}
	}
}

// anchors are the places of a page that can be linked to, as GitHub names them.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	text := testkit.Read(t, page)
	var list []string
	for _, m := range anchor.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		list = append(list, regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(name, ""))
	}
	return list
}

// What protects from a threat, and what holds a promise, are tests that the pages name.
func TestPagesNameTestsThatThereAre(t *testing.T) {
	var there strings.Builder
	for _, where := range []string{"../internal/*/*_test.go", "../internal/*/*/*_test.go", "../cmd/gateway/*_test.go",
		"../test/*/*_test.go"} {
		files, err := filepath.Glob(where)
		testkit.Must(t, err)
		for _, file := range files {
			there.WriteString(testkit.Read(t, file))
		}
	}
	for _, page := range []string{"security.md", "../test/README.md"} {
		named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(testkit.Read(t, page), -1)
		if len(named) < 50 {
			t.Errorf("%s names only %d tests", page, len(named))
		}
		for _, m := range named {
			if !strings.Contains(there.String(), "\nfunc "+m[1]+"(") {
				t.Errorf("%s names a test %s, which there is not", page, m[1])
			}
		}
	}
}

// The README has a key store copied into the checkout, where "git add ." would take it along.
func TestKeysThatAreCopiedIntoTheCheckoutAreIgnored(t *testing.T) {
	ignored := strings.Split(testkit.Read(t, "../.gitignore"), "\n")
	for _, want := range []string{"/client.p12*", "/new.p12", "/new.password", "/*.csv", "/try/"} {
		if !slices.Contains(ignored, want) {
			t.Errorf(".gitignore lacks %s", want)
		}
	}
}

// A command of a page is one that there is, with flags that it has.
func TestCommandsExist(t *testing.T) {
	commands := map[string]bool{"completion": true} // the library's
	files, err := filepath.Glob("../cmd/gateway/*.go")
	testkit.Must(t, err)
	all := ""
	for _, file := range files {
		text := testkit.Read(t, file)
		all += text
		for _, m := range regexp.MustCompile(`(?:Use: +|group\(|maintenanceSwitch\(p, )"([a-z-]+)`).
			FindAllStringSubmatch(text, -1) {
			commands[m[1]] = true
		}
	}
	use := regexp.MustCompile("(?:^|[ `/])gateway(?:\\.new)? ([a-z][a-z-]+)((?: [^`\n|]*)?)")
	flag := regexp.MustCompile(`(?:^| )--([a-z-]+)`)
	seen := 0
	for _, page := range pages(t) {
		for line := range strings.Lines(strings.Join(code(testkit.Read(t, page)), "\n")) {
			for _, m := range use.FindAllStringSubmatch(line, -1) {
				if m[1] == "help" || strings.Contains(line, "curl") || strings.Contains(line, "systemctl") ||
					strings.Contains(line, "kubectl") || strings.Contains(line, "SETUSER") {
					continue
				}
				seen++
				if !commands[m[1]] {
					t.Errorf("%s: there is no command %q: %s", page, m[1], strings.TrimSpace(line))
					continue
				}
				for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
					if !strings.Contains(all, `("`+f[1]+`"`) && !strings.Contains(all, `, "`+f[1]+`"`) {
						t.Errorf("%s: no command has the flag --%s: %s", page, f[1], strings.TrimSpace(line))
					}
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands were found on the pages", seen)
	}
}

// code are the pieces of a page that are code: fenced blocks and what stands between
// backquotes.
func code(text string) (pieces []string) {
	for i, block := range strings.Split(text, "```") {
		if i%2 == 1 {
			pieces = append(pieces, block)
			continue
		}
		for j, span := range strings.Split(block, "`") {
			if j%2 == 1 {
				pieces = append(pieces, span)
			}
		}
	}
	return pieces
}
