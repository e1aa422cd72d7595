// Command release makes what a release consists of, into one folder: for each platform an
// archive with the binary and a list of what it was made of (SBOM, CycloneDX 1.6), the
// Helm chart, SHA256SUMS, and with a key its signature (ssh-keygen -Y). The same source,
// Go version, version and time give the same bytes; only a signature made with an ECDSA
// key differs each time.
//
//	go run ./tools/release -version 1.0.0 -out dist -key ~/.ssh/release
//
// It is run in the root of the repository and refuses a version that is not Semantic
// Versioning 2.0, or that CHANGELOG.md or the chart do not have. Each binary is built twice: it
// refuses one that is another the second time, or that needs a loader or a library.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/semver"
)

func main() {
	version := flag.String("version", "", "of the release, as in CHANGELOG.md: 1.0.0")
	out := flag.String("out", "dist", "the folder to write to; it is made, and must not hold another release")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64", "GOOS/GOARCH, separated by commas")
	key := flag.String("key", "", "SSH key that signs SHA256SUMS; without it there is no signature")
	epoch := flag.Int64("time", 0, "of every file, in seconds since 1970; git log -1 --format=%ct")
	flag.Parse()
	r := release{version: *version, product: "./cmd/gateway", out: *out, time: time.Unix(*epoch, 0).UTC()}
	if err := r.make(strings.Split(*platforms, ","), *key); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// buildArguments are those of the Dockerfile too; a test compares them.
func (r *release) buildArguments(binary string) []string {
	return []string{
		"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.release=" + r.version, "-o",
		binary, r.product,
	}
}

// documents are in each archive beside the binary.
var documents = []string{"README.md", "CHANGELOG.md", "SECURITY.md", "config.yaml",
	"config.schema.json", "deploy", "docs"}

// isSemantic reports whether a version is one of Semantic Versioning 2.0.0, written out and without
// the metadata of a build.
func isSemantic(version string) bool { return semver.Canonical("v"+version) == "v"+version }

type release struct {
	version string
	product string // its package; tests take a smaller one
	out     string
	time    time.Time
}

func (r *release) make(platforms []string, key string) error {
	if err := r.check(); err != nil {
		return err
	}
	if left, err := os.ReadDir(r.out); err == nil && len(left) > 0 {
		return fmt.Errorf("%s is not empty: remove what is in it, or name another folder with -out", r.out)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, p := range platforms {
		if err := r.platform(p); err != nil {
			return fmt.Errorf("making the archive of %s: %w", p, err)
		}
	}
	if err := r.archive("ebox-gateway-chart-"+r.version+".tgz", "ebox-gateway",
		map[string]string{"": "k8s/helm"}); err != nil {
		return fmt.Errorf("making the chart: %w", err)
	}
	if err := r.sums(); err != nil {
		return err
	}
	return r.sign(key)
}

// check compares the version with what people are told.
func (r *release) check() error {
	if !isSemantic(r.version) {
		return fmt.Errorf("the version %q is not Semantic Versioning: give -version as 1.2.3 or 1.2.3-rc.1", r.version)
	}
	for file, line := range map[string]string{"CHANGELOG.md": "## " + r.version + " ", "k8s/helm/Chart.yaml": "version: " +
		r.version + "\n"} {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("run this in the root of the repository: %w", err)
		}
		if !strings.Contains("\n"+string(content), "\n"+line) {
			return fmt.Errorf("%s has no line %q: add it before the release", file, strings.TrimSpace(line))
		}
	}
	return nil
}

// platform compiles for one platform, and writes archive and SBOM.
func (r *release) platform(name string) error {
	system, architecture, ok := strings.Cut(name, "/")
	if !ok {
		return fmt.Errorf("%q is not GOOS/GOARCH", name)
	}
	dir, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, again := filepath.Join(dir, "gateway"), filepath.Join(dir, "again")
	for _, to := range []string{binary, again} {
		compile := exec.Command("go", r.buildArguments(to)...)
		// Flags of whoever makes it would give other bytes.
		compile.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOWORK=off", "GOOS="+system,
			"GOARCH="+architecture)
		compile.Stdout, compile.Stderr = os.Stderr, os.Stderr
		if err := compile.Run(); err != nil {
			return fmt.Errorf("compiling: %w", err)
		}
	}
	if err := errors.Join(same(binary, again), static(binary)); err != nil {
		return err
	}
	base := fmt.Sprintf("ebox-gateway-%s-%s-%s", r.version, system, architecture)
	bom, err := r.bom(binary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, base+".cdx.json"), bom, 0o644); err != nil {
		return err
	}
	content := map[string]string{"gateway": binary}
	for _, d := range documents {
		content[d] = d
	}
	return r.archive(base+".tar.gz", base, content)
}

// same compares two builds of the same source.
func same(first, second string) error {
	one, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	other, err := os.ReadFile(second)
	if err == nil && !bytes.Equal(one, other) {
		err = errors.New("the same source gives another binary the second time: nobody could check this release")
	}
	return err
}

// static refuses a binary for which the image, which has nothing else in it, is no place.
func static(binary string) error {
	file, err := elf.Open(binary)
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("reading what the binary needs: %w", err)
	}
	if len(libraries) > 0 || file.Section(".interp") != nil {
		return fmt.Errorf("the binary needs a loader and the libraries %q", libraries)
	}
	return nil
}

// archive writes a tar.gz in which everything is below root: files and folders by their
// name in the archive. Symbolic links are replaced by what they lead to.
func (r *release) archive(name, root string, content map[string]string) error {
	files := make(map[string]string)
	for as, source := range content {
		if err := collect(files, path.Join(root, as), source); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(zip)
	for _, as := range slices.Sorted(maps.Keys(files)) {
		info, err := os.Stat(files[as])
		if err != nil {
			return err
		}
		content, err := os.ReadFile(files[as])
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		if err := t.WriteHeader(&tar.Header{Name: as, Mode: mode, Size: int64(len(content)), ModTime: r.time,
			Format: tar.FormatPAX}); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	if err := errors.Join(t.Close(), zip.Close()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), b.Bytes(), 0o644)
}

// collect adds source, or everything below it, without Go files: those are the source's.
func collect(files map[string]string, as, source string) error {
	resolved, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(resolved)
	if errors.Is(err, syscall.ENOTDIR) {
		if !strings.HasSuffix(resolved, ".go") {
			files[as] = resolved
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := collect(files, path.Join(as, e.Name()), filepath.Join(resolved, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) sums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(text.String()), 0o644)
}

// sign writes SHA256SUMS.sig, which ssh-keygen -Y verify -n ebox-gateway checks.
func (r *release) sign(key string) error {
	if key == "" {
		fmt.Fprintln(os.Stderr, "not signed: no -key was given")
		return nil
	}
	sign := exec.Command("ssh-keygen", "-Y", "sign", "-n", "ebox-gateway", "-f", key, filepath.Join(r.out, "SHA256SUMS"))
	if said, err := sign.CombinedOutput(); err != nil {
		return fmt.Errorf("signing with %s: %w: %s", key, err, bytes.TrimSpace(said))
	}
	return nil
}

// The parts of CycloneDX 1.6 that are used here.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Reference  string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PURL       string     `json:"purl,omitempty"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Reference string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

// bom lists what a binary was made of, from what Go itself wrote into it: the modules of
// the packages that were linked, not all that go.mod requires.
func (r *release) bom(binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading what the binary was made of: %w", err)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	product := component{
		Type: "application", Reference: "ebox-gateway", Name: "ebox-gateway", Version: r.version,
		Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(content))}},
	}
	for _, s := range info.Settings {
		product.Properties = append(product.Properties, property{"go:build:" + s.Key, s.Value})
	}
	list := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{r.time.Format(time.RFC3339), product},
	}
	add := func(path, version, sum string) {
		c := component{Type: "library", Name: path, Version: version, PURL: "pkg:golang/" + path + "@" + version}
		c.Reference = c.PURL
		if sum != "" {
			c.Properties = []property{{"go:sum", sum}}
		}
		list.Components = append(list.Components, c)
	}
	add("std", strings.TrimPrefix(info.GoVersion, "go"), "")
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		add(d.Path, d.Version, d.Sum)
	}
	all := dependency{Reference: product.Reference}
	for _, c := range list.Components {
		all.DependsOn = append(all.DependsOn, c.Reference)
	}
	list.Dependencies = []dependency{all}
	text, err := json.MarshalIndent(list, "", "  ")
	return append(text, '\n'), err
}
