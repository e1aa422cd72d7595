// The tests are inside the package: a command exports nothing.

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil { // a release is made in the root
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// current is the newest version that CHANGELOG.md has.
func current(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(testkit.Read(t, "CHANGELOG.md")) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			if version := strings.Fields(name)[0]; isSemantic(version) {
				return version
			}
		}
	}
	t.Fatal("CHANGELOG.md has no version")
	return ""
}

// unpack gives the files of an archive.
func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	zip, err := gzip.NewReader(strings.NewReader(testkit.Read(t, path)))
	testkit.Must(t, err)
	files := make(map[string][]byte)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		testkit.Must(t, err)
		if h.Typeflag != tar.TypeReg {
			t.Errorf("%s is not a file", h.Name)
		}
		files[h.Name], err = io.ReadAll(r)
		testkit.Must(t, err)
	}
}

// lacks names a file that an archive does not have below a folder, or that is empty there.
func lacks(t *testing.T, files map[string][]byte, root string, names ...string) {
	t.Helper()
	for _, want := range names {
		if len(files[root+"/"+want]) == 0 {
			t.Errorf("the archive of %s lacks %s", root, want)
		}
	}
}

func TestTheReleaseIsTheSameTwiceAndCanBeVerified(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f",
		key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	// Compiling the gateway without the race detector, which this test may be compiled with,
	// would take as long as all other tests. A gateway that differs the second time, or is not
	// static, is refused when it is released.
	r := release{version: current(t), product: "./tools/release/testdata/product", time: time.Unix(1790000000, 0)}
	for name, flags := range map[string]string{"first": "", "second": "-race"} {
		t.Setenv("GOFLAGS", flags) // which must not matter
		r.out = filepath.Join(dir, name)
		testkit.Must(t, r.make([]string{platform}, key))
	}
	sums := testkit.Read(t, filepath.Join(dir, "first", "SHA256SUMS"))
	if sums != testkit.Read(t, filepath.Join(dir, "second", "SHA256SUMS")) || strings.Count(sums, "\n") != 3 {
		t.Errorf("a release of one platform, made twice, has the files\n%s", sums)
	}

	// As docs/release.md has people do it.
	testkit.Write(t, filepath.Join(dir, "allowed_signers"), "ebox-gateway "+testkit.Read(t, key+".pub"))
	verify := func() error {
		command := exec.Command("sh", "-euc", "sha256sum --check --strict SHA256SUMS >&2\n"+
			"ssh-keygen -Y verify -f ../allowed_signers -I ebox-gateway -n ebox-gateway -s SHA256SUMS.sig <SHA256SUMS")
		command.Dir = r.out
		out, err := command.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := verify(); err != nil {
		t.Errorf("the release cannot be verified: %v", err)
	}

	if out, err := tagged(t, dir, key); err != nil {
		t.Errorf("a tag cannot be signed and checked: %v\n%s", err, out)
	}

	base := fmt.Sprintf("ebox-gateway-%s-%s-%s", r.version, runtime.GOOS, runtime.GOARCH)
	files := unpack(t, filepath.Join(r.out, base+".tar.gz"))
	lacks(t, files, base, "gateway", "README.md", "CHANGELOG.md", "config.yaml", "deploy/prometheus-rules.yaml",
		"docs/operations.md")
	binary := filepath.Join(dir, "gateway")
	testkit.Must(t, os.WriteFile(binary, files[base+"/gateway"], 0o700))
	testkit.Must(t, static(binary))
	if out, err := exec.Command(binary).CombinedOutput(); string(out) != "product "+r.version+"\n" {
		t.Errorf("the binary says %q, %v", out, err)
	}
	bomHasAll(t, []byte(testkit.Read(t, filepath.Join(r.out, base+".cdx.json"))), binary)
	if root, err := os.Getwd(); err != nil || bytes.Contains(files[base+"/gateway"], []byte(root)) {
		t.Errorf("the binary knows the folder it was built in, %v", err)
	}

	lacks(t, unpack(t, filepath.Join(r.out, "ebox-gateway-chart-"+r.version+".tgz")), "ebox-gateway", "Chart.yaml",
		"values.yaml", "values.schema.json", "templates/gateway.yaml", "base/statefulset.yaml", "components/redis/redis.conf")

	// Whoever changes a file and its sum is found by the signature.
	testkit.Write(t, filepath.Join(r.out, "SHA256SUMS"), sums[:strings.IndexByte(sums, '\n')+1])
	if err := verify(); err == nil {
		t.Error("a changed list of sums is taken for the signed one")
	}
}

// The gateway, built with the flags of a release and, if this test is, with the race detector:
// what is compiled serves both.
func TestTheGatewaySaysItsVersionAndWhatItIsMadeOf(t *testing.T) {
	r := release{version: current(t), product: "./cmd/gateway"}
	binary := filepath.Join(t.TempDir(), "gateway")
	args := r.buildArguments(binary)
	if raced() {
		args = slices.Insert(args, 1, "-race")
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(binary, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "ebox-gateway "+r.version+",") {
		t.Errorf("the binary says %q, %v", out, err)
	}
	list, err := r.bom(binary)
	testkit.Must(t, err)
	if modules := bomHasAll(t, list, binary); modules < 20 {
		t.Errorf("it is made of %d modules", modules)
	}
	if static(binary) == nil && raced() {
		t.Error("a binary that the race detector is linked to, which is a library's, is taken for static")
	}
}

// raced reports whether this test is compiled with the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestABinaryThatDiffersIsRefused(t *testing.T) {
	if same("go.mod", "go.mod") != nil || same("go.mod", "go.sum") == nil || same("go.mod", "none") == nil {
		t.Error("binaries are not compared by their bytes")
	}
}

// Without cgo, Go's own linker makes a binary that needs no loader and no library.
func TestNothingOfTheReleaseNeedsCgo(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", "./cmd/gateway")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := list.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// bomHasAll compares the list with what Go says of the binary, and gives the number of its modules.
func bomHasAll(t *testing.T, content []byte, binary string) int {
	t.Helper()
	var list bom
	testkit.Must(t, json.Unmarshal(content, &list))
	info, err := buildinfo.ReadFile(binary)
	testkit.Must(t, err)
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		want = append(want, "pkg:golang/"+d.Path+"@"+d.Version)
	}
	var got []string
	for _, c := range list.Components {
		got = append(got, c.PURL)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the list has %v, the binary %v", got, want)
	}
	if h := list.Metadata.Component.Hashes; len(h) != 1 || h[0].Content != fmt.Sprintf("%x",
		sha256.Sum256([]byte(testkit.Read(t, binary)))) {
		t.Errorf("the list is of a binary with the hash %v", h)
	}
	return len(info.Deps)
}

func TestAReleaseThatNobodyWasToldOfIsRefused(t *testing.T) {
	for version, want := range map[string]string{
		"1.0":       "not Semantic Versioning",
		"v1.0.0":    "not Semantic Versioning",
		"1.0.0-":    "not Semantic Versioning",
		"987.6.5-a": "has no line",
	} {
		r := release{version: version, out: filepath.Join(t.TempDir(), "dist")}
		if err := r.make(nil, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", version, err)
		}
	}
	r := release{version: current(t), out: t.TempDir()}
	testkit.Write(t, filepath.Join(r.out, "left"), "")
	if err := r.make(nil, ""); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a release is written over another: %v", err)
	}
}

func TestTheImageIsBuiltWithTheFlagsOfTheRelease(t *testing.T) {
	dockerfile := testkit.Read(t, "Dockerfile")
	args := (&release{version: "${VERSION}", product: "./cmd/gateway"}).buildArguments("/out/gateway")
	args[4] = `"` + args[4] + `"`
	if want := "go " + strings.Join(args, " "); !strings.Contains(dockerfile, want) {
		t.Errorf("the Dockerfile does not run %s", want)
	}
}

// tagged signs a tag of a new repository in dir and checks it, by the commands of docs/release.md.
func tagged(t *testing.T, dir, key string) ([]byte, error) {
	t.Helper()
	needs.Program(t, "git", "git")
	page, err := os.ReadFile("docs/release.md")
	testkit.Must(t, err)
	commands := regexp.MustCompile(`(?m)^ *git -c .*$`).FindAllString(string(page), -1)
	if len(commands) != 2 { // the page speaks of checking first
		t.Fatalf("docs/release.md has the commands %q", commands)
	}
	script := "git init -q . && git -c user.name=x -c user.email=x@example.be commit -q --allow-empty -m x\n" +
		"export GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@example.be\n" +
		strings.Replace(commands[1], "~/.ssh/ebox-gateway-release", "'"+key+"'", 1) + "\n" + commands[0]
	command := exec.Command("sh", "-euc", script)
	command.Dir = dir
	return command.CombinedOutput()
}
