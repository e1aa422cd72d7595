package k8s_test

import (
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// modules stand apart from the product: what only they need is not in its go.mod.
var modules = []string{"test/k8s", "test/browser", "bench/soak"}

func requirements(t *testing.T, module string) map[string]string {
	t.Helper()
	list := make(map[string]string)
	line := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)`)
	for _, m := range line.FindAllStringSubmatch(testkit.Read(t, "../"+module+"/go.mod"), -1) {
		list[m[1]] = m[2]
	}
	if len(list) < 20 {
		t.Fatalf("only %d requirements of %s were found", len(list), module)
	}
	return list
}

// Otherwise a test would run with another version of a library than the one that is shipped.
func TestModulesRequireTheVersionsOfTheProduct(t *testing.T) {
	product := requirements(t, ".")
	for _, m := range modules {
		for path, version := range requirements(t, m) {
			if shipped, both := product[path]; both && shipped != version {
				t.Errorf("%s requires %s %s, the product %s: run go -C %s get %s@%s", m, path, version, shipped, m, path, shipped)
			}
		}
	}
}

func TestTheProductDoesNotRequireWhatOnlyTestsNeed(t *testing.T) {
	for path := range requirements(t, ".") {
		for _, apart := range []string{"k8s.io/", "sigs.k8s.io/", "github.com/chromedp/", "github.com/Masterminds/"} {
			if strings.HasPrefix(path, apart) {
				t.Errorf("go.mod requires %s", path)
			}
		}
	}
}
