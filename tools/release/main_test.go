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
	content, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			if version := strings.Fields(name)[0]; semantic.MatchString(version) {
				return version
			}
		}
	}
	t.Fatal("CHANGELOG.md has no version")
	return ""
}

// hashes gives the SHA-256 of every file of a release but the signature.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	return all
}

// unpack gives the files of an archive.
func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err == nil && h.Typeflag != tar.TypeReg {
			t.Errorf("%s is not a file", h.Name)
		}
		content, readErr := io.ReadAll(r)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		files[h.Name] = content
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
		if err := r.make([]string{platform}, key); err != nil {
			t.Fatal(err)
		}
	}
	first, second := hashes(t, filepath.Join(dir, "first")), hashes(t, filepath.Join(dir, "second"))
	if len(first) != 5 {
		t.Errorf("a release of one platform has the files %v", first)
	}
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s is another the second time", name)
		}
	}

	// As docs/release.md has people do it.
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "allowed_signers"), []byte("ebox-gateway "+string(public)),
		0o600); err != nil {
		t.Fatal(err)
	}
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
	for _, want := range []string{"gateway", "README.md", "CHANGELOG.md", "config.yaml", "deploy/prometheus-rules.yaml",
		"docs/operations.md"} {
		if len(files[base+"/"+want]) == 0 {
			t.Errorf("the archive lacks %s", want)
		}
	}
	binary := filepath.Join(dir, "gateway")
	if err := os.WriteFile(binary, files[base+"/gateway"], 0o700); err != nil {
		t.Fatal(err)
	}
	if err := static(binary); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(binary).CombinedOutput(); string(out) != "product "+r.version+"\n" {
		t.Errorf("the binary says %q, %v", out, err)
	}
	list, err := os.ReadFile(filepath.Join(r.out, base+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	bomHasAll(t, list, binary)
	if root, err := os.Getwd(); err != nil || bytes.Contains(files[base+"/gateway"], []byte(root)) {
		t.Errorf("the binary knows the folder it was built in, %v", err)
	}

	chart := unpack(t, filepath.Join(r.out, "ebox-gateway-chart-"+r.version+".tgz"))
	for _, want := range []string{"Chart.yaml", "values.yaml", "values.schema.json", "templates/gateway.yaml",
		"base/statefulset.yaml", "components/redis/redis.conf"} {
		if len(chart["ebox-gateway/"+want]) == 0 {
			t.Errorf("the chart lacks %s", want)
		}
	}

	// Whoever changes a file and its sum is found by the signature.
	sums := filepath.Join(r.out, "SHA256SUMS")
	content, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sums, content[:strings.IndexByte(string(content), '\n')+1], 0o600); err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
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
	dir := t.TempDir()
	for name, content := range map[string]string{"a": "a", "b": "b", "c": "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if same(at("a"), at("c")) != nil || same(at("a"), at("b")) == nil || same(at("a"), at("none")) == nil {
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
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
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
	binaryContent, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if h := list.Metadata.Component.Hashes; len(h) != 1 || h[0].Content != fmt.Sprintf("%x",
		sha256.Sum256(binaryContent)) {
		t.Errorf("the list is of a binary with the hash %v", h)
	}
	return len(info.Deps)
}

func TestAReleaseThatNobodyWasToldOfIsRefused(t *testing.T) {
	for version, want := range map[string]string{
		"1.0":       "not Semantic Versioning",
		"v1.0.0":    "not Semantic Versioning",
		"01.0.0":    "not Semantic Versioning",
		"1.0.0-":    "not Semantic Versioning",
		"987.6.5":   "has no line",
		"987.6.5-a": "has no line",
	} {
		r := release{version: version, out: filepath.Join(t.TempDir(), "dist")}
		if err := r.make(nil, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", version, err)
		}
	}
	r := release{version: current(t), out: t.TempDir()}
	if err := os.WriteFile(filepath.Join(r.out, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.make(nil, ""); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a release is written over another: %v", err)
	}
}

func TestTheImageIsBuiltWithTheFlagsOfTheRelease(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	args := (&release{version: "${VERSION}", product: "./cmd/gateway"}).buildArguments("/out/gateway")
	args[4] = `"` + args[4] + `"`
	if want := "go " + strings.Join(args, " "); !strings.Contains(string(dockerfile), want) {
		t.Errorf("the Dockerfile does not run %s", want)
	}
}

// tagged signs a tag of a new repository in dir and checks it, by the commands of docs/release.md.
func tagged(t *testing.T, dir, key string) ([]byte, error) {
	t.Helper()
	needs.Program(t, "git", "git")
	page, err := os.ReadFile("docs/release.md")
	if err != nil {
		t.Fatal(err)
	}
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
