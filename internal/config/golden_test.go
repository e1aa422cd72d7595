package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// update reports whether to write the expected errors anew. The flag is that of the schema's test, in the package.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

// environment is what the files of testdata find.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"EBOX_CLIENT_ID": "abc",
		"PASSWORD":       "hunter2",
		"THIRD_PASSWORD": "hunter2",
		"WRONG_MODE":     "hunter2",
		"PROXY_USER":     "gateway",
		"PROXY_PASSWORD": "hunter2",
		"REDIS_PASSWORD": "hunter2",
	}[name]
	return value, ok
}

func loadTestdata(t *testing.T, path string) (*config.Config, error) {
	t.Helper()
	content, err := os.ReadFile(path)
	testkit.Must(t, err)
	return config.Parse(filepath.Base(path), content, "testdata", environment)
}

// Every *.bad.yaml gives exactly the errors of the *.bad.txt beside it.
func TestBadFilesSayWhatIsWrong(t *testing.T) {
	dir, err := filepath.Abs("testdata")
	testkit.Must(t, err)
	for _, path := range glob(t, "testdata/*.bad.yaml") {
		name := strings.TrimSuffix(filepath.Base(path), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			c, err := loadTestdata(t, path)
			if err == nil {
				t.Fatalf("no error, but %+v", c)
			}
			if _, ok := err.(config.Errors); !ok {
				t.Fatalf("the error is a %T, not Errors", err)
			}
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if update() {
				testkit.Must(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			testkit.Must(t, err)
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "hunt''er2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	return paths
}

// file writes a file into a directory and gives its path.
func file(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	testkit.Write(t, path, content)
	return path
}
