package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// read reads a YAML enterprise file, by the fast reader if it accepts it and
// plain says so, else by the full one.
func readYAML(content string, plain bool) (list []Enterprise, accepted bool, err error) {
	m := &mistakes{}
	d := &decoder{src: &source{name: "config.yaml"}, m: m, lookup: environment, day: brusselsForTest, nodes: map[string]*node{}}
	k := &check{decoder: d, c: &Config{}, clients: map[string]bool{"office": true}}
	k.references()
	k.clients["office"] = true
	t := newEnterpriseTable(d, k)
	src := &source{name: "e.yaml", content: []byte(content)}
	if !t.isText(src) {
		return nil, false, m.errors()
	}
	if plain {
		accepted = t.plain(src)
		return t.list, accepted, nil
	}
	t.full(src)
	return t.list, true, m.errors()
}

// What the fast reader accepts, the full reader reads without an error and
// alike.
func agree(t interface {
	Errorf(string, ...any)
}, content string) (accepted bool) {
	fast, accepted, _ := readYAML(content, true)
	if !accepted {
		return false
	}
	full, _, err := readYAML(content, false)
	if err != nil {
		t.Errorf("the fast reader accepts what the full one refuses: %v\n%s", err, content)
	} else if diff := cmp.Diff(full, fast); diff != "" {
		t.Errorf("the readers differ on\n%s\n(-full +fast)\n%s", content, diff)
	}
	return true
}

func TestPlainRowsAgree(t *testing.T) {
	for name, content := range map[string]string{
		"flow":           "- {number: 0206731645, name: A b, client: office, routes: [ebox, grant-citizen], from: 2026-01-01, suspended: true}\n",
		"rate":           "- {number: 0206731645, rate: {perSecond: 20, burst: 40}, name: x}\n- number: 0474028805\n  rate: {perSecond: 2.5}\n",
		"block":          "- number: 0206731645\n  name: A b\n  routes: [ebox]\n- number: 474028805\n",
		"routes in rows": "- number: 0206731645\n  routes:\n  - ebox\n  - grant-citizen\n  name: x\n- number: 474028805\n  routes:\n    - ebox\n",
		"quotes":         "- number: \"0206731645\"\n  name: 'A: b, {c} # d'\n",
		"flow quotes":    "- {number: '0206731645', name: \"a, b\"}\n",
		"indented":       "enterprises:\n  - number: 0206731645\n    name: x\n  # comment\n\n  - {number: 0474028805}",
		"comments":       "- number: 0206731645 # a\n  routes: # all\n  - ebox # b\n- {number: 0474028805} # c\n",
		"CRLF":           "- number: 0206731645\r\n  name: x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if !agree(t, content) {
				t.Error("the fast reader does not accept it")
			}
		})
	}
}

func TestPlainRowsLeaveTheUnusualToTheFullReader(t *testing.T) {
	for name, content := range map[string]string{
		"wrong number":        "- number: 0206731646\n",
		"twice":               "- number: 0206731645\n- number: 0206731645\n",
		"key twice":           "- number: 0206731645\n  name: a\n  name: b\n",
		"unknown key":         "- number: 0206731645\n  nmae: a\n",
		"unknown client":      "- number: 0206731645\n  client: x\n",
		"null":                "- number: 0206731645\n  name: null\n",
		"empty value":         "- number: 0206731645\n  name:\n",
		"folded plain scalar": "- number: 0206731645\n  name: a\n    b\n",
		"block scalar":        "- number: 0206731645\n  name: |\n    b\n",
		"escape":              "- number: 0206731645\n  name: \"a\\tb\"\n",
		"anchor":              "- number: &a 0206731645\n",
		"quotes and comment":  "- number: \"0206731645\" # a\n",
		"variable":            "- number: 0206731645\n  name: \"${PASSWORD}\"\n",
		"empty routes":        "- number: 0206731645\n  routes: []\n",
		"no routes":           "- number: 0206731645\n  routes:\n- number: 0474028805\n",
		"lone CR":             "- number: 0206731645\r  name: x\n",
		"line separator":      "- number: 0206731645\n  name: a\u2028b\n",
		"two documents":       "- number: 0206731645\n---\n- number: 0474028805\n",
		"zero rate":           "- number: 0206731645\n  rate: {perSecond: 0}\n",
		"no number":           "- name: x\n",
		"other key":           "enterprises:\n- number: 0206731645\nother: x\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, accepted, _ := readYAML(content, true); accepted {
				t.Error("the fast reader accepts it")
			}
		})
	}
}

func TestPlainRowsAgreeOnWhatProgramsWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
			"- ", "  ", "    ", "\n", "\n", "\n- ", "\n  ", "{", "}", "[", "]", ", ", ": ", "number: 0206731645", "number: 474028805", "name: ", "client: office",
			"routes: ", "routes:", "ebox", "from: 2026-01-01", "until: 2026-12-31", "suspended: true", "rate: ", "{perSecond: 1, burst: 2}", "a b", "\"", "'", "#", " #",
			"é", "null", "~", "0x1", "enterprises:", "---", "\r\n", "& x", "-", "(a)", "+1",
		}), 1, 24).Draw(t, "pieces")
		agree(t, strings.Join(pieces, ""))
	})
}

func FuzzPlainRows(f *testing.F) {
	f.Add("- {number: 0206731645, name: A b, routes: [ebox], rate: {perSecond: 1}}\n")
	f.Add("- number: 0206731645\n  name: 'a'\n  routes:\n  - ebox\n- number: 474028805\n  suspended: true\n")
	f.Add("enterprises:\n  - number: \"0206731645\"\n    until: 2026-01-01\n")
	f.Fuzz(func(t *testing.T, content string) { agree(t, content) })
}
