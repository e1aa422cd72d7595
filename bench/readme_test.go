package bench_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// Who looks for a number finds the benchmark that it is from.
func TestTheReadmeNamesEveryBenchmark(t *testing.T) {
	readme := testkit.Read(t, "README.md")
	files, err := filepath.Glob("*_test.go")
	testkit.Must(t, err)
	declared, found := regexp.MustCompile(`(?m)^func (Benchmark\w+)\(b \*testing\.B\)`), 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		testkit.Must(t, err)
		for _, name := range declared.FindAllSubmatch(source, -1) {
			found++
			if !strings.Contains(readme, "`"+string(name[1])+"`") {
				t.Errorf("README.md does not name %s of %s", name[1], file)
			}
		}
	}
	if found < 10 {
		t.Fatalf("%d benchmarks found", found)
	}
}
