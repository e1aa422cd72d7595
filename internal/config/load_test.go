package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// The config.yaml of the repository is a working file: with the client id in the
// environment it loads, before there is a key store.
func TestTheCommittedConfigurationWorks(t *testing.T) {
	lookup := func(name string) (string, bool) { return "my-client", name == "EBOX_CLIENT_ID" }
	c, err := config.Load("../../config.yaml", lookup)
	if err != nil {
		t.Fatal(err)
	}
	if c.Environment != config.Simulation || c.OAuth.Clients["office"].ClientID != "my-client" ||
		c.Tenancy.DefaultClient != "office" ||
		c.Server.Listen[0].Address != "127.0.0.1:8080" || c.Admin.Listen[0].Address != "127.0.0.1:9090" {
		t.Errorf("got %+v", c)
	}
	if _, err := config.Load("../../config.yaml", func(string) (string, bool) { return "", false }); err == nil ||
		!strings.Contains(err.Error(), "the environment variable EBOX_CLIENT_ID is not set") {
		t.Errorf("without the variable: %v", err)
	}
}

func TestAMissingFileIsNoMistakeInIt(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "config.yaml"), environment)
	var mistakes config.Errors
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &mistakes) {
		t.Errorf("got %v", err)
	}
}

// Commands ask a gateway that runs, whatever became of its file since.
func TestTheAdminSectionIsReadAlone(t *testing.T) {
	for text, want := range map[string]string{
		"admin: {listen: 127.0.0.1:9999}\nenvironment: nowhere\nroutes: 7\n": "127.0.0.1:9999",
		"environment: test\n": "127.0.0.1:9090",
		"admin:\n":            "127.0.0.1:9090",
		"admin: {listen: 127.0.0.1:9999, tokn: x}": "127.0.0.1:9090 x:1:33: admin.tokn: unknown key",
	} {
		path := file(t, t.TempDir(), "x", text)
		admin, err := config.LoadAdmin(path, environment)
		got := admin.Listen[0].Address
		if err != nil {
			got += " " + strings.TrimPrefix(err.Error(), filepath.Dir(path)+"/")
		}
		if got != want && !(err != nil && strings.HasPrefix(got, want+" ")) {
			t.Errorf("%q gives %s", text, got)
		}
	}
}

func TestEveryFileIsNamedAndCountsInTheHash(t *testing.T) {
	dir := t.TempDir()
	path := file(t, dir, "config.yaml", minimal+"tenancy: {enterpriseFiles: [e.csv], suspendedFiles: [stop.txt]}\n"+
		"admin: {tokenFile: /nowhere/token}\negress: {caFile: ./ca.pem}\naudit: {dir: evidence, checkpoints: shipped}\n")
	file(t, dir, "e.csv", "number\n0206731645\n")
	file(t, dir, "stop.txt", "")
	load := func() *config.Config {
		t.Helper()
		c, err := config.Load(path, environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := load()
	want := []string{"/ca.pem", "/client.p12", "/config.yaml", "/e.csv", "/nowhere/token", "/stop.txt"}
	var got []string
	for _, f := range first.Files() {
		got = append(got, strings.TrimPrefix(f, dir))
	}
	if slices.Sort(got); !slices.Equal(got, want) || first.Files()[0] != path {
		t.Errorf("the files are %v", first.Files()) // what is written is not watched
	}
	if first.Audit.Dir != filepath.Join(dir, "evidence") {
		t.Errorf("the evidence goes to %s", first.Audit.Dir)
	}
	last := load().Hash()
	if last != first.Hash() || len(last) != 64 {
		t.Errorf("the same files give %s and %s", first.Hash(), last)
	}
	for _, change := range [][2]string{
		{"client.p12", ""}, {"client.p12", "a key"}, {"e.csv", "number\n0474028805\n"}, {"stop.txt", "0474028805\n"},
	} {
		file(t, dir, change[0], change[1])
		hash := load().Hash()
		if hash == last {
			t.Errorf("the change of %s is none of the hash", change[0])
		}
		last = hash
	}
}

func TestVariablesAreTextAndNothingElse(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{
			"ID": `x, y: {z} # "q"`, "NEST": "${ID}", "LEVEL": "debug", "N": "0206731645", "EMPTY": "", "D": "7s", "ON": "true",
		}[name]
		return value, ok
	}
	c, err := config.Parse("c", []byte(`environment: production
oauth:
  timeout: ${D}
  clients:
    office: {clientId: "a${ID}b", keystore: {file: "$${x}$/${N}$", alias: "${NEST}"}}
tenancy: {enterprises: [{number: "${N}", suspended: "${ON}"}]}
egress: {proxy: "${EMPTY}", caFile: "${EMPTY}"}
log: {level: "${LEVEL}"}
`), "/etc", lookup)
	if err != nil {
		t.Fatal(err)
	}
	client := c.OAuth.Clients["office"]
	if client.ClientID != `ax, y: {z} # "q"b` || client.Keystore.File != "/etc/${x}$/0206731645$" ||
		client.Keystore.Alias != "${ID}" {
		t.Errorf("got %q, %q, %q", client.ClientID, client.Keystore.File, client.Keystore.Alias)
	}
	if c.Log.Level != config.LogDebug || c.OAuth.Timeout != 7*time.Second ||
		c.Tenancy.Enterprises[0].Number != 206731645 || !c.Tenancy.Enterprises[0].Suspended {
		t.Errorf("got %+v", c)
	}
	if c.Egress.ProxyURL() != nil || c.Egress.CAFile != "" {
		t.Error("an empty variable is a proxy")
	}
}

func TestNumbersAreReadAsTheyAreWritten(t *testing.T) {
	for _, written := range []string{"0206731645", "206731645", "206.731.645", "be 0206.731.645", `"0206731645"`} {
		c := parseText(t, minimal+"tenancy: {enterprises: [{number: "+written+"}]}\ncallers: [{name: a, networks: "+
			"[10.0.0.0/8], enterprises: ["+written+"], defaultEnterprise: "+written+"}]\n")
		if c.Tenancy.Enterprises[0].Number != 206731645 || c.Callers[0].Enterprises[0] != 206731645 ||
			c.Callers[0].DefaultEnterprise != 206731645 {
			t.Errorf("%s is read as %v", written, c.Tenancy.Enterprises[0].Number)
		}
	}
}

func TestCallersAreResolved(t *testing.T) {
	c, err := loadTestdata(t, "testdata/full.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	hr, nightly, archive := c.Callers[0], c.Callers[1], c.Callers[2]
	if !reflect.DeepEqual(hr.Enterprises, []enterprise.Number{206731645}) || hr.Partial == nil || *hr.Partial ||
		hr.May != ebox.Actions(0).With(ebox.List).With(ebox.Open).With(ebox.Mandates) ||
		hr.Class != config.Interactive || hr.Own {
		t.Errorf("hr is %+v", hr)
	}
	if nightly.Enterprises != nil || nightly.Routes != nil || nightly.May != ebox.All || nightly.Class != config.Batch ||
		nightly.Wait != 10*time.Second ||
		nightly.Networks[0].String() != "10.1.7.7/32" ||
		*nightly.Rate != (config.Rate{PerSecond: 5, Burst: 5, Scope: config.ReplicaRate}) {
		t.Errorf("nightly is %+v", nightly)
	}
	if f := archive.ClientCertificates[1].Fingerprint; f != strings.Repeat("aabbccddeeff00112233445566778899", 2) ||
		!archive.Own {
		t.Errorf("archive is %+v", archive)
	}
	if tls := c.Server.Listen[1].TLS; tls.ClientAuth != config.ClientAuthRequest ||
		filepath.Base(tls.ClientCAFile) != "clients.pem" || !filepath.IsAbs(tls.CertFile) {
		t.Errorf("tls is %+v", tls)
	}
	if got := c.Tenancy.Enterprises[0]; *got.Rate != (config.Rate{PerSecond: 2.5, Burst: 3, Scope: config.ReplicaRate}) ||
		got.Client != "legal" {
		t.Errorf("the enterprise is %+v", got)
	}
	if n := len(c.Tenancy.Enterprises); n != 5 || !reflect.DeepEqual(c.Tenancy.Suspended, []enterprise.Number{206731645}) {
		t.Errorf("%d enterprises, suspended %v", n, c.Tenancy.Suspended)
	}
}

func TestTextsAreBroughtIntoOneForm(t *testing.T) {
	reads(t, "server: {limits: {minBodyRate: %q}}",
		func(c *config.Config) config.Size { return c.Server.Limits.MinBodyRate },
		map[string]config.Size{
			"65536": 65536, "1kB": 1000, "1.5MB": 1_500_000, "1 MiB": 1 << 20, "2GB": 2_000_000_000,
			"unlimited": config.Unlimited,
		}, "", "0", "-1", "1TB", "MB", "1e3", "1.5", "0.0001kB", "nan", "1_000", "9999999999GB", "+5")
	reads(t, "server: {allowedHosts: [%q]}", func(c *config.Config) string { return c.Server.AllowedHosts[0] },
		map[string]string{
			"Ebox.Example.BE": "ebox.example.be", "*.example.be.": "*.example.be", "host:8443": "host:8443",
			"host:*": "host:*", "10.0.0.1:80": "10.0.0.1:80", "[2001:DB8:0::1]:8443": "[2001:db8::1]:8443",
			"2001:DB8:0::1": "2001:db8::1",
		}, "", "*", "*.", "*:443", "a.*.be", "**.be", "https://a.be", "a.be/x", "a.be:", "a.be:0", "a.be:x", "a b",
		"é.be", "user@a.be", "[::1", "[10.0.0.1]", "-a.be", "127.1", "0x7f000001", "*.192.0.2.1", "fe80::1%eth0")
	reads(t, "audit: {dir: x, stopAfter: %q}", func(c *config.Config) config.StopAfter { return c.Audit.StopAfter },
		map[string]config.StopAfter{"never": config.StopNever, "0s": 0}, "", "-1s", "always")
	reads(t, "server: {allowedOrigins: [%q]}", func(c *config.Config) string { return c.Server.AllowedOrigins[0] },
		map[string]string{
			"https://App.example.be:443": "https://app.example.be", "http://localhost:80": "http://localhost",
			"http://localhost:3000": "http://localhost:3000", "https://a.be:80": "https://a.be:80",
		}, "https://a.be/", "https://a.be/x", "https://user@a.be", "https://a.be?x", "https://a.be#x", "a.be")
	reads(t, "server: {publicUrl: %q}", func(c *config.Config) string { return c.Server.PublicURL.String() },
		map[string]string{
			"HTTPS://A.Example.BE.:443/x/": "https://a.example.be/x", "http://a.be:80": "http://a.be",
			"http://[2001:DB8:0::1]:443": "http://[2001:db8::1]:443", "http://[::ffff:192.0.2.1]/": "http://192.0.2.1",
			"https://a_b.be": "https://a_b.be",
		}, "https://127.1/", "https://0x7f.1", "https://a..be", "https://a.be/%41", "https://a.be/x;y", "https:a.be")
}

// reads checks what becomes of some texts in a place of the file, and that it refuses others.
func reads[T comparable](
	t *testing.T, place string, get func(*config.Config) T, texts map[string]T, refused ...string,
) {
	t.Helper()
	read := func(text string) (*config.Config, error) {
		return config.Parse("c", fmt.Appendf([]byte(minimal), place, text), t.TempDir(), environment)
	}
	for text, want := range texts {
		if c, err := read(text); err != nil {
			t.Error(err)
		} else if got := get(c); got != want {
			t.Errorf("%q is %v", text, got)
		}
	}
	for _, text := range refused {
		if c, err := read(text); err == nil {
			t.Errorf("%q is %v", text, get(c))
		}
	}
}

func TestTheClientsThatACallCanNeed(t *testing.T) {
	const clients = `environment: custom
oauth: {tokenUrl: "https://a.be", clients: {a: &client {clientId: x, keystore: {file: k}}, b: *client, c: *client}}
tenancy: {defaultClient: a, enterprises: [{number: 0206731645, client: b}]}
`
	for text, want := range map[string]string{
		`routes: [{name: r, path: /r, upstream: "https://r.be", scopes: []}]`:                                   "",
		`routes: [{name: r, path: /r, upstream: "https://r.be", scopes: [s], client: c}]`:                       "c",
		`routes: [{name: r, path: /r, upstream: "https://r.be", scopes: [s]}]`:                                  "a b",
		`routes: [{name: r, path: /r, upstream: "https://r.be", scopes: [], rules: [{for: own, scopes: [s]}]}]`: "a b",
		`registry: {url: "https://r.be", scopes: [s]}`:                                                          "a",
		`registry: {url: "https://r.be", scopes: [s], client: c}`:                                               "c",
		`registry: {url: "https://r.be", scopes: []}`:                                                           "",
	} {
		if got := strings.Join(parseText(t, clients+text).UsedClients(), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Parse neither panics nor says nothing useful, whatever the file.
func FuzzParse(f *testing.F) {
	for _, path := range glob(f, "testdata/*.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("x: &tenancy y\n? *tenancy\n: {enterprises: []}\n" +
		"tenancy: {enterprises: [{number: 1}, {number: 0206731645}]}"))
	f.Add([]byte("tenancy.enterprises: []\ncallers[0]: {}\ntenancy: &t {enterprises: [{number: 0206731645}], mode: *t}"))
	f.Add([]byte("environment: custom\nserver: &s {listen: *s}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := config.Parse("f", content, dir, environment)
		if err == nil {
			if c.Hash() == "" || c.Environment == "" {
				t.Error("a configuration without an environment")
			}
			return
		}
		errs, ok := err.(config.Errors)
		if !ok || len(errs) == 0 {
			t.Fatalf("the error is a %T", err)
		}
		lines := strings.Count(string(content), "\n") + 1
		for _, e := range errs {
			if e.Message == "" || e.Line < 0 || e.Line > lines+1 || (e.Line > 0) != (e.Column > 0) ||
				!utf8.ValidString(e.Excerpt) {
				t.Errorf("an error without sense: %+v", e)
			}
		}
	})
}

// A file of enterprises, in any of its forms, gives valid numbers or says what is wrong.
func FuzzEnterprisesIn(f *testing.F) {
	f.Add("e.csv", "number,name\n0206731645,x\n")
	f.Add("e.csv", "name;number;routes\n\"a;b\";BE0206731645;ebox|ebox\n")
	f.Add("e.yaml", "- {number: 0206731645, routes: [ebox]}\n")
	f.Add("e.txt", "0206731645\n# x\nbad\n")
	var c config.Config
	f.Fuzz(func(t *testing.T, name, content string) {
		if name != filepath.Base(name) || strings.Contains(name, "\x00") || len(name) > 99 {
			return
		}
		list, err := c.EnterprisesIn(file(t, t.TempDir(), "e"+name, content))
		if errs, ok := err.(config.Errors); err != nil && (!ok || len(errs) == 0) {
			t.Fatalf("the error is a %T", err)
		}
		for _, e := range list {
			if _, err := enterprise.Parse(e.Number.String()); err != nil {
				t.Errorf("%s is no number", e.Number)
			}
		}
	})
}

// No list and an empty list are different things: all and none.
func TestACallerMayBeLimitedToTheOfficesOwnEBox(t *testing.T) {
	c := parseText(t, minimal+"callers: [{name: own, networks: [10.0.0.0/8], enterprises: [], own: true}, {name: all, "+
		"networks: [10.1.0.0/16], enterprises: all}]\n")
	if own := c.Callers[0]; own.Enterprises == nil || len(own.Enterprises) != 0 || !own.Own {
		t.Errorf("own is %+v", own)
	}
	if all := c.Callers[1]; all.Enterprises != nil || all.Own {
		t.Errorf("all is %+v", all)
	}
}

// An open door is never the default, however the absence of callers is written.
func TestBeyondLoopbackNeedsCallersOrOpen(t *testing.T) {
	for _, callers := range []string{"", "callers:\n", "callers: []\n"} {
		text := minimal + "server: {listen: \"0.0.0.0:8080\"}\n" + callers
		if _, err := config.Parse("c", []byte(text), ".", environment); err == nil ||
			!strings.Contains(err.Error(), "reachable from beyond this machine") {
			t.Errorf("%q: %v", callers, err)
		}
	}
	for address, want := range map[string]bool{
		"127.0.0.1:8080": true, "[::1]:8080": true, "localhost:8080": true, "127.9.9.9:0": true, "[::ffff:127.0.0.1]:1": true,
		":8080": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.5:1": false, "128.0.0.1:1": false,
	} {
		if (config.Listener{Address: address}).OnLoopback() != want {
			t.Errorf("%s is taken for loopback: %v", address, !want)
		}
	}
}
