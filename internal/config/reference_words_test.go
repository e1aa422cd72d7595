package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// referenceHead is what the types do not say.
const referenceHead = `# Configuration

<!-- Generated from the types in internal/config by their tests. Change the comments there. -->

One YAML file, ` + "`config.yaml`" + `, checked whole by ` + "`gateway check`" + `. A key that does not exist, a value
of the wrong form, a name that leads nowhere are reported together, with file, line and column. A gateway does not
start with any of them. Editors complete it from
[` + "`config.schema.json`" + `](../config.schema.json), which ` + "`gateway schema`" + ` prints too.

- ` + "`${NAME}`" + ` anywhere in a value is the environment variable; one that is not set is a mistake.
- Paths are relative to the file's own folder.
- A **duration** is written ` + "`250ms`, `30s`, `5m`, `1h30m`" + `; a **size** in bytes, or ` + "`64KiB`" +
	` (powers of 1,024),
  ` + "`1MB`" + ` (powers of 1,000), or ` + "`unlimited`" + `.
- A **CBE number** may be written in every form, with dots, ` + "`BE`" +
	` or a missing first zero; its check digits are verified. A
  **day** is ` + "`2026-01-31`" + `, in Brussels. A **network** is ` + "`10.1.0.0/16`" + ` or one address.
- A **secret** never prints, in no log, status or error. Prefer the key that ends in ` + "`File`" +
	`, or ` + "`${NAME}`" + `.
- The file and every file it names are watched by content. A change is checked whole and takes effect
  within seconds, with no request lost; one with a mistake leaves the old in force, and the status says so.
- **⚠** marks a key that gives up a check. It belongs in a lab, or needs a reason in a comment beside it.

Every key has an anchor: ` + "`configuration.md#server.limits.maxRequests`" + `.
`

// dangers are the keys that give up a check, or can do harm, and what then.
func dangers() map[string]string {
	return map[string]string{
		"server.listen.open":            "Everybody who reaches the address reads and changes every e-Box.",
		"server.allowedOrigins":         "A page of that origin acts with the reach of whoever visits it.",
		"server.trustedProxies":         "Whoever is in such a network can pretend to be any caller.",
		"oauth.allowHttp":               "Whoever listens on the way gets tokens.",
		"oauth.allowPrivateNetworks":    "A name that resolves inside the company is believed.",
		"tenancy.mode":                  "`any` leaves it to the upstream for whom calls are allowed.",
		"callers.own":                   "The caller reads the office's own e-Box, and makes citizen mandates in its name.",
		"registry.allowedHosts":         "Every host here receives tokens.",
		"registry.allowHttp":            "Whoever listens on the way gets tokens and documents.",
		"registry.allowPrivateNetworks": "A registry that was tampered with could lead calls into the company's network.",
		"audit.stopAfter":               "`never` lets reads and writes go on of which nothing is proven.",
		"tracing.allowHttp":             "Whoever is on the way reads the collector's credentials.",
		"routes.callerCredentials":      "What a caller sends as its own credentials reaches the upstream.",
		"routes.scopes":                 "A scope too many is one that the receiver of the token could use elsewhere.",
		"routes.allowHttp":              "Whoever listens on the way gets tokens and documents.",
		"routes.allowPrivateNetworks":   "A name that resolves inside the company is believed.",
		"routes.cache.shared":           "`always` gives one enterprise's answer to another.",
		"routes.cache.staleIfError":     "A state that is no longer true may be shown.",
	}
}

// examples are whole sections; the test below reads each as a part of a file.
func examples() map[string]string {
	return map[string]string{
		"server": `server:
  listen:
    - 127.0.0.1:8080
    - {name: office, address: 10.1.0.5:8443, tls: {certFile: server.pem, keyFile: server.key, clientCaFile: clients.pem}}
  publicUrl: https://ebox.intra.example.be
  drain: {delay: 10s, timeout: 1m}
`,
		"admin": `admin: {listen: 127.0.0.1:9090}
`,
		"oauth": `oauth:
  clients:
    payroll:
      clientId: ${EBOX_CLIENT_ID}
      keystore: {file: client.p12, passwordFile: client.p12.password}
    branch:
      clientId: another-client
      key: {file: branch.key, passwordFile: branch.key.password}
      certificate: {file: branch.pem}
      headers: [kid]
`,
		"tenancy": `tenancy:
  defaultClient: payroll
  enterprises:
    - {number: 0206.731.645, name: Example, rate: {perSecond: 20, burst: 40}}
    - {number: 0212.148.896, client: branch, from: 2026-01-01, until: 2026-12-31}
  enterpriseFiles: [customers.csv]
  suspendedFiles: [stop.txt]
`,
		"callers": `callers:
  - {name: hr, networks: [10.1.0.0/16], enterprises: ["0206731645"], routes: [ebox], may: [list, open]}
  - {name: nightly, networks: [10.2.0.7], class: batch, wait: 1m, may: [list]}
  - {name: portal, clientCertificates: [{dnsName: portal.intra.example.be}], own: true}
`,
		"registry": `registry:
  allowedHosts: ["*.socialsecurity.be", "ebox.example.be"]
  refresh: 10m
`,
		"inbox": `inbox: {timeout: 5s}
`,
		"audit": `audit: {dir: /var/lib/ebox-gateway/evidence, keyFile: signing.pem, checkpoints: stdout}
`,
		"tracing": `tracing: {endpoint: "https://collector.intra.example.be:4318", sampleRatio: 0.01}
`,
		"egress": `egress: {proxy: "http://${PROXY_USER}:${PROXY_PASSWORD}@proxy.example.be:3128", noProxy: [".intra.example.be"], caFile: company-ca.pem}
`,
		"redis": `redis:
  url: rediss://:${REDIS_PASSWORD}@redis.example.be:6379/0
  encryptionKeys: [{id: k2, file: redis-2.key}, {id: k1, file: redis-1.key}]
`,
		"cache": `cache: {memory: 256MB}
`,
		"routes": `routes:
  - name: ebox-providers          # one of the environment's: only this changes
    timeouts: {header: 60s}
    concurrency: {max: 100}
    cache: {defaultTtl: 5s}
  - name: own-service             # one of your own
    path: /other
    upstream: https://services.socialsecurity.be/REST/other/v1
    scopes: ["scope:of:the:other:service"]
    methods: [GET]
`,
		"log": `log: {format: json, level: info, security: /var/log/ebox-gateway/refusals.jsonl}
`,
	}
}

func TestExamplesOfTheReferenceAreRight(t *testing.T) {
	const whole = "environment: production\n"
	all := examples()
	files := map[string]string{"customers.csv": "number,name\n0474028805,Third\n", "stop.txt": "0474028805\n"}
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	variables := func(name string) (string, bool) { return "value", name != "" }
	for _, path := range slices.Sorted(maps.Keys(all)) {
		t.Run(path, func(t *testing.T) {
			text := whole + all[path]
			for _, needed := range []string{"oauth", "tenancy", "server"} {
				if needed != path {
					text += all[needed]
				}
			}
			if path != "callers" { // a listener beyond loopback wants them
				text += all["callers"]
			}
			if _, err := Parse("example", []byte(text), dir, variables); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// A default that a comment tells has to be the one that the program has.
func TestCommentsTellTheDefaultsThatThereAre(t *testing.T) {
	r := newReference(t)
	told := make(map[string]string)
	for _, s := range r.sections {
		for _, k := range s.keys {
			told[k.path] = k.standard
		}
	}
	checked := 0
	var look func(path string, v reflect.Value)
	look = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := f.Tag.Get("yaml")
			if !f.IsExported() || name == "" || name == "-" {
				continue
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			field := v.Field(i)
			if field.Kind() == reflect.Struct && plainKind(field.Type()) == "" {
				look(at, field)
				continue
			}
			var forms []string
			switch value := field.Interface().(type) {
			case time.Duration:
				forms = durationForms(value)
			case Size:
				forms = sizeForms(int64(value))
			case int:
				forms = []string{fmt.Sprint(value)}
			case float64:
				forms = []string{fmt.Sprint(value)}
			default:
				continue
			}
			if field.IsZero() {
				continue
			}
			checked++
			if !slices.ContainsFunc(forms, func(form string) bool {
				return regexp.MustCompile(`(^|[^0-9])` + regexp.QuoteMeta(form) + `($|[^0-9a-zA-Z])`).MatchString(told[at])
			}) {
				t.Errorf("the default of %s is %s; its comment tells %q", at, strings.Join(forms, " or "), told[at])
			}
		}
	}
	look("", reflect.ValueOf(*defaults()))
	look("routes", reflect.ValueOf(newRoute(KindEBox)))
	if checked < 25 {
		t.Errorf("only %d defaults were looked at", checked)
	}
}

func durationForms(d time.Duration) []string {
	text := d.String()
	forms := []string{text, fmt.Sprintf("%gs", d.Seconds()), fmt.Sprintf("%gm", d.Minutes()),
		fmt.Sprintf("%gh", d.Hours()), fmt.Sprintf("%d days", int(d.Hours()/24))}
	return append(forms, strings.TrimSuffix(strings.TrimSuffix(text, "0s"), "0m"))
}

func sizeForms(n int64) []string {
	forms := []string{fmt.Sprint(n)}
	for _, unit := range []struct {
		name string
		size int64
	}{{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if n%unit.size == 0 {
			forms = append(forms, fmt.Sprint(n/unit.size)+unit.name)
		}
	}
	return forms
}
