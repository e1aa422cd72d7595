package k8s_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
)

// instruction is one of the Dockerfile, its lines joined.
type instruction struct{ name, rest string }

func dockerfile(t *testing.T) (list []instruction) {
	t.Helper()
	var joined string
	for line := range strings.Lines(testkit.Read(t, "../Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		open := strings.HasSuffix(line, `\`)
		joined += strings.TrimSuffix(line, `\`)
		if open {
			continue
		}
		name, rest, _ := strings.Cut(joined, " ")
		list = append(list, instruction{name, strings.TrimSpace(rest)})
		joined = ""
	}
	return list
}

// last gives the last instruction of a name: that of the image, not of its build.
func last(t *testing.T, list []instruction, name string) string {
	t.Helper()
	for _, i := range slices.Backward(list) {
		if i.name == name {
			return i.rest
		}
	}
	t.Fatalf("the Dockerfile has no %s", name)
	return ""
}

func TestTheImageIsTheBinaryAndNothingElse(t *testing.T) {
	list := dockerfile(t)
	if got := last(t, list, "FROM"); got != "scratch" {
		t.Errorf("the image begins with %s", got)
	}
	if got := last(t, list, "USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(got) {
		t.Errorf("the user is %s: runAsNonRoot needs a number", got)
	}
	for name, want := range map[string]string{"ENTRYPOINT": `["/gateway"]`,
		"CMD": `["serve", "--config", "/etc/ebox-gateway/config.yaml"]`} {
		if got := last(t, list, name); got != want {
			t.Errorf("%s %s", name, got)
		}
	}
	if got := last(t, list, "HEALTHCHECK"); !strings.HasSuffix(got, `CMD ["/gateway", "healthcheck"]`) {
		t.Errorf("HEALTHCHECK %s needs a shell", got)
	}
	ours := container(t, render(t, "production"))
	if ours.Command != nil {
		t.Error("the manifests do not use the image's entry point")
	}
}

// The classic builder knows neither flags of RUN nor here-documents, and has no
// variable for the platform that it builds on.
func TestEveryBuilderUnderstandsTheDockerfile(t *testing.T) {
	for _, i := range dockerfile(t) {
		text := i.name + " " + i.rest
		switch {
		case i.name == "RUN" && strings.HasPrefix(i.rest, "--"), strings.Contains(text, "<<"),
			strings.Contains(text, "BUILDPLATFORM"),
			i.name == "COPY" && regexp.MustCompile(`--(chmod|link|parents|exclude)`).MatchString(i.rest), i.name == "ADD":
			t.Errorf("BuildKit alone understands %s", text)
		case i.name == "FROM" && i.rest != "scratch" && !strings.HasPrefix(i.rest, "${"):
			t.Errorf("%s cannot be replaced in a closed network", text)
		}
	}
	if strings.HasPrefix(testkit.Read(t, "../Dockerfile"), "# syntax") {
		t.Error("the first line has a builder fetch its own language")
	}
}

// The compiler's version of the image is that of go.mod.
func TestTheImageIsBuiltWithTheGoOfTheModule(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(testkit.Read(t, "../go.mod"))[1]
	if want := "ARG GO_IMAGE=golang:" + version + "-"; !strings.Contains(testkit.Read(t, "../Dockerfile"), want) {
		t.Errorf("the Dockerfile has no %q", want)
	}
}

// context copies into a new folder what .dockerignore lets through.
func context(t *testing.T) string {
	t.Helper()
	ignore := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(testkit.Read(t, "../.dockerignore"), ""))
	if ignore[0] != "*" {
		t.Fatal(".dockerignore does not begin by leaving out everything")
	}
	root := t.TempDir()
	for _, keep := range ignore {
		keep, kept := strings.CutPrefix(keep, "!")
		if _, err := os.Stat(filepath.Join("..", keep)); !kept || err != nil {
			continue
		}
		err := filepath.WalkDir(filepath.Join("..", keep), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == "testdata":
				return fs.SkipDir
			case entry.IsDir() || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			content, err := os.ReadFile(path)
			if err == nil {
				write(t, filepath.Join(root, strings.TrimPrefix(path, "../")), string(content))
			}
			return err
		})
		testkit.Must(t, err)
	}
	return root
}

// What .dockerignore lets through is all that is compiled: packages, and the files that they
// embed. The test of tools/release makes the binary, with the flags of the Dockerfile.
func TestTheImageIsBuiltFromWholeSources(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", "./cmd/gateway")
	list.Dir = context(t)
	list.Env = append(os.Environ(), "GOWORK=off")
	out, err := list.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\nebox-gateway/cmd/gateway\n")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("/testkit")) {
		t.Errorf("the product has something of its tests in it:\n%s", out)
	}
	if !slices.ContainsFunc(dockerfile(t), func(i instruction) bool {
		return i.name == "RUN" && strings.Contains(i.rest, "CGO_ENABLED=0") && strings.Contains(i.rest, "./cmd/gateway")
	}) {
		t.Error("the Dockerfile does not compile a static binary")
	}
}
